"""The profile `auto`: the largest of the kit's that fits the GPUs found."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from repro import profiles
from repro.errors import EXIT_MISSING, ReproError
from repro.machine.gpus import DRIVER, Cuda, probe_cuda
from repro.models.probes import Probes, probe_memory
from repro.models.spec import ModelSpec
from repro.plan import placement

LARGEST_FIRST = ("llama2-7b", "small")
"""Those that need a GPU, the paper's own model before the stand-in."""

WITHOUT_GPU = "embedded"


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether the system shows an NVIDIA GPU, which says nothing of its driver."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists()


def probe_apart() -> Cuda:
    """`probe_cuda` in a process of its own: torch is not to start here before its settings."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(probe_cuda).result()


def choose(
    *,
    gpu: Callable[[], bool] = has_gpu,
    probe: Callable[[], Cuda] = probe_apart,
    memory: Callable[[], int] = probe_memory,
) -> tuple[str, str]:
    """The name of the profile that fits this machine, and why, in words.

    Raises:
        ReproError: there is a GPU that this build of torch cannot use (3).
    """
    if not gpu():
        return WITHOUT_GPU, "no GPU here; in a container, GPUs need: docker run --gpus all"
    found = probe()
    if not found.memory:
        built = f"for CUDA {found.built}" if found.built else "without CUDA"
        driver = ".".join(map(str, found.driver)) if found.driver else "nothing"
        raise ReproError(
            f"there is a GPU that torch cannot use: its driver serves CUDA {driver}, torch is "
            f"built {built}",
            hint=f"{DRIVER}, or run without it: --profile {WITHOUT_GPU}",
            exit_code=EXIT_MISSING,
        )
    shown = ", ".join(
        f"{name} with {size / 1e9:.0f} GB"
        for name, size in zip(found.names, found.memory, strict=True)
    )
    needs: list[str] = []
    for name in LARGEST_FIRST:
        profile = profiles.load(name)
        spec = ModelSpec.from_table(profile.model, profile.origin)
        choice = placement.here(spec, profile.compute, Probes(cuda=lambda: found, memory=memory))
        if choice is not None:
            why = f"{shown}; fine-tuning {choice}: {choice.peak_bytes / 1e9:.3g} GB"
            return name, why + f"; too small for the others ({'; '.join(needs)})" * bool(needs)
        assert spec.architecture is not None
        needs.append(f"{name}: {placement.ways(spec.architecture, profile.compute)}")
    return WITHOUT_GPU, f"{shown}, too small for the others ({'; '.join(needs)})"
