"""Wall time with several workers, against bounds that hold for every schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.plan.cost import Cost, Row, makespan


def row(train: float, evaluate: float, cells: int = 10) -> Row:
    return Row("model", cells, cells, Cost(0, 0, 0, train + evaluate, train))


SECONDS = st.floats(min_value=0, max_value=1000)
ROWS = st.lists(
    st.builds(row, SECONDS, SECONDS, st.integers(min_value=1, max_value=80)),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.integers(min_value=1, max_value=64))
def test_no_schedule_beats_the_work_or_the_longest_chain(rows: list[Row], workers: int) -> None:
    """List scheduling is never longer than twice the bound (Graham 1966), chains included."""
    found = makespan(rows, workers)
    work = sum(item.cost.seconds for item in rows)
    assert found.busy == pytest.approx(work)
    assert found.least >= work / workers - 1e-6
    assert found.least - 1e-6 <= found.seconds <= 2 * found.least + 1e-6


@given(ROWS)
def test_one_worker_takes_all_of_the_work(rows: list[Row]) -> None:
    assert makespan(rows, 1).seconds == pytest.approx(sum(item.cost.seconds for item in rows))


def test_by_hand() -> None:
    """Two models of 10 s training and 4 cells of 1 s each; two workers do one each."""
    assert makespan([row(10, 4, 4)] * 2, 2).seconds == pytest.approx(14)
    # Three on two workers: the third trains behind the first two, whose cells fill the gap.
    assert makespan([row(10, 4, 4)] * 3, 2).seconds == pytest.approx(24)


def test_a_finished_plan_takes_no_time() -> None:
    assert makespan([Row("model", 3, 0, Cost(0, 0, 0, 0.0))], 4).seconds == 0
