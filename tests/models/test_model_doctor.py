"""Preflight: what each check says of a machine that the test describes."""

import os
import sys
from pathlib import Path

import pytest

from repro.errors import EXIT_MISSING, ReproError
from repro.machine.diagnosis import failed
from repro.machine.gpus import Cuda
from repro.models import doctor, probes
from repro.models.doctor import Needs
from repro.models.probes import Probes
from repro.models.spec import ModelSpec

GATED = ModelSpec.from_table({"kind": "hub", "repo": "meta-llama/Llama-2-7b-hf"}, "x.toml")
EMBEDDED = ModelSpec.from_table({"kind": "embedded"}, "x.toml")
H200 = Cuda("12.8", (12, 8), (150_000_000_000,), ("NVIDIA H200",))


@pytest.mark.parametrize(
    ("found", "level"),
    [
        ((3, 10, 14), "fail"),
        ((3, 11, 0), "ok"),
        ((3, 13, 9), "ok"),
        ((3, 14, 0), "fail"),
    ],
)
def test_python(found, level):
    finding = doctor.check_python(found, ">=3.11,<3.14")
    assert finding.level == level
    assert bool(finding.remedy) == (level == "fail")


def test_packages_missing_and_off_their_pin():
    required = [
        "click==8.5.1",
        "torch==2.13.0; extra == 'run'",
        'transformers==5.19.0; extra == "run"',
        'gguf==0.19.0; extra == "small"',
    ]
    have = {"click": "8.5.1", "torch": "2.13.0+cpu", "transformers": "5.18.0"}
    findings = doctor.check_packages(required, ("run",), have.get)
    assert [(f.what, f.level) for f in findings] == [("package transformers", "warn")]
    findings = doctor.check_packages(required, ("run", "small"), have.get)
    assert [(f.what, f.level, f.remedy) for f in findings] == [
        ("package transformers", "warn", "pip install transformers==5.19.0"),
        ("package gguf", "fail", "pip install gguf==0.19.0"),
    ]
    asked = ['vllm==0.32.0; extra == "vllm"']
    (finding,) = doctor.check_packages(asked, ("run", "vllm"), have.get)
    assert (finding.what, finding.level) == ("package vllm", "fail")
    assert "repro docker build --variant vllm" in finding.remedy
    have |= {"transformers": "5.19.0"}
    (finding,) = doctor.check_packages(required, ("run",), have.get)
    assert (finding.level, finding.found) == ("ok", "3 as pinned")


@pytest.mark.parametrize(
    ("cuda", "count", "memory", "failing", "words"),
    [
        (Cuda(None, None), 1, 10, ["GPU"], "without CUDA"),
        (Cuda("12.8", None), 1, 10, ["GPU"], "no NVIDIA driver"),
        (H200, 1, 120, [], ""),
        (H200, 2, 120, ["GPU"], "NVIDIA H200 150 GB"),
        (H200, 1, 160, ["GPU"], "NVIDIA H200 150 GB"),
        (Cuda("13.0", (12, 8), (10**11,), ("X",)), 1, 80, ["GPU driver"], "serves CUDA 12.8"),
        (Cuda("12.8", (12, 8)), 1, 0, ["GPU"], "none"),
        # One of two is large enough; it serves where it is the first.
        (Cuda("12.8", (13, 0), (8 * 10**9, 10**11), ("S", "L")), 2, 80, ["GPU"], "S 8 GB"),
        (Cuda("12.8", (13, 0), (8 * 10**9, 10**11), ("S", "L")), 1, 80, ["GPU"], "L 100 GB"),
        (Cuda("12.8", (13, 0), (10**11, 8 * 10**9), ("L", "S")), 1, 80, [], ""),
    ],
)
def test_gpus(cuda, count, memory, failing, words):
    findings = doctor.check_gpus(count, memory, probe=lambda: cuda)
    bad = failed(findings)
    assert [finding.what for finding in bad] == failing
    assert all(finding.remedy for finding in bad)
    assert not words or words in bad[0].found


@pytest.mark.parametrize(
    ("flags", "level"),
    [("sse2 avx2", "warn"), ("avx2 avx512f avx512_bf16", "ok"), ("amx_bf16", "ok"), ("", "warn")],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_processor_that_is_slow_in_bfloat16_is_told(flags, level, device):
    looks = Probes(
        processor=lambda: frozenset(flags.split()), cuda=lambda: H200, weights=lambda spec: "there"
    )
    told = doctor.check(EMBEDDED, Needs(device=device, gpus=1, bfloat16=True), probes=looks)
    found = [(f.level, bool(f.remedy)) for f in told if f.what == "bfloat16"]
    assert found == ([(level, level == "warn")] if device == "cpu" else [])
    told = doctor.check(EMBEDDED, Needs(device="cpu"), probes=looks)
    assert not [finding for finding in told if finding.what == "bfloat16"]


@pytest.mark.parametrize(
    ("cuda", "inside", "outside"),
    [
        (Cuda("13.0", None), "docker run --gpus all", "580.65.06"),
        (Cuda(None, None), "--variant cuda", "pip install torch"),
    ],
)
def test_gpus_are_asked_for_where_they_are_missing(cuda, inside, outside, monkeypatch):
    monkeypatch.delenv(doctor.IMAGE, raising=False)
    assert outside in doctor.check_gpus(1, 80, probe=lambda: cuda)[0].remedy
    monkeypatch.setenv(doctor.IMAGE, "cuda")
    assert inside in doctor.check_gpus(1, 80, probe=lambda: cuda)[0].remedy


def test_a_driver_for_an_older_cuda_names_the_one_that_is_needed():
    finding = doctor.check_gpus(1, 80, probe=lambda: Cuda("13.0", (12, 8)))[0]
    assert (finding.level, finding.found) == ("fail", "serves CUDA 12.8")
    assert "580.65.06" in finding.remedy


def test_several_gpus_need_shared_memory(tmp_path):
    sizes = {Path("/dev/shm"): 64 * 2**20, tmp_path: 10**12}
    probes = Probes(cuda=lambda: H200, free=lambda folder: sizes[folder], memory=lambda: 10**12)
    for gpus, level in ((1, None), (2, "fail")):
        needs = Needs(device="cuda", gpus=gpus, folders=(tmp_path,))
        found = {f.what: f.level for f in doctor.check(EMBEDDED, needs, probes=probes)}
        assert found.get("shared memory") == level
    assert doctor.check_shared_memory(2**30).level == "ok"


def test_results_that_would_vanish_with_the_container(monkeypatch):
    mounts = {Path("/results"), Path("/")}
    kept = doctor.check_mounted(Path("/results/run"), mounts.__contains__)
    lost = doctor.check_mounted(Path("/cache/store"), mounts.__contains__)
    assert (kept.level, lost.level) == ("ok", "warn")
    assert lost.remedy == "docker run -v FOLDER:/cache"
    needs = Needs(device="cpu", folders=(Path("/tmp"),))
    probes = Probes(weights=lambda spec: "there")
    monkeypatch.delenv(doctor.IMAGE, raising=False)
    assert not any(f.what.startswith("mount") for f in doctor.check(EMBEDDED, needs, probes=probes))
    monkeypatch.setenv(doctor.IMAGE, "cpu")
    assert any(f.what.startswith("mount") for f in doctor.check(EMBEDDED, needs, probes=probes))


def test_memory_and_disk(tmp_path):
    assert doctor.check_memory(8 * 10**9, 8).level == "ok"
    assert doctor.check_memory(8 * 10**9 - 1, 8).level == "fail"
    asked: list[Path] = []

    def free(folder):
        asked.append(folder)
        return 5 * 10**9

    later = tmp_path / "not" / "yet"
    assert doctor.check_disk(later, 5, free).level == "ok"
    short = doctor.check_disk(later, 6, free)
    assert (short.level, short.found, short.needed) == ("fail", "5.0 GB free", "6 GB")
    assert set(asked) == {tmp_path}


def test_memory_of_this_machine_is_no_more_than_the_kernel_says():
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    assert 0 < probes.probe_memory() <= kib * 1024


def test_writable_folder_that_is_not_there_yet(tmp_path):
    assert doctor.check_writable(tmp_path / "a" / "b").level == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a POSIX system")
def test_folder_that_cannot_be_written(tmp_path):
    locked = Path("/proc/self") if os.geteuid() == 0 else tmp_path / "locked"
    locked.exists() or locked.mkdir(mode=0o500)
    finding = doctor.check_writable(locked / "results")
    assert finding.level == "fail"
    assert finding.remedy


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert doctor.check_writable(tmp_path / "file" / "results").level == "fail"


def test_weights_in_the_store_need_no_look_at_the_hub():
    def reach(_):
        raise AssertionError("asked the hub")

    probes = Probes(weights=reach, token=lambda: reach(GATED))
    found = doctor.check(GATED, Needs(device="cpu"), weights_present=True, probes=probes)
    assert {f.what: f.level for f in found}["base weights"] == "ok"


def test_gated_weights_without_access_say_what_to_do(monkeypatch):
    def reach(_):
        raise ReproError("no access", hint="accept the licence", exit_code=EXIT_MISSING)

    probes = Probes(
        cuda=lambda: H200,
        memory=lambda: 10**12,
        installed=lambda name: None,
        free=lambda folder: 10**12,
        weights=reach,
        token=lambda: False,
    )
    needs = Needs(device="cuda", gpus=1, gpu_memory_gb=120, memory_gb=48, disk_gb=60)
    findings = {f.what: f for f in doctor.check(GATED, needs, probes=probes)}
    assert findings["hub token"].level == "warn"
    assert "HF_TOKEN" in findings["hub token"].remedy
    assert "--model repo=NousResearch/Llama-2-7b-hf" in findings["hub token"].remedy
    assert findings["base weights"].level == "fail"
    assert findings["base weights"].remedy == "accept the licence"
    present = doctor.check(GATED, needs, weights_present=True, probes=probes)
    assert "hub token" not in {f.what for f in present}


def test_cpu_profiles_do_not_ask_for_a_gpu(tmp_path):
    def cuda():
        raise AssertionError("asked for a GPU")

    probes = Probes(cuda=cuda, weights=lambda spec: "there")
    needs = Needs(device="cpu", folders=(tmp_path / "store", tmp_path / "results"))
    findings = doctor.check(EMBEDDED, needs, probes=probes)
    folders = [f.what for f in findings if f.what.startswith("folder")]
    assert folders == [f"folder {tmp_path / 'store'}", f"folder {tmp_path / 'results'}"]


def test_this_python_is_supported():
    needs, probes = Needs(device="cpu"), Probes(weights=lambda spec: "there")
    (finding,) = (f for f in doctor.check(EMBEDDED, needs, probes=probes) if f.what == "Python")
    assert finding.level == "ok"
    assert finding.found.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
