"""Training times by placement, against arithmetic by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from repro import profiles
from repro.machine.gpus import Cuda
from repro.machine.selftest.record import Record, place
from repro.machine.selftest.run import kind
from repro.models.memory import Placement
from repro.models.probes import Probes
from repro.models.spec import Architecture, pins
from repro.plan import placement
from repro.plan.placement import LINK, MAIN, Choice, pace

ROOT = Path(__file__).parents[2]
SEVEN = Architecture(**pins()["architecture"]["llama2-7b"])


def test_the_documentation_has_the_memory_of_low_rank_changes() -> None:
    compute = profiles.load("llama2-7b-lora").compute
    text = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    assert placement.ways(SEVEN, compute) in text


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
    where = replace(choice(1, offloaded=True), record=record)
    assert pace(SEVEN, where, bfloat16=True).fixed == pytest.approx(3)
    where = replace(choice(1, recast=True), record=replace(record, rates={"copy_bytes": 3e12}))
    found = pace(SEVEN, where, bfloat16=True, step_tokens=6000)
    assert found.fixed == pytest.approx(3 * 12 * SEVEN.parameters / 3e12)  # three passes


def test_plans_take_the_record_of_this_machine_and_no_other(tmp_path: Path) -> None:
    cuda = Cuda("13.0", (13, 0), (85 * 10**9,), ("GPU",))
    compute = profiles.load("llama2-7b").compute
    probes = Probes(cuda=lambda: cuda)
    assert placement.measured(tmp_path, compute, probes) is None
    key = kind(cuda, ["bfloat16"])
    record = Record(
        key=key, checks=[], attention={}, share_prefix=True, memory_factor=1.1, parameters=1
    )
    path = place(tmp_path, key)
    path.parent.mkdir()
    record.write(path)
    assert placement.measured(tmp_path, compute, probes) == record
    other = Probes(cuda=lambda: replace(cuda, names=("another",)))
    assert placement.measured(tmp_path, compute, other) is None
