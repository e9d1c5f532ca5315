"""The self-test on a CPU, and whether it notices what it is there to notice."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.errors import ReproError
from repro.evaluate import generate, prefix
from repro.finetune import attention, flex
from repro.finetune.loop import Trainer
from repro.machine.gpus import Cuda
from repro.machine.selftest import checks, run, steps
from repro.machine.selftest.record import Check, Record, conclusions, place, read, unfinished

CPU = torch.device("cpu")
NARROW = replace(steps.WIDE, hidden=64, intermediate=172, heads=4, kv_heads=2, vocabulary=300)
FEW: dict[str, Any] = {"queries": (1, 60, 129), "prefixes": (0, 20)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_grouped_attention_is_right(precision: str) -> None:
    check = checks.attention("grouped", precision, CPU, **FEW)
    assert check.right, check
    assert float(check.found) > 0  # two computations, not one compared with itself


def test_attention_that_sees_one_token_too_many_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = attention.scaled_dot_product_attention

    def leaky(query: Any, key: Any, value: Any, **more: Any) -> Any:
        return plain(query, key, value, **(more | {"is_causal": False}))

    monkeypatch.setattr(attention, "scaled_dot_product_attention", leaky)
    assert not checks.attention("grouped", "float32", CPU, **FEW).right


def test_values_that_are_no_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = attention.scaled_dot_product_attention
    monkeypatch.setattr(
        attention,
        "scaled_dot_product_attention",
        lambda *words, **more: plain(*words, **more) * torch.nan,
    )
    assert not checks.attention("grouped", "float32", CPU, **FEW).right


def test_a_shape_without_numbers_is_not_forgotten_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, calls = attention.scaled_dot_product_attention, iter([1.0, torch.nan])

    def once(*words: Any, **more: Any) -> Any:
        return plain(*words, **more) * next(calls, 1.0)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", once)
    assert not checks.attention("grouped", "float32", CPU, **FEW).right


def test_label_logits_that_are_no_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = checks.label_logits

    def none(*words: Any, **more: Any) -> Any:
        return [dict.fromkeys(found, math.nan) for found in plain(*words, **more)]

    monkeypatch.setattr(checks, "label_logits", none)
    found = checks.evaluation(torch.float32, CPU, shared=False)
    assert [check.right for check in found if "label" in check.what] == [False]


def test_a_way_that_cannot_run_is_wrong_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("Triton: no C compiler\nmore")

    monkeypatch.setattr(flex, "_compiled", refuse)
    check = checks.attention("flex", "bfloat16", CPU, **FEW)
    assert (check.right, check.where) == (False, "Triton: no C compiler")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_evaluation_is_right(dtype: torch.dtype, shared: bool) -> None:
    for check in checks.evaluation(dtype, CPU, shared=shared):
        assert check.right, check
        assert (dtype == torch.float32) == (float(check.found) < 1e-5)


def test_a_prefix_that_is_not_seen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import repro.evaluate.attention as shared_attention

    plain = shared_attention._attend_once

    def blind(query: Any, key: Any, value: Any, mask: Any, keys: Any, *more: Any) -> Any:
        return plain(query, key, value, mask, torch.zeros_like(keys), *more)

    monkeypatch.setattr(shared_attention, "_attend_once", blind)
    scored, written = checks.evaluation(torch.float32, CPU, shared=True)
    assert scored.right  # prompts do not go through it
    assert not written.right


@pytest.fixture(scope="module")
def whole(warm_python: str) -> Record:
    """The record of a self-test of this CPU."""
    request = run.TestRequest(
        key={"gpu": "CPU"},
        out="",
        device="cpu",
        gpus=1,
        precisions=("float32",),
        sizes=NARROW,
    )
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", warm_python)
        record = run.test(request, said.append)
    assert len(said) == len(record.checks)
    return record


def test_all_checks_hold_here(whole: Record) -> None:
    assert [check for check in whole.checks if not check.right] == []
    names = [check.what for check in whole.checks]
    for part in (
        "two processes",
        "after an interruption",
        "determinism grouped float32, moments in main memory",
        "memory grouped float32, FTICL whole",
        "generation, float16, with shared prefix",
    ):
        assert any(part in name for name in names), part
    assert whole.attention == {"float32": "grouped"}
    assert (whole.share_prefix, whole.stop) == (True, "")
    assert 1 <= whole.memory_factor < 1.05
    assert min(whole.seconds["whole"], whole.seconds["offloaded"]) > 0
    whole.require()


def test_records_are_read_for_their_own_kind_only(whole: Record, tmp_path: Path) -> None:
    path = place(tmp_path, whole.key)
    path.parent.mkdir()
    whole.write(path)
    assert read(path, whole.key) == whole
    assert read(path, {"gpu": "another"}) is None
    path.write_text("{", encoding="utf-8")
    assert read(path, whole.key) is None
    assert place(tmp_path, {"gpu": "another"}) != path


def test_an_interruption_leaves_the_checks_so_far_and_no_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> Any:
        yield Check("one", True, "1", "1")
        yield Check("two", False, "1", "2")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_checks", interrupted)
    path = tmp_path / "record.json"
    key = {"gpu": "X"}
    request = run.TestRequest(
        key=key, out=str(path), device="cpu", gpus=1, precisions=("float32",), sizes=NARROW
    )
    with pytest.raises(KeyboardInterrupt):
        run.test(request, lambda _: None)
    assert read(path, key) is None
    left = unfinished(path)
    assert [check["what"] for check in json.loads(left.read_text())["checks"]] == ["one", "two"]
    left.rename(path)
    assert read(path, key) is None


def test_steps_that_differ_from_run_to_run_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(range(100))
    outcome = {"peak": 1, "planned": 1, "seconds": 1.0, "tokens": 9}

    def child(request: Any, **_: object) -> dict[str, dict[str, Any]]:
        return {kind: outcome | {"hash": f"{kind} {next(turns)}"} for kind in request.kinds}

    monkeypatch.setattr(run, "_child", child)
    request = run.TestRequest(
        key={}, out="", device="cpu", gpus=1, precisions=("float32",), sizes=NARROW
    )
    found = list(run._determinism(request, "float32", "grouped", {"seconds": {}}))
    wrong = [check.what for check in found if not check.right]
    assert len(wrong) == 3
    assert (
        "determinism grouped float32, two processes: FT, FTICL differ"
        in conclusions(found, ["float32"])["stop"]
    )


def test_a_step_that_takes_more_memory_makes_plans_careful() -> None:
    told: dict[str, Any] = {}
    outcome = {"FT": {"peak": 110, "planned": 100}, "FTICL": {"peak": 90, "planned": 100}}
    right = [check.right for check in run._memory("determinism flex", outcome, "whole", told)]
    assert right == [False, True]
    assert told["memory"] == pytest.approx(1.1)


def test_measuring_a_step_holds_no_gradients_of_the_last() -> None:
    # Few tokens beside the weights, so that a copy of all gradients would show.
    wide = replace(NARROW, hidden=256, intermediate=688, vocabulary=600)
    request = steps.StepRequest(sizes=wide, device="cpu", precision="float32", kinds=("FT",), own=8)
    outcome = steps.take(request)["FT"]
    assert 0.8 * outcome["planned"] < outcome["peak"] < run.MEMORY * outcome["planned"]


def checked(*wrong: str) -> list[Check]:
    names = [
        "attention grouped bfloat16",
        "attention flex bfloat16",
        "label logits, bfloat16, without shared prefix",
        "generation, bfloat16, with shared prefix",
        "determinism flex bfloat16, two processes",
        "determinism grouped bfloat16, two processes",
    ]
    return [Check(name, name not in wrong, "found", "needed") for name in names]


@pytest.mark.parametrize(
    ("wrong", "way", "share", "stop"),
    [
        ([], "flex", True, ""),
        (["attention flex bfloat16"], "grouped", True, ""),
        (["determinism flex bfloat16, two processes"], "grouped", True, ""),
        (["attention grouped bfloat16"], "flex", True, ""),  # not needed
        (["generation, bfloat16, with shared prefix"], "flex", False, ""),
        (
            ["attention flex bfloat16", "attention grouped bfloat16"],
            "grouped",
            True,
            "attention grouped bfloat16: found, allowed needed",
        ),
        (
            ["label logits, bfloat16, without shared prefix"],
            "flex",
            True,
            "label logits, bfloat16, without shared prefix: found, allowed needed",
        ),
    ],
)
def test_what_follows(wrong: list[str], way: str, share: bool, stop: str) -> None:
    made = conclusions(checked(*wrong), ["bfloat16"])
    assert made == {
        "attention": {"bfloat16": way},
        "share_prefix": share,
        "replayed": False,
        "stop": stop,
    }
    record = Record(key={"gpu": "X"}, checks=[], memory_factor=1.0, **made)
    if stop:
        with pytest.raises(ReproError, match="self-test of X failed") as caught:
            record.require()
        assert caught.value.exit_code == 3


REPLAYS = ("generation, bfloat16, with shared prefix, replayed", "decoding, replayed")


@pytest.mark.parametrize(
    ("wrong", "replayed"),
    [
        ([], True),
        ([REPLAYS[0]], False),
        ([REPLAYS[1]], False),  # right, but no faster
        (["generation, bfloat16, with shared prefix"], False),
    ],
)
def test_a_graph_is_replayed_where_it_is_right_and_faster(wrong: list[str], replayed: bool) -> None:
    found = [Check(name, name not in wrong, "found", "needed") for name in REPLAYS]
    made = conclusions([*checked(*wrong), *found], ["bfloat16"])
    assert made["replayed"] == replayed
    assert made["share_prefix"] == ("with shared prefix" not in " ".join(wrong)[-18:])
    assert made["stop"] == ""


def test_replayed_steps_are_compared_and_timed() -> None:
    *right, timed = checks.replays(replace(NARROW, vocabulary=500), CPU)
    assert [check.right for check in right] == [True] * 3
    assert float(right[0].found) < 1e-5
    assert timed.what == "decoding, replayed"
    assert timed.found.endswith("of the time")


def test_a_graph_that_cannot_be_captured_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(generate, "captured", refuse)
    (check,) = checks.replays(replace(NARROW, vocabulary=500), CPU)
    assert not check.right
    assert check.where == "operation not permitted when stream is capturing"


def test_steps_that_read_another_place_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a graph does that holds a number of the host instead of one on the device."""
    monkeypatch.setattr(prefix, "_put", lambda *_: None)
    assert not all(check.right for check in checks.replays(replace(NARROW, vocabulary=500), CPU))


def test_flex_is_not_taken_for_float32() -> None:
    assert conclusions([], ["float32"])["attention"] == {"float32": "grouped"}


def test_a_kind_is_gpu_driver_and_packages() -> None:
    cuda = Cuda("13.0", (13, 0), (1,), ("A",), ((9, 0),), (1,), "580.65.06")
    assert run.kind(cuda, ["bfloat16"]) == run.kind(
        replace(cuda, memory=(2,), free=()), ["bfloat16"]
    )
    for other in (
        replace(cuda, names=("B",)),
        replace(cuda, release="590.1"),
        replace(cuda, capability=((8, 0),)),
    ):
        assert run.kind(other, ["bfloat16"]) != run.kind(cuda, ["bfloat16"])


def test_the_steps_hash_tells_weights_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    request = steps.StepRequest(sizes=NARROW, device="cpu", precision="float32", kinds=("FT",))
    one, two = (steps.take(request)["FT"]["hash"] for _ in range(2))
    assert one == two
    step = Trainer.step

    def disturbed(self: Trainer, number: int, groups: Any) -> None:
        step(self, number, groups)
        with torch.no_grad():
            self._parameters[0][0, 0] += 1e-7

    monkeypatch.setattr(Trainer, "step", disturbed)
    assert steps.take(request)["FT"]["hash"] != one
