"""The code for GPUs on a stand-in for one; skipped where no C++ compiler can make it."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

Run = Callable[..., str]


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("way", ["flex", "grouped"])
def test_steps_mix_no_devices_and_compile_few_graphs(run: Run, way: str, recomputed: bool) -> None:
    graphs = int(run("steps.py", way, int(recomputed)))
    assert graphs == (2 if way == "flex" else 0)  # without and with shared tokens


def test_a_fine_tune_mixes_no_devices_and_waits_for_the_device_once_a_step(run: Run) -> None:
    """And trains as on the CPU; FT and FTICL, both ways to attend, moments here and there."""
    told = json.loads(run("waits.py", "train"))
    assert told["mixed"] == {}
    assert len(told["outcome"]) == 5
    for name, found in told["outcome"].items():
        assert found["device"] == "stand-in"
        assert found["waits"] == [1] * 4, (name, found["where"])
        (here, norms, moved), (there, others, moved_there) = found["here"], found["there"]
        bound = 1e-5 if "float32" in name else 1e-2
        assert there[0] == pytest.approx(here[0], abs=bound)
        # Rounding grows with the steps: 1.2e-5 was seen here, 2.9e-4 between two processors.
        assert there == pytest.approx(here, abs=max(1e-4, bound))
        assert others == pytest.approx(norms, rel=10 * bound)
        assert moved_there == pytest.approx(moved, rel=bound)


def test_an_evaluation_mixes_no_devices_and_waits_once_a_token(run: Run) -> None:
    """Without a shared prefix twice: transformers asks whether anything is masked."""
    told = json.loads(run("waits.py", "evaluate"))
    assert told["mixed"] == {}
    assert len(told["outcome"]) == 6
    for name, found in told["outcome"].items():
        shared = "plain" not in name
        if "generation" in name:
            assert set(found["a_token"]) == {1 if shared else 2}, found["where"]
        else:  # a batch a cell
            assert found["waits"] <= (4 if shared else 8), found["where"]
        for cell, other in zip(found["here"], found["there"], strict=True):
            assert len(cell) == 12
            for record, again in zip(cell, other, strict=True):
                logits, also = record.pop("logits", {}), again.pop("logits", {})
                assert also == pytest.approx(logits, abs=1e-4)
                assert again == record


def test_the_benchmark_mixes_no_devices(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRO_LLAMA2_TOKENIZER", raising=False)  # stored lengths are quicker
    told = json.loads(run("waits.py", "benchmark"))
    assert told["mixed"] == {}
    rows = told["outcome"]
    assert sum(name.startswith("training, ") for name in rows) == 16  # 15 mixes, and memory
    assert rows["training, peak memory"] == rows["evaluation, peak memory"] == "1 GB"
    assert "decoding, Socialqa, batch of 6, replayed" in rows
    assert float(rows["hours: all"].split()[0]) > 0


def test_the_self_test_is_green(run: Run) -> None:
    """Its checks of attention, gradients, label logits and generation, on the device."""
    told = json.loads(run("waits.py", "selftest"))
    assert told["mixed"] == {}
    assert [what for what, right, _ in told["outcome"] if not right] == []
    assert len(told["outcome"]) >= 9


SHARED = {"8.0": 163, "8.9": 99, "9.0": 227}
"""KiB of shared memory that a block can have (CUDA C++ programming guide)."""


@pytest.mark.skipif(
    find_spec("triton") is None, reason="needs the package triton, as docker/cuda.lock pins it"
)
@pytest.mark.parametrize("capability", list(SHARED))
def test_kernels_fit_and_have_no_atomics(run: Run, capability: str) -> None:
    """Forward and backward, in every shape; nor does a GPU choose between versions by their times.

    Both would let bits differ from run to run.
    """
    told: list[dict[str, Any]] = json.loads(run("lowered.py", capability))
    shapes = {kernel["shape"] for kernel in told}
    assert len(shapes) == 3
    for shape in shapes:
        kinds = {
            (k["backward"], "flex_attention" in k["name"]) for k in told if k["shape"] == shape
        }
        assert kinds == {(False, True), (True, True)}
    for kernel in told:
        assert kernel["target"].startswith(f"sm_{capability.replace('.', '')}")
        assert kernel["atomics"] == []
        assert kernel["choices"] == 1, kernel
        assert kernel["shared"] <= SHARED[capability] * 1024, kernel
