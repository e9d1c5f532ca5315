"""Where the memory of a fine-tune lies on machines that the tests describe."""

from dataclasses import replace
from pathlib import Path

import pytest

from repro import profiles
from repro.machine.diagnosis import Diagnosis, failed
from repro.machine.gpus import Cuda
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan import auto, placement
from repro.plan.preflight import machine_findings
from repro.plan.store import Store

GB = 10**9
LLAMA2_7B = profiles.load("llama2-7b")
SPEC = ModelSpec.from_table(LLAMA2_7B.model, LLAMA2_7B.origin)


@pytest.mark.parametrize(
    ("gpus", "main", "told"),
    [
        # GPUs as torch sees them: an H200 has 150e9 bytes, an A100 or H100 85e9, an L40S 48e9.
        ([150], 64, "whole on 1 GPU"),
        ([150, 150], 64, "whole on 1 GPU"),
        ([85], 128, "AdamW's moments in main memory"),
        ([85], 64, None),
        ([128], 64, "whole on 1 GPU, weights rounded for each use"),
        ([72], 128, "AdamW's moments in main memory, weights rounded for each use"),
        ([85, 85], 64, "sharded over 2 GPUs"),
        ([85, 85, 85], 64, "sharded over 2 GPUs"),
        ([48, 48], 128, "sharded over 2 GPUs, AdamW's moments in main memory"),
        ([48, 48], 64, None),
        ([48] * 4, 64, "sharded over 4 GPUs"),
        ([24] * 8, 256, "sharded over 8 GPUs, AdamW's moments in main memory"),
        ([24], 256, None),
        ([24, 150], 64, None),  # the first would be used
        ([], 64, None),
    ],
)
def test_of_what_fits_the_fastest(gpus: list[int], main: int, told: str | None) -> None:
    sizes, compute = SPEC.architecture, LLAMA2_7B.compute
    found = placement.choose(sizes, compute, [size * GB for size in gpus], main * GB)
    assert (found and str(found)) == told


def test_low_rank_changes_fit_smaller_cards_and_are_never_sharded() -> None:
    profile = profiles.load("llama2-7b-lora")
    for sizes, told in (
        ([85], "whole on 1 GPU"),
        ([48], "whole on 1 GPU, weights rounded for each use"),
        ([42], "whole on 1 GPU, weights rounded for each use"),
        ([24, 24], None),
    ):
        gpus = [size * GB for size in sizes]
        found = placement.choose(SPEC.architecture, profile.compute, gpus, 128 * GB)
        assert (found and str(found)) == told
    assert "with weights rounded" in placement.ways(SPEC.architecture, profile.compute)


def test_no_profile_with_low_rank_changes_is_chosen_silently() -> None:
    for name in auto.LARGEST_FIRST:
        assert not profiles.load(name).compute.lora_rank


def test_passes_shrink_before_a_slower_way_is_taken() -> None:
    sizes, compute = SPEC.architecture, LLAMA2_7B.compute
    tokens = []
    for size in (150, 140, 120):
        found = placement.choose(sizes, compute, [size * GB], 128 * GB)
        assert found is not None
        tokens.append((found.placement.offloaded, found.tokens))
        assert found.peak_bytes <= 0.95 * size * GB
    assert tokens == [(False, 2048), (False, 1024), (True, 2048)]


def test_sharded_passes_hold_the_longest_sample_of_all() -> None:
    found = placement.choose(SPEC.architecture, LLAMA2_7B.compute, [85 * GB] * 2, 64 * GB)
    assert found is not None
    assert found.tokens >= 2121


def test_whole_copies_on_as_many_gpus_as_the_profile_says() -> None:
    compute = replace(LLAMA2_7B.compute, gpus=2)
    for main, told in ((64, "sharded over 2 GPUs"), (96, "whole on 2 GPUs")):
        found = placement.choose(SPEC.architecture, compute, [150 * GB] * 2, main * GB)
        assert str(found) == told


def _findings(tmp_path: Path, cuda: Cuda, main: int, *, tuned: bool = True) -> list[Diagnosis]:
    probes = Probes(
        cuda=lambda: cuda,
        memory=lambda: main * GB,
        free=lambda folder: 10**13,
        weights=lambda spec: "there",
        token=lambda: True,
    )
    store = Store(tmp_path)
    return machine_findings(LLAMA2_7B, SPEC, store, [], tuned=tuned, probes=probes)


def _gpus(*memory: int) -> Cuda:
    return Cuda("13.0", (13, 0), tuple(m * GB for m in memory), ("GPU",) * len(memory))


def test_the_doctor_says_how_fine_tuning_fits(tmp_path: Path) -> None:
    findings = {f.what: f for f in _findings(tmp_path, _gpus(85), 128)}
    told = "AdamW's moments in main memory; a step of 4,096 tokens in about 3.2 s"
    assert findings["fine-tuning"].found == told
    # What each check asks of the GPU is what the chosen placement takes of it.
    assert findings["GPU"].needed == "1 with 78 GB"
    assert findings["fine-tuning"].needed == "77.6 GB (passes of 1,024 tokens)"
    assert findings["memory"].needed == "102 GB"
    assert not failed(findings.values())


def test_the_doctor_says_what_fine_tuning_would_need(tmp_path: Path) -> None:
    (finding,) = failed(_findings(tmp_path, _gpus(24), 64))
    assert finding.what == "fine-tuning"
    assert finding.found == "GPUs: 24 GB; main memory: 64 GB"
    assert "131 GB on one GPU" in finding.needed
    assert "64/38.1/25.1 GB on each of 2/4/8" in finding.needed
    assert "--variants base" in finding.remedy
    assert not failed(_findings(tmp_path, _gpus(24), 64, tuned=False))


def test_the_doctor_asks_for_shared_memory_where_gpus_train_together(tmp_path: Path) -> None:
    several = [f.what for f in _findings(tmp_path, _gpus(85, 85), 64)]
    alone = [f.what for f in _findings(tmp_path, _gpus(150, 150), 64)]
    assert "shared memory" in several
    assert "shared memory" not in alone


def test_without_gpus_the_doctor_says_it_too(tmp_path: Path) -> None:
    gpu, tuning = failed(_findings(tmp_path, Cuda("13.0", None), 64))
    assert (gpu.what, tuning.what) == ("GPU", "fine-tuning")
    assert tuning.found == "GPUs: none; main memory: 64 GB"
    assert "131 GB on one GPU" in tuning.needed
