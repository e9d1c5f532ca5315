"""The profile `auto`: which one it takes on which machine."""

import re

import pytest

from repro.errors import ReproError
from repro.machine.gpus import Cuda
from repro.plan import auto

GB = 10**9


@pytest.mark.parametrize(
    ("memory", "main", "profile"),
    [
        ((141 * GB,), 64, "llama2-7b"),
        ((85 * GB, 85 * GB), 64, "llama2-7b"),
        ((85 * GB,), 128, "llama2-7b"),
        ((85 * GB,), 64, "small"),
        ((24 * GB,), 128, "small"),
        ((2 * GB,), 128, "embedded"),
    ],
)
def test_the_largest_profile_that_fits(memory: tuple[int, ...], main: int, profile: str) -> None:
    found = Cuda("13.0", (13, 0), memory, tuple(f"GPU{i}" for i in range(len(memory))))
    name, why = auto.choose(gpu=lambda: True, probe=lambda: found, memory=lambda: main * GB)
    assert name == profile
    assert all(f"GPU{i} with {size // GB} GB" in why for i, size in enumerate(memory))
    assert ("too small for the others (llama2-7b: 131 GB" in why) == (profile != "llama2-7b")


def test_without_a_gpu_nothing_is_probed() -> None:
    def probe() -> Cuda:
        raise AssertionError("started torch")

    name, why = auto.choose(gpu=lambda: False, probe=probe)
    assert name == "embedded"
    assert "docker run --gpus all" in why


@pytest.mark.parametrize(
    ("cuda", "said"),
    [
        (Cuda("13.0", (12, 8)), "serves CUDA 12.8, torch is built for CUDA 13.0"),
        (Cuda(None, None), "built without CUDA"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_no_reason_to_go_without(cuda: Cuda, said: str) -> None:
    with pytest.raises(ReproError, match=re.escape(said)) as caught:
        auto.choose(gpu=lambda: True, probe=lambda: cuda)
    assert caught.value.exit_code == 3
    assert "580.65.06" in caught.value.hint
    assert "--profile embedded" in caught.value.hint


def test_devices_tell_of_a_gpu(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "nvidiactl").touch()
    assert not auto.has_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert auto.has_gpu(tmp_path)


def test_another_process_is_asked_for_the_gpus() -> None:
    assert auto.probe_apart().memory == () or auto.has_gpu()
