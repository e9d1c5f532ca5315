"""Rows of a cell: selected, compared, and checked when they are read."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.results.outcomes import (
    SCORE_TIE,
    Outcomes,
    changed_inputs,
    common_rows,
    differing_rows,
    text_digest,
)

Inputs = dict[int, str]
"""What stands for prompt and gold of a row, by its position."""
INPUTS = st.dictionaries(st.integers(0, 12), st.sampled_from("ab"), min_size=1)


def outcomes(inputs: Inputs, *, known: bool = True) -> Outcomes:
    rows = sorted(inputs)
    digests = np.array([text_digest(inputs[row]) for row in rows], dtype="S8")
    return Outcomes(
        np.array(rows, dtype=np.int64),
        np.array(rows) / 100,
        tuple(f"text {row}" for row in rows),
        np.array(rows) / 10,
        digests if known else None,
    )


@given(INPUTS, st.data())
def test_a_selection_has_all_of_its_rows_and_no_other(inputs: Inputs, data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.sampled_from(sorted(inputs)))))
    some = outcomes(inputs).at(np.array(chosen, dtype=np.int64))
    wanted = outcomes({row: inputs[row] for row in chosen})
    assert some.rows.tolist() == chosen
    assert some.outputs == wanted.outputs
    for name in ("scores", "gaps", "inputs"):
        assert getattr(some, name).tolist() == getattr(wanted, name).tolist()


@given(st.lists(INPUTS, max_size=4))
def test_the_common_rows_that_are_not_alike_everywhere_are_found(several: list[Inputs]) -> None:
    common = sorted(set.intersection(*map(set, several))) if several else []
    expected = [len({inputs[row] for inputs in several}) > 1 for row in common]
    assert changed_inputs([outcomes(inputs) for inputs in several]).tolist() == expected


@given(INPUTS, INPUTS)
def test_unknown_prompts_differ_from_nothing(one: Inputs, other: Inputs) -> None:
    assert not changed_inputs([outcomes(one), outcomes(other, known=False)]).any()


@given(st.lists(INPUTS, min_size=1, max_size=4))
def test_common_rows_are_those_of_all(several: list[Inputs]) -> None:
    expected = sorted(set.intersection(*map(set, several)))
    assert common_rows([outcomes(inputs) for inputs in several]).tolist() == expected


TIE = 0.01
WIDE = 10 * TIE


def labels(*rows: tuple[str, float]) -> Outcomes:
    """Predictions with the distance of their logit from the next."""
    n = len(rows)
    return Outcomes(
        np.arange(n),
        np.zeros(n),
        tuple(label for label, _ in rows),
        np.array([gap for _, gap in rows]),
        None,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "differs"),
    [
        (("a", WIDE), ("a", WIDE), 0),
        (("a", WIDE), ("a", 0.0), 0),
        (("a", WIDE), ("b", WIDE), 1),
        (("a", TIE), ("b", TIE), 1),
        (("a", 0.9 * TIE), ("b", 0.9 * TIE), 0),
        # Rounding that takes a label from one side of a tie to the other moves it by both gaps.
        (("a", 0.0), ("b", WIDE), 1),
        (("a", WIDE), ("b", 0.0), 1),
    ],
)
def test_other_labels_count_unless_both_sides_are_near_a_tie(
    ours: tuple[str, float], theirs: tuple[str, float], differs: int
) -> None:
    rest = ("a", WIDE)
    assert differing_rows(labels(rest, ours), labels(rest, theirs), TIE) == differs


def test_a_model_whose_logits_are_all_equal_differs_from_one_that_tells_labels_apart() -> None:
    """Broken logits: each row is a tie, which excuses none of them."""
    dead = labels(*[("a", 0.0)] * 10)
    alive = labels(*[("a", 5.0), ("b", 5.0)] * 5)
    assert differing_rows(dead, alive, TIE) == differing_rows(alive, dead, TIE) == 5


def test_labels_of_unknown_logits_are_never_tied() -> None:
    one, other = labels(("a", 0.0)), labels(("b", 0.0))
    assert differing_rows(replace(one, gaps=None), other, TIE) == 1
    assert differing_rows(one, replace(other, gaps=None), TIE) == 1


def test_texts_count_where_their_scores_differ() -> None:
    def texts(*scores: float) -> Outcomes:
        names = tuple(str(score) for score in scores)
        return Outcomes(np.arange(len(scores)), np.array(scores), names, None, None)

    one = texts(0.5, 0.5, 0.5, 0.5)
    other = texts(0.5, 0.5 + SCORE_TIE / 2, 0.5 + 2 * SCORE_TIE, 0.0)
    assert differing_rows(one, other, TIE) == differing_rows(other, one, TIE) == 2
