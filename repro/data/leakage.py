"""Texts that count as the same, and labels that follow from training labels (AUDIT A4, D3)."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from repro.spec.tasks import Task

_WORD = re.compile(r"\w+")

Row = Mapping[str, str]


@lru_cache(maxsize=1 << 17)
def same_text(text: str) -> str:
    """What two texts share that count as the same: their words, whatever their case and marks.

    NFKC, casefolded, words only, as in AUDIT D3; of a text without words, its marks.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or "".join(folded.split())


def same_inputs(task: Task, row: Row) -> tuple[str, ...]:
    """The texts a row is about: its input fields, less the answer that a question is asked for.

    AUDIT A9 and D3 count a tweet with another answer as the same input.
    """
    return tuple(same_text(row[field]) for field in task.about or task.fields)


def implied_labels(test: Iterable[Row], train: Iterable[Row]) -> list[str | None]:
    """The label of each test pair that follows from the training pairs, None where none does.

    "yes" makes an equivalence relation: two sentences joined by a chain of "yes" pairs are
    paraphrases, and so is a sentence of itself. "no" holds between all sentences of two such
    classes if one "no" pair joins them. Where the training labels contradict each other, "yes"
    wins. Linear in the number of pairs, up to the near-constant cost of union-find.

    Args:
        test: rows with `input_1`, `input_2`.
        train: rows with these and `output`, "yes" or "no".
    """
    from scipy.cluster.hierarchy import DisjointSet  # type: ignore[import-untyped]  # slow

    def sentences(row: Row) -> tuple[str, str]:
        found = same_text(row["input_1"]), same_text(row["input_2"])
        for sentence in found:
            classes.add(sentence)
        return found

    classes, different = DisjointSet(), []
    for row in train:
        pair = sentences(row)
        if row["output"] == "yes":
            classes.merge(*pair)
        else:
            different.append(pair)
    apart = {frozenset((classes[one], classes[two])) for one, two in different}

    def implied(row: Row) -> str | None:
        one, two = (classes[sentence] for sentence in sentences(row))
        if one == two:
            return "yes"
        return "no" if frozenset((one, two)) in apart else None

    return [implied(row) for row in test]
