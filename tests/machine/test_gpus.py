"""What torch and the driver say of GPUs, and what is made of it, on described machines."""

import shutil
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from repro.machine import gpus
from repro.machine.gpus import (
    Cuda,
    check_compiler,
    check_gpus,
    driver_cuda,
    parse_report,
    probe_cuda,
)

H100 = Cuda("13.0", (13, 0), (85 * 10**9,), ("NVIDIA H100",), ((9, 0),), (84 * 10**9,), "580.65")
OLD = "The NVIDIA driver on your system is too old (found version 12080).\nPlease update"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A CUDA build of torch whose driver counts two GPUs; `opens` says which torch can open."""
    told = SimpleNamespace(driver=(13, 0), error=RuntimeError(OLD), opens=2)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(gpus, "driver_cuda", lambda: told.driver)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(gpus, "driver_report", lambda: {"a0": (7 * 10**9, "580.65.06")})

    def properties(index: int) -> SimpleNamespace:
        if index >= told.opens:
            raise told.error
        return SimpleNamespace(
            total_memory=8 * 10**9, name="GPU", major=8, minor=9, uuid=f"a{index}"
        )

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    return told


def test_an_old_driver_is_named_though_torch_refuses_to_start(driver: SimpleNamespace) -> None:
    driver.driver, driver.opens = (12, 8), 0
    found = probe_cuda()
    assert (found.driver, found.memory) == ((12, 8), ())
    assert found.trouble == OLD.partition("\n")[0]
    failing = [finding for finding in check_gpus(1, 0, probe=lambda: found) if finding.remedy]
    assert failing[0].what == "GPU driver"
    assert "580.65.06" in failing[0].remedy


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_drivers_library_tells_the_cuda_that_it_serves(tmp_path: Path) -> None:
    def library(body: str) -> str:
        source, made = tmp_path / "driver.c", tmp_path / f"{len(body)}.so"
        source.write_text(body, encoding="utf-8")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)
        return str(made)

    serves = "int cuDriverGetVersion(int *number) { *number = 12080; return 0; }"
    assert driver_cuda(library(serves)) == (12, 8)
    assert driver_cuda(library(serves.replace("return 0", "return 100"))) is None
    assert driver_cuda(library("int other(void) { return 0; }")) is None
    assert driver_cuda(str(tmp_path / "none.so")) is None


def test_of_slices_torch_opens_one(driver: SimpleNamespace) -> None:
    driver.opens, driver.error = 1, AssertionError("Invalid device id")
    found = probe_cuda()
    assert (len(found.memory), found.trouble) == (1, "Invalid device id")
    assert found.free == (7 * 10**9,)
    levels = {f.what: f.level for f in check_gpus(1, 5, probe=lambda: found)}
    assert levels["GPUs for torch"] == "warn"
    assert levels["GPU"] == "ok"
    levels = {f.what: f.level for f in check_gpus(2, 5, probe=lambda: found)}
    assert levels["GPUs for torch"] == "fail"


def test_free_memory_is_unknown_where_it_is_not_told_of_all(driver: SimpleNamespace) -> None:
    found = probe_cuda()
    assert len(found.memory) == 2
    assert found.free == ()
    assert found.release == "580.65.06"


@pytest.mark.parametrize(
    ("capability", "bfloat16", "level"),
    [
        ((7, 0), False, "fail"),  # V100
        ((7, 5), False, "ok"),  # T4
        ((7, 5), True, "fail"),
        ((8, 0), True, "ok"),  # A100
        ((12, 0), True, "ok"),
    ],
)
def test_capability(capability: tuple[int, int], bfloat16: bool, level: str) -> None:
    found = replace(H100, capability=(capability,))
    findings = check_gpus(1, 10, bfloat16=bfloat16, probe=lambda: found)
    assert {f.level for f in findings if f.what == "compute capability"} == {level}


@pytest.mark.parametrize(
    ("free", "needed", "level"),
    [(84, 77, "ok"), (60, 77, "fail"), (60, 20, "ok"), (83.5, 85, "ok")],
)
def test_memory_that_others_use(free: float, needed: float, level: str) -> None:
    found = replace(H100, free=(int(free * 1e9),))
    (finding,) = (
        f for f in check_gpus(1, needed, probe=lambda: found) if f.what == "free GPU memory"
    )
    assert finding.level == level
    assert ("nvidia-smi" in finding.remedy) == (level == "fail")


def test_the_report_of_the_drivers_tools() -> None:
    text = "GPU-5a1b, 80994, 580.65.06\nGPU-6c2d, [N/A], 580.65.06\n"
    assert parse_report(text) == {"5a1b": (80994 * 2**20, "580.65.06")}
    assert parse_report("No devices were found\n") == {}


def test_what_compiling_kernels_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(gpus, "find_spec", lambda name: object())
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))

    def found(compiler: str | None) -> gpus.Diagnosis:
        monkeypatch.setattr(shutil, "which", lambda name: name if name == compiler else None)
        return check_compiler()

    assert (found("clang").level, found("clang").found) == ("warn", f"missing: {tmp_path}/Python.h")
    (tmp_path / "Python.h").touch()
    assert found("clang").level == "ok"
    assert "a C compiler" in found(None).found
    monkeypatch.setenv("CC", "icc")
    assert found("icc").level == "ok"
    assert "icc" in found("gcc").found
