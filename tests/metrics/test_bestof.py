"""The best-of rules of Figures 4 to 7."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repro.metrics import best_of

SHOTS = (0, 2, 4, 6)


def samples(scores, rows=None):
    rows = range(len(scores)) if rows is None else rows
    return [{"row": row, "score": score} for row, score in zip(rows, scores, strict=True)]


@st.composite
def tables(draw, least=1):
    """Scores (in eighths, so that sums are exact) of the same rows under some shot counts."""
    rows = draw(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True))
    eighths = st.integers(0, 8).map(lambda n: n / 8)
    return {
        shots: samples(
            draw(st.lists(eighths, min_size=len(rows), max_size=len(rows))),
            draw(st.permutations(rows)),
        )
        for shots in SHOTS[: draw(st.integers(least, 4))]
    }


def average(found):
    return sum(sample["score"] for sample in found) / len(found)


@given(tables())
def test_all_is_the_maximum_at_its_smallest_shot_count(table):
    means = {shots: average(found) for shots, found in table.items()}
    best = best_of(table, "all")
    assert best.value == pytest.approx(max(means.values()))
    assert best.chosen == (min(s for s in means if means[s] == max(means.values())),)


@given(tables(least=4))
def test_smallest_leaves_the_largest_shot_count_out(table):
    best = best_of(table, "smallest")
    assert best == best_of({shots: table[shots] for shots in (6, 4, 2, 0) if shots < 6}, "all")
    assert best.value <= best_of(table, "all").value


@given(tables())
def test_split_half_scores_rows_with_a_choice_they_took_no_part_in(table):
    best = best_of(table, "split-half")
    for_even, for_odd = best.chosen
    by_row = {s: {x["row"]: x["score"] for x in found} for s, found in table.items()}
    rows = by_row[0].keys()
    used = [by_row[for_odd if row % 2 else for_even][row] for row in rows]
    assert best.value == pytest.approx(sum(used) / len(used))
    assert best.value <= sum(max(of[row] for of in by_row.values()) for row in rows) / len(rows)
    # Changing all even rows leaves the choice for the even rows as it is.
    changed = {
        s: [x if x["row"] % 2 else {**x, "score": 1 - x["score"]} for x in found]
        for s, found in table.items()
    }
    assert best_of(changed, "split-half").chosen[0] == for_even


@given(tables(), st.sampled_from(["smallest", "all", "split-half"]))
def test_equal_shot_counts_give_their_score_and_the_smallest(table, rule):
    alike = dict.fromkeys(table, table[0])
    best = best_of(alike, rule)
    assert best.value == pytest.approx(average(table[0]))
    assert set(best.chosen) == {0}


def test_split_half_by_hand():
    """Even rows (0, 2) prefer 2 shots, odd rows (1, 3) prefer 0: each scores the other half."""
    table = {0: samples([0.0, 1.0, 0.2, 0.8]), 2: samples([1.0, 0.0, 0.6, 0.4])}
    best = best_of(table, "split-half")
    assert best.chosen == (0, 2)
    assert best.value == pytest.approx((0.0 + 0.2 + 0.0 + 0.4) / 4)


@given(tables(least=2), st.sampled_from(["smallest", "all", "split-half"]))
def test_rows_must_be_the_same(table, rule):
    assume(len(table[0]) > 1)
    with pytest.raises(ValueError, match="same rows"):
        best_of(table | {2: table[2][1:]}, rule)


def test_nothing_given():
    with pytest.raises(ValueError, match="same rows"):
        best_of({}, "all")
