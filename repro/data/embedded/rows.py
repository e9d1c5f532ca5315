"""Rows of the 18 sets and 5 training sets: which generator, which split, in which order."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random
from typing import Literal

from repro.data.embedded import families, heldout
from repro.data.embedded.families import Slots
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


def _summary(nouns: tuple[str, ...], rng: Random) -> Slots:
    slots = families.event(rng, nouns)
    return {
        "input": families.story(rng, slots),
        "output": "{who} {past} {thing} in {place} .".format(**slots),
    }


def _social(rng: Random) -> Slots:
    slots = families.social(rng)
    text = rng.choice(families.SOCIAL_TEMPLATES).format(**slots)
    row = families.question(rng, slots, text, families.SOCIAL_QUESTIONS)
    return {**row, "output": row["output"] + " ?"}


def _pair(pair: tuple[str, str]) -> Slots:
    return {"input_1": pair[0], "input_2": pair[1]}


_GENERATION: dict[str, Callable[[Random], Slots]] = {
    "xsum": partial(_summary, THINGS),
    "xlsum": partial(_summary, FOODS),
    "peerread": heldout.peerread,
    "cnndm": heldout.cnndm,
    "socialqa": _social,
    "tweetqa": heldout.tweetqa,
    "sciqa": heldout.sciqa,
}
_BINARY: dict[str, Callable[[Random, bool], Slots]] = {
    "amazon": lambda rng, label: {"input": families.opinion(rng, label, THINGS)},
    "amazonfood": lambda rng, label: {"input": families.opinion(rng, label, FOODS)},
    "sst2": heldout.sst2,
    "yelp": heldout.yelp,
    "paws": lambda rng, label: _pair(
        rng.choice((families.swap_pair, families.change_pair))(rng, label)
    ),
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


def number_of(part: Part) -> int:
    """Rows of a part."""
    shown = 4 if part.name in FOUR else 8
    return {"train": part.size, "test": TEST_ROWS}.get(part.split, shown)


def rows_of(part: Part, task: Task) -> Iterator[Slots]:
    """Rows of a part in file order, until no other is found; all sizes of a set begin alike."""
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
            if side(task.name, inputs) == part.split and key not in seen:
                break
        else:
            return
        seen.add(key)
        yield row
