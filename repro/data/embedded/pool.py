"""The pool of pairs from which Paws' test and training rows come, as those of the real set do.

A pool holds groups of sentences on two facts that are nearly alike. Rows are pairs of one group, so
sentences recur, and the more pairs are trained on, the more labels of test rows follow from theirs
by transitivity (AUDIT A4). Further pools, for training sets beyond what the first has, share
nothing with it.
"""

import itertools
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from repro.data.embedded.families import Facts, change, exchange, reword

GROUPS = 140
"""Groups of a pool: so many that labels follow about as often as in the real set."""

TESTED, SPARE = 250, 40
"""Pairs of the first pool that are test rows, and from which demonstrations are taken."""


class Pair(NamedTuple):
    """Two sentences, and whether they tell the same fact."""

    one: str
    two: str
    same: bool


def group(rng: Random, facts: Facts) -> list[Pair]:
    """All pairs, in any order, of some sentences on two facts whose wordings differ."""
    wordings = rng.sample(facts.templates, len(facts.templates))
    # Three on one fact and one on the other, or two and two: with pairs of one wording left out,
    # half of all pairs tell the same.
    first = rng.choice((2, 3))
    numbered = [(0, wordings[i]) for i in range(first)]
    numbered += [(1, wordings[-1 - i]) for i in range(4 - first)]
    told = [
        (fact, words, reword(rng, words.format(**(facts.one, facts.two)[fact])))
        for fact, words in numbered
    ]
    pairs = []
    for (fact, words, one), (fact2, words2, two) in itertools.combinations(told, 2):
        if words != words2:
            first_text, second = rng.sample((one, two), 2)
            pairs.append(Pair(first_text, second, fact == fact2))
    return pairs


def pool(seed: str, number: int, is_free: Callable[[Facts], bool]) -> list[Pair]:
    """The pairs of a pool, in random order; pools -1, 0 and all others share no fact.

    Args:
        number: which pool.
        is_free: whether facts may be told here; others belong to pre-training.
    """
    rng = Random(f"{seed} pool {number}")
    pairs: list[Pair] = []
    known: set[str] = set()
    while len(known) < GROUPS:
        facts = rng.choice((exchange, change))(rng)
        name = " / ".join(sorted(facts.names()))
        if _kind(name) == min(number, 1) and name not in known and is_free(facts):
            known.add(name)
            pairs += group(rng, facts)
    rng.shuffle(pairs)
    return pairs


def _kind(name: str) -> int:
    """Which pools facts may be in: -1, 0, or 1 and all others."""
    return zlib.crc32(name.encode()) % 3 - 1


def stream(seed: str, split: str, is_free: Callable[[Facts], bool]) -> Iterator[Pair]:
    """Pairs of a split.

    The first test rows and training rows share a pool. So few rows are trained on here that labels
    of many more test rows would hardly ever follow; those have a pool of their own.
    """
    first = pool(seed, 0, is_free)
    if split == "test":
        yield from first[:TESTED]
        yield from pool(seed, -1, is_free)
    elif split == "demonstrations":
        yield from first[TESTED : TESTED + SPARE]
    else:
        yield from first[TESTED + SPARE :]
        known: set[Pair] = set()
        for number in itertools.count(1):
            new = [pair for pair in pool(seed, number, is_free) if pair not in known]
            known.update(new)
            yield from new
