"""Training times by placement, against arithmetic by hand."""

import pytest

from repro.machine.selftest.record import Record
from repro.models.memory import Placement
from repro.models.spec import Architecture, pins
from repro.plan.pace import LINK, MAIN, pace
from repro.plan.placement import Choice

SEVEN = Architecture(**pins()["architecture"]["llama2-7b"])


def choice(gpus: int, **where: bool) -> Choice:
    return Choice(placement=Placement(**where), gpus=gpus, tokens=2048)


def test_moments_in_main_memory_go_both_ways_each_step() -> None:
    plain = pace(SEVEN, choice(1), bfloat16=True)
    moved = pace(SEVEN, choice(1, offloaded=True), bfloat16=True)
    assert (plain.factor, plain.fixed) == (1, 0)
    assert moved.factor == 1
    assert moved.fixed * MAIN == pytest.approx(54e9, rel=0.01)  # 8 bytes of 6.74e9 weights
    assert moved.seconds(8000, 4000, 3) == pytest.approx(2 + 3 * moved.fixed)


def test_every_pass_of_a_sharded_model_sends_all_weights() -> None:
    where = choice(4, sharded=True)
    one, many = (pace(SEVEN, where, bfloat16=True, step_tokens=t) for t in (4000, 24_000))
    assert one.factor == pytest.approx(4 / 3 / 4)
    assert many.fixed == pytest.approx(3 * one.fixed)  # 6,000 tokens each in passes of 2,048
    assert one.fixed * LINK == pytest.approx(8 * SEVEN.parameters * 3 / 4)
    wide = pace(SEVEN, where, bfloat16=False, step_tokens=4000)
    assert wide.fixed == pytest.approx(1.5 * one.fixed)


def test_what_the_self_test_measured_replaces_what_is_reasoned() -> None:
    record = Record(
        key={},
        checks=[],
        attention={},
        share_prefix=True,
        memory_factor=1,
        seconds={"whole": 0.2, "offloaded": 0.5},
        parameters=SEVEN.parameters // 10,
    )
    found = pace(SEVEN, choice(1, offloaded=True), bfloat16=True, record=record)
    assert found.fixed == pytest.approx(3)
