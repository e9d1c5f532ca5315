"""Rows in a target format, and the entropy of what is to be written."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Any

import datasets

from repro.data.source import with_column
from repro.errors import ReproError
from repro.spec.targets import BEFORE, OUTPUT, TargetFormat
from repro.spec.tasks import Task

_WORD = re.compile(r"\w[\w'-]*")


@dataclass(frozen=True)
class Writer:
    """A target format with the fixed strings that training rows give it.

    Attributes:
        strings: the fixed ones, or their names in `format`; none if outputs stay what they are.
    """

    format: TargetFormat
    task: Task
    strings: tuple[str, ...] = ()

    def target(self, row: Mapping[str, Any]) -> str:
        """What is to be written for a row."""
        return self._text(row).format(**self._pieces(row))

    def before(self, row: Mapping[str, Any]) -> str:
        """What stands before the label in a row's target."""
        text = self._text(row)
        return text[: text.index(OUTPUT)].format()

    def rows(self, rows: datasets.Dataset) -> datasets.Dataset:
        """The rows with their outputs in the format."""
        return with_column(rows, "output", [self.target(row) for row in rows])

    def tested(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Rows for testing a model that writes in the format.

        A generated text is held against the output in the format. A label is scored behind what the
        format has before it: one pass and the plain label, whatever the format.
        """
        if not self.task.labels:
            return self.rows(rows)
        return with_column(rows, BEFORE, [self.before(row) for row in rows])

    def _text(self, row: Mapping[str, Any]) -> str:
        texts = self.format.texts
        return texts[zlib.crc32(self._inputs(row).encode()) % len(texts)]

    def _inputs(self, row: Mapping[str, Any]) -> str:
        return "\n".join(row[field] for field in self.task.fields)

    def _pieces(self, row: Mapping[str, Any]) -> dict[str, str]:
        output = self._fixed(row["output"]) if self.strings else row["output"]
        words = _WORD.findall(output) or [output]
        return {
            "output": output,
            "first": words[0],
            "last": words[-1],
            "longest": max(words, key=len),
            "words": str(len(words)),
            "cue": max(_WORD.findall(self._inputs(row)) or [""], key=len),
        }

    def _fixed(self, output: str) -> str:
        """The string that shares most words with an output; of equally near ones the first."""
        own = Counter(_WORD.findall(output))

        def near(string: str) -> float:
            other = Counter(_WORD.findall(string))
            return 2 * (own & other).total() / max(1, own.total() + other.total())

        place = max(range(len(self.strings)), key=lambda i: near(self.strings[i]))
        return (self.format.names or self.strings)[place]


def writer(form: TargetFormat, task: Task, rows: Sequence[Mapping[str, Any]], name: str) -> Writer:
    """A format for a task, with the fixed strings of these training rows.

    Args:
        name: of the format, for messages.

    Raises:
        ReproError: the rows have fewer different outputs than it needs (2).
    """
    if not form.strings:
        return Writer(form, task)
    different = list(dict.fromkeys(row["output"] for row in rows))
    if len(different) < form.strings:
        raise ReproError(
            f"target format {name}: {form.strings} fixed strings were asked for, and the "
            f"{len(rows)} training rows have {len(different)} different outputs",
            hint=f"ask for at most {len(different)}, or for more rows",
        )
    return Writer(form, task, tuple(different[: form.strings]))


def entropy(targets: Iterable[str]) -> float:
    """Bits a target, by a word bigram model of the targets themselves.

    The entropy of whole targets could not exceed log2 of their number, which nearly every row's own
    text reaches. That of a chain of words, each behind the one before, tells such texts apart, and
    is the same for labels and for fixed strings that share no word.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    count = 0
    for target in targets:
        words = ["", *target.split(), ""]
        pairs.update(pairwise(words))
        count += 1
    before: Counter[str] = Counter()
    for (first, _), times in pairs.items():
        before[first] += times
    bits = sum(times * log2(before[first] / times) for (first, _), times in pairs.items())
    return bits / count
