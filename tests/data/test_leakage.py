from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.data.leakage import implied_labels, same_text
from repro.data.upstream import UpstreamData
from repro.spec.tasks import Part
from repro.studies.paper.tasks import task_of


def pair(one: str, two: str, label: str = "") -> dict[str, str]:
    return {"input_1": one, "input_2": two, "output": label}


def by_fixpoint(train: list[dict[str, str]], names: str) -> dict[tuple[str, str], str | None]:
    """The definition itself: apply the rules of equivalence until nothing new follows."""
    yes = {(name, name) for name in names}
    no = set()
    for row in train:
        one, two = row["input_1"], row["input_2"]
        (yes if row["output"] == "yes" else no).update([(one, two), (two, one)])
    while True:
        more = {(a, d) for (a, b), (c, d) in product(yes, yes) if b == c}
        if more <= yes:
            break
        yes |= more
    far = {(a, d) for a, d in product(names, names) for b, c in no if {(a, b), (c, d)} <= yes}
    return {
        key: "yes" if key in yes else "no" if key in far else None for key in product(names, names)
    }


edges = st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))


@given(st.lists(st.tuples(edges, st.sampled_from(["yes", "no", "no"])), max_size=9))
def test_labels_are_those_of_the_closure(found: list[tuple[tuple[str, str], str]]) -> None:
    train = [pair(one, two, label) for (one, two), label in found]
    expected = by_fixpoint(train, "abcdef")
    test = [pair(one, two) for one, two in expected]
    assert implied_labels(test, train) == list(expected.values())


def test_worked_example() -> None:
    train = [
        pair("The cat sat .", "A cat was sitting .", "yes"),
        pair("a cat was sitting", "There sat a cat", "yes"),
        pair("A dog lay.", "A dog was lying.", "yes"),
        pair("There sat a cat", "A dog lay", "no"),
    ]
    test = [
        pair("THE CAT SAT", "there sat a cat!"),
        pair("A dog was lying", "the cat sat"),
        pair("The cat sat", "The sat cat"),
        pair("Never seen", "never SEEN ."),
    ]
    assert implied_labels(test, train) == ["yes", "no", None, "yes"]


def test_long_chains_do_not_overflow() -> None:
    train = [pair(f"s{i}", f"s{i + 1}", "yes") for i in range(20_000)]
    assert implied_labels([pair("s0", "s20000"), pair("s0", "other")], train) == ["yes", None]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("It 's  late .", "it 's late!", True),
        ("\ufb01ne", "FINE", True),
        ("a b", "ab", False),
        ("?", "!", False),
        ("", "  ", True),
        ("", "?", False),
    ],
)
def test_same_text_looks_at_words(one: str, two: str, same: bool) -> None:
    assert (same_text(one) == same_text(two)) is same


@pytest.mark.parametrize(
    ("size", "rows", "right", "first", "first_right"),
    [(2000, 34, 34, 15, 15), (4000, 115, 115, 56, 56), (6000, 209, 208, 106, 105)],
)
def test_authors_paws_leaks_as_audited(
    upstream: UpstreamData, size: int, rows: int, right: int, first: int, first_right: int
) -> None:
    test = upstream.rows(Part("test", "paws"), task_of(Part("test", "paws"))).to_list()
    labels = implied_labels(
        test,
        upstream.rows(Part("train", "paws", size), task_of(Part("train", "paws", size))).to_list(),
    )
    known = [label is not None for label in labels]
    correct = [row["output"] == label for row, label in zip(test, labels, strict=True)]
    assert [sum(known), sum(correct), sum(known[:250]), sum(correct[:250])] == [
        rows,
        right,
        first,
        first_right,
    ]
