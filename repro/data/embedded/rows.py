"""Rows of the 18 sets and 5 training sets: which generator, which split, in which order."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import Literal

from repro.data.embedded import families, flaws, heldout, pool
from repro.data.embedded.families import Facts, Slots
from repro.data.embedded.words import FOODS, THINGS
from repro.spec.tasks import Kind, Part, Task

SEED = 20240315
TEST_ROWS = 500
FOUR = ("xsum", "xlsum", "peerread", "cnndm", "tweetqa")
"""Sets with four demonstrations; all others have eight, as many as the authors' files hold."""

TRIES = 100_000
"""Rows made in vain until no other one is expected."""

Side = Literal["pretraining", "train", "test", "demonstrations"]
_SIDES: tuple[Side, ...] = ("pretraining",) * 3 + ("train",) * 3 + ("test", "demonstrations")


def side(task: str, inputs: Mapping[str, str]) -> Side:
    """The only split that a row may be in: decided by its inputs, so splits cannot share rows.

    Of a question's inputs only the text counts, so that no text is in two splits.
    """
    text = "\n".join((task, *(inputs[field] for field in inputs if field != "answer")))
    return _SIDES[zlib.crc32(text.encode()) % len(_SIDES)]


def written(words: str) -> str:
    """Words parted by blanks, as one writes them: no blank before punctuation."""
    return re.sub(r" (?=[.,?!:;])", "", words)


XSUM_WORDS = 68.0, 0.45, 280
"""Words of a text in XSum: median, spread of the logarithm, most. With the profile's 208 tokens for
1,024 the limit lies among the lengths as it does in the real set (AUDIT A2)."""
XLSUM_WORDS = 69.0, 0.34, 145


def _summary(nouns: tuple[str, ...], shape: tuple[float, float, int], rng: Random) -> Slots:
    slots = families.event(rng, nouns)
    return {
        "input": families.story(rng, slots, families.word_count(rng, *shape)),
        "output": "{who} {past} {thing} in {place} .".format(**slots),
    }


def _social(rng: Random) -> Slots:
    slots = families.social(rng)
    text = rng.choice(families.SOCIAL_TEMPLATES).format(**slots)
    row = families.question(rng, slots, text, families.SOCIAL_QUESTIONS)
    return {**row, "output": row["output"] + " ?"}


AMAZON_WORDS = 11.0, 0.6, 60
AMAZONFOOD_WORDS = 15.0, 0.65, 110


def _opinion(
    nouns: tuple[str, ...], shape: tuple[float, float, int], rng: Random, positive: bool
) -> Slots:
    words = families.word_count(rng, *shape)
    return {"input": families.opinion(rng, positive, words, nouns)}


def _pair(pair: tuple[str, str]) -> Slots:
    return {"input_1": pair[0], "input_2": pair[1]}


_GENERATION: dict[str, Callable[[Random], Slots]] = {
    "xsum": partial(_summary, THINGS, XSUM_WORDS),
    "xlsum": partial(_summary, FOODS, XLSUM_WORDS),
    "peerread": heldout.peerread,
    "cnndm": heldout.cnndm,
    "socialqa": _social,
    "tweetqa": heldout.tweetqa,
    "sciqa": heldout.sciqa,
}
_BINARY: dict[str, Callable[[Random, bool], Slots]] = {
    "amazon": partial(_opinion, THINGS, AMAZON_WORDS),
    "amazonfood": partial(_opinion, FOODS, AMAZONFOOD_WORDS),
    "sst2": heldout.sst2,
    "yelp": heldout.yelp,
    "qqp": heldout.qqp,
    "stsb": heldout.stsb,
}
_NLI: dict[str, Callable[[Random, str], Slots]] = {
    "mnli1": lambda rng, label: _pair(families.claim_pair(rng, label, "things")),
    "mnli2": lambda rng, label: _pair(
        families.claim_pair(rng, label, rng.choice(("foods", "animals")))
    ),
    "rte": heldout.rte,
    "gptnli": heldout.gptnli,
}


def labels_of(dataset: str, task: Task) -> tuple[str, ...]:
    """The labels that occur in a set: all of the task, but RTE has no contradiction."""
    return task.labels[:2] if dataset == "rte" else task.labels


def make(dataset: str, task: Task, label: str, rng: Random) -> Slots:
    """One row of a set, with the label asked for (empty for generation), ready to be shown."""
    if task.kind is Kind.GENERATION:
        row = _GENERATION[dataset](rng)
    elif dataset in _BINARY:
        row = _BINARY[dataset](rng, label == task.labels[0])
    else:
        row = _NLI[dataset](rng, label)
    words = {field: written(row[field]) for field in task.fields}
    return {**words, "output": label or written(row["output"])}


_SHOWN_WORDS = {"xsum": (72, 21, 85, 85), "mnli1": (15,) * 8}
"""Words and marks of the inputs of demonstrations: XSum's as the authors' are, since with them
all that is cut is decided; MNLI's short enough that nothing is cut behind five of them."""


def _fits(part: Part, number: int, inputs: Mapping[str, str]) -> bool:
    if part.split != "demonstrations" or part.name not in _SHOWN_WORDS:
        return True
    words = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in inputs.values())
    return abs(words - _SHOWN_WORDS[part.name][number]) <= 1


def number_of(part: Part) -> int:
    """Rows of a part."""
    shown = 4 if part.name in FOUR else 8
    return {"train": part.size, "test": TEST_ROWS}.get(part.split, shown)


def fact_sides(facts: Facts) -> set[Side]:
    """The splits that either fact belongs to."""
    return {side("facts", {"fact": name}) for name in facts.names()}


def is_free(facts: Facts) -> bool:
    """Whether facts for pairs belong to no document of pre-training."""
    return "pretraining" not in fact_sides(facts)


def _pool_rows(split: str, labels: Sequence[str]) -> Iterator[Slots]:
    """Rows from the pool of pairs; demonstrations show every class before any comes again."""
    pairs = pool.stream(f"{SEED} paws", split, is_free)
    rows = ({**_pair((pair.one, pair.two)), "output": labels[not pair.same]} for pair in pairs)
    written_rows = ({name: written(text) for name, text in row.items()} for row in rows)
    if split != "demonstrations":
        yield from written_rows
        return
    left = list(written_rows)
    rng = Random(f"{SEED} {split} paws")
    while True:
        for label in rng.sample(labels, len(labels)):
            found = next((row for row in left if row["output"] == label), None)
            if found is None:
                return
            left.remove(found)
            yield found


def _made_rows(part: Part, task: Task) -> Iterator[Slots]:
    """Rows that are no copies and have no flaws, until no other one is found."""
    # The training set of nli is called mnli, its test set mnli1.
    dataset = "mnli1" if part.name == "mnli" else part.name
    labels = labels_of(dataset, task)
    seed = hashlib.sha256(f"{SEED} {part.split} {part.name}".encode()).digest()
    rng = Random(int.from_bytes(seed, "big"))
    seen: set[tuple[str, ...]] = set()
    block: list[str] = []
    while True:
        if not labels:
            label = ""
        elif part.split == "demonstrations":
            # Every class once before any comes again, so that few shots show all of them.
            if not block:
                block = list(labels)
                rng.shuffle(block)
            label = block.pop()
        else:
            label = rng.choice(labels)
        for _ in range(TRIES):
            row = make(dataset, task, label, rng)
            inputs = {field: row[field] for field in task.fields}
            key = tuple(inputs.values())
            is_own = side(task.name, inputs) == part.split and key not in seen
            if is_own and _fits(part, len(seen), inputs):
                break
        else:
            return
        seen.add(key)
        yield row


def rows_of(part: Part, task: Task) -> Iterator[Slots]:
    """Rows of a part in file order, until no other is found; all sizes of a set begin alike."""
    made = _pool_rows(part.split, task.labels) if part.name == "paws" else _made_rows(part, task)
    shown = flaws.copied(part)
    if shown:
        few = Part("demonstrations", "mnli1" if part.name == "mnli" else part.name)
        demonstrations = list(islice(rows_of(few, task), number_of(few)))
    rng = Random(f"{SEED} flaws {part.split} {part.name}")
    for number, row in enumerate(flaws.flawed(part, made, rng)):
        yield demonstrations[shown[number]] if number in shown else row
