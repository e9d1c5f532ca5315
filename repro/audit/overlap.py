"""Texts that two sets, or two rows, have in common (AUDIT A4, A9, D3)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from math import ceil

ALIKE = 0.7

Gram = tuple[str, ...]


def grams(text: str, length: int = 3) -> frozenset[Gram]:
    """The word n-grams of a normalised text; of a shorter one, all its words."""
    words = text.split()
    if len(words) < length:
        return frozenset({tuple(words)})
    return frozenset(zip(*(words[i:] for i in range(length)), strict=False))


def near_pairs(left: Sequence[str], right: Sequence[str] | None = None) -> list[tuple[int, int]]:
    """Positions (in left, in right) of texts whose word 3-grams have a Jaccard index >= ALIKE.

    Two texts without words are alike. Of n grams, a text that is alike has at least ALIKE * n, so
    it has one of any n - ceil(ALIKE * n) + 1: only texts with one of the rarest are compared.

    Args:
        left: texts normalised by `same_text`.
        right: the other list; None for the pairs inside `left`, each once.
    """
    ours = [grams(text) for text in left]
    theirs = ours if right is None else [grams(text) for text in right]
    frequency = Counter(chain.from_iterable(theirs))
    rarest = [
        sorted(own, key=frequency.__getitem__)[: len(own) - ceil(ALIKE * len(own)) + 1]
        for own in ours
    ]
    where = _places(theirs, frozenset(chain.from_iterable(rarest)))
    pairs = []
    for position, own in enumerate(ours):
        for found in sorted({found for gram in rarest[position] for found in where[gram]}):
            if right is None and found <= position:
                continue
            common = len(own & theirs[found])
            if common >= ALIKE * (len(own) + len(theirs[found]) - common):
                pairs.append((position, found))
    return pairs


def contained(left: Sequence[str], right: Sequence[str]) -> int:
    """Texts of `left` of whose word 8-grams one text of `right` has at least half.

    All normalised by `same_text`.
    """
    ours = [grams(text, 8) for text in left]
    where = _places([grams(text, 8) for text in right], frozenset(chain.from_iterable(ours)))
    count = 0
    for own in ours:
        common = Counter(found for gram in own for found in where[gram])
        count += bool(common) and max(common.values()) >= len(own) / 2
    return count


def _places(texts: Sequence[frozenset[Gram]], wanted: frozenset[Gram]) -> dict[Gram, list[int]]:
    """The positions of the texts that have each of these grams."""
    where: dict[Gram, list[int]] = defaultdict(list)
    for position, own in enumerate(texts):
        for gram in own & wanted:
            where[gram].append(position)
    return where


def repeats(keys: Sequence[object]) -> int:
    """How many repeat an earlier one."""
    return len(keys) - len(set(keys))
