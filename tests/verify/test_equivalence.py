"""The correction for many points, against its definition and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.spec.cells import Cell
from repro.verify.paperlevel import adjusted
from repro.verify.verdicts import NumberVerdict, Verdict

POINT = NumberVerdict(
    cell=Cell.parse("base.amazon.p1.0"), verdict=Verdict.NOT_REPRODUCED, reason="outside"
)


def points(p_values: list[float | None]) -> tuple[NumberVerdict, ...]:
    """Points that differ by themselves, with these p values, after the correction."""
    return adjusted([replace(POINT, p=p) for p in p_values])


@given(st.lists(st.floats(0, 1), max_size=40))
def test_adjusted_p_values_follow_the_definition(p_values: list[float]) -> None:
    """The least, over all p values that are not smaller, of p times their number by its rank."""
    n = len(p_values)
    for p, found in zip(p_values, points([*p_values]), strict=True):
        others = [n * q / sum(r <= q for r in p_values) for q in p_values if q >= p]
        assert found.p_adjusted == pytest.approx(min(1.0, *others), abs=1e-12)


def test_differences_that_chance_brings_are_taken_back() -> None:
    few = points([0.02, 1e-6, None])
    assert [point.verdict for point in few] == [Verdict.NOT_REPRODUCED] * 3
    assert few[2] == POINT
    many = points([0.02, *[0.5] * 9])
    assert many[0].verdict is Verdict.CONSISTENT
    assert many[0].reason == "outside; outside its interval, as chance puts some cells"


def test_few_of_the_differences_that_remain_are_false() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(1000):
        p_values = [*rng.uniform(size=16), *rng.uniform(size=16) * 1e-4]
        found = [point.verdict is Verdict.NOT_REPRODUCED for point in points([*p_values])]
        assert all(found[16:])
        shares.append(sum(found[:16]) / sum(found))
    assert 0.01 < np.mean(shares) <= 0.05
