"""Closed forms against enumeration of every order."""

from itertools import combinations
from statistics import mean, pstdev

import pytest

from repro.audit.statistics import micro_batches, percentile, worst_step


@pytest.mark.parametrize("dead", [0, 1, 3, 5, 8])
def test_expectations_are_those_of_all_orders(dead: int) -> None:
    # Eight samples, steps of two micro-batches of two: every choice of dead places, once.
    both, one, steps = [], [], []
    for places in combinations(range(8), dead):
        pairs = [(2 * i in places) + (2 * i + 1 in places) for i in range(4)]
        both.append(pairs.count(2))
        one.append(pairs.count(1))
        steps.append(sum(2 in pairs[i : i + 2] for i in (0, 2)))
    expected = micro_batches(8, dead, accumulation=2)
    assert expected["both dead"] == pytest.approx(mean(both))
    assert expected["both dead, standard deviation"] == pytest.approx(pstdev(both), abs=1e-9)
    assert expected["exactly one dead"] == pytest.approx(mean(one))
    assert expected["steps with both dead"] == pytest.approx(mean(steps))
    assert expected["living samples a step"] == pytest.approx(4 * (8 - dead) / 8)


def test_worst_step() -> None:
    assert worst_step([True] * 8, epochs=3, accumulation=2) == 2
    assert worst_step([False] * 8, epochs=3, accumulation=2) == 0
    # Two of four places dead: they share one of two micro-batches in 2 of 6 orders.
    share = worst_step([True, True, False, False], epochs=20_000, accumulation=2)
    assert share == pytest.approx(1 / 3, abs=0.02)


def test_percentiles_interpolate_and_cut() -> None:
    assert percentile([4, 1, 3, 2], 50) == 2  # 2.5
    assert percentile([0, 100], 95) == 95
