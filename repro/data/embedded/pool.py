"""The pool of pairs from which Paws' test and training rows come, as those of the real set do.

A pool holds groups of sentences on two facts that are nearly alike. Rows are pairs of one group, so
sentences recur, and the more pairs are trained on, the more labels of test rows follow from theirs
by transitivity (AUDIT A4). Further pools, for training sets beyond what the first has, share nothing
with it.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
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
            pairs.append(Pair(*rng.sample((one, two), 2), fact == fact2))
    return pairs


def pool(seed: str, number: int, is_free: Callable[[Facts], bool]) -> list[Pair]:
    """The pairs of a pool, in random order.

    Args:
        number: which pool.
        is_free: whether facts may be told here; others belong to pre-training.
    """
    rng = Random(f"{seed} pool {number}")
    pairs: list[Pair] = []
    for _ in range(GROUPS):
        facts = rng.choice((exchange, change))(rng)
        while not is_free(facts):
            facts = rng.choice((exchange, change))(rng)
        pairs += group(rng, facts)
    rng.shuffle(pairs)
    return pairs


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
        for number in itertools.count(1):
            yield from pool(seed, number, is_free)
