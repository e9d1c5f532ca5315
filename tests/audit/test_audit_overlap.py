"""Near-duplicates against the definition, pair by pair."""

from hypothesis import given
from hypothesis import strategies as st

from repro.audit.overlap import contained, near_pairs, repeats

# Few words and a repeated one, so that alike texts do occur.
_TEXTS = st.lists(st.lists(st.sampled_from("abcc"), max_size=9).map(" ".join), max_size=8)


def _jaccard(one: str, two: str) -> float:
    def threes(text: str) -> set[tuple[str, ...]]:
        words = tuple(text.split())
        return {words[i : i + 3] for i in range(max(1, len(words) - 2))}

    a, b = threes(one), threes(two)
    return len(a & b) / len(a | b)


@given(_TEXTS, _TEXTS)
def test_near_pairs_are_all_pairs_that_are_alike(left: list[str], right: list[str]) -> None:
    assert near_pairs(left, right) == [
        (i, j)
        for i, one in enumerate(left)
        for j, two in enumerate(right)
        if _jaccard(one, two) >= 0.7
    ]
    assert near_pairs(left) == [(i, j) for i, j in near_pairs(left, left) if i < j]


def test_contained() -> None:
    alphabet = [chr(97 + i) for i in range(20)]
    whole = " ".join(alphabet)
    # 13 grams of eight words; the beginning of 13 words shares 6 of them, that of 15 shares 8.
    short, long = (" ".join(alphabet[:n] + ["else"] * (20 - n)) for n in (13, 15))
    assert contained([short], [whole]) == 0
    assert contained([short, long, whole], [whole]) == 2


def test_repeats() -> None:
    assert repeats(["a", "b", "a", "a"]) == 2
