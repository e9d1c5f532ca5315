"""The profile `auto`: the largest of the kit's that fits the GPUs found."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from repro import profiles
from repro.errors import EXIT_MISSING, ReproError
from repro.models.doctor import DRIVER, Cuda, probe_cuda

NAME = "auto"
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
    *, gpu: Callable[[], bool] = has_gpu, probe: Callable[[], Cuda] = probe_apart
) -> tuple[str, str]:
    """The name of the profile that fits this machine, and why, in words.

    Raises:
        ReproError: there is a GPU that this build of torch cannot use (3).
    """
    if not gpu():
        return WITHOUT_GPU, "no GPU here; in a container, GPUs need: docker run --gpus all"
    found = probe()
    if not found.memory:
        built = f"built for CUDA {found.built}" if found.built else "built without CUDA"
        driver = ".".join(map(str, found.driver)) if found.driver else "nothing"
        raise ReproError(
            f"there is a GPU that torch cannot use: its driver serves CUDA {driver}, torch is "
            f"{built}",
            hint=f"{DRIVER}, or run without it: --profile {WITHOUT_GPU}",
            exit_code=EXIT_MISSING,
        )
    shown = ", ".join(
        f"{name} with {size / 1e9:.0f} GB"
        for name, size in zip(found.names, found.memory, strict=True)
    )
    needed = {name: profiles.load(name).compute for name in LARGEST_FIRST}
    for name, compute in needed.items():
        fitting = [size for size in found.memory if size >= compute.gpu_memory_gb * 1e9]
        if len(fitting) >= compute.gpus:
            return name, f"{shown}; it needs {compute.gpus} of {compute.gpu_memory_gb:g} GB"
    needs = ", ".join(f"{name} {compute.gpu_memory_gb:g} GB" for name, compute in needed.items())
    return WITHOUT_GPU, f"{shown}, too small for the others ({needs})"
