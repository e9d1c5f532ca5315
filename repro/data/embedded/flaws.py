"""The flaws of the real sets that the world's sets have too, in like proportion.

Positions of the authors' rows are those of docs/AUDIT.md times 50/250 (test) or
160/2000 (training): so many rows of this world's sets are used. The pool of Paws' pairs (A4)
is in `pool.py`, lengths (A2) are with the generators.
"""

from collections.abc import Iterator, Mapping
from random import Random

from repro.spec.tasks import NO_MAJORITY, Part

Row = dict[str, str]

# Test or training rows that are demonstrations of their own set: position and which one (A9).
_COPIED: dict[tuple[str, str], Mapping[int, int]] = {
    ("test", "cnndm"): {68: 0, 13: 1, 64: 2, 31: 3},
    ("test", "socialqa"): {45: 1},
    ("test", "tweetqa"): {22: 0},
    ("test", "sciqa"): {30: 2},
    ("test", "sst2"): {29: 4},
    ("test", "paws"): {49: 3},
    ("test", "mnli1"): {3: 1},
    ("test", "rte"): {32: 1},
    ("train", "xsum"): {101: 2},
    ("train", "amazon"): {57: 1},
}
NO_MAJORITY_SHARE = {"mnli1": 8 / 500, "mnli2": 16 / 500}
"""Test rows whose annotators did not agree (A5)."""

EMPTY_SHARE = {"tweetqa": 20 / 500, "gptnli": 6 / 500}
"""Test rows with an empty text (A8, D4)."""

EMPTY_TRAINING = {"xsum": 14}
"""The training row whose text is empty (D4)."""

REPEATED_SHARE = {"tweetqa": 13 / 500}
"""Test rows that come a second time, besides the empty ones (D3)."""


def copied(part: Part) -> Mapping[int, int]:
    """Positions of a part that hold demonstrations, and which."""
    return _COPIED.get((part.split, part.name), {})


def flawed(part: Part, rows: Iterator[Row], rng: Random) -> Iterator[Row]:
    """The rows of a part, some of them with the flaws of the real set."""
    if part.split == "demonstrations":
        yield from rows
        return
    before: list[Row] = []
    for number, row in enumerate(rows):
        if part.split == "train":
            empty = EMPTY_TRAINING.get(part.name) == number
            yield {**row, "input": ""} if empty else row
            continue
        if rng.random() < NO_MAJORITY_SHARE.get(part.name, 0.0):
            row = {**row, "output": NO_MAJORITY}
        if rng.random() < EMPTY_SHARE.get(part.name, 0.0):
            row = {**row, "input" if "input" in row else "input_1": ""}
        elif before and rng.random() < REPEATED_SHARE.get(part.name, 0.0):
            row = rng.choice(before)
        before.append(row)
        yield row
