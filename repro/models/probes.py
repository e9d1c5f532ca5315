"""How the machine is looked at: GPUs, memory, packages, disk, weights, the hub's token."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from repro.models import sources
from repro.models.spec import ModelSpec

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Cuda:
    """What torch says of the GPUs.

    Attributes:
        built: CUDA version that torch was built with; None for a build without it.
        driver: newest CUDA version that the driver serves, as (major, minor); None without one.
        memory: bytes of each GPU.
        names: of each GPU.
    """

    built: str | None
    driver: tuple[int, int] | None
    memory: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def probe_cuda() -> Cuda:
    """Ask torch for the GPUs; starts torch."""
    import torch  # slow, and not part of the light install

    if torch.version.cuda is None:
        return Cuda(None, None)
    number = vars(torch._C)["_cuda_getDriverVersion"]()  # 12080 for 12.8; 0 without a driver
    driver = (number // 1000, number % 1000 // 10) if number else None
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return Cuda(
        torch.version.cuda,
        driver,
        tuple(gpu.total_memory for gpu in found),
        tuple(gpu.name for gpu in found),
    )


def probe_memory() -> int:
    """Bytes of main memory that this process may use: the machine's, or its container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return total


def probe_version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def probe_token() -> bool:
    """Whether huggingface_hub finds an access token (HF_TOKEN or its own store)."""
    from huggingface_hub import get_token  # slow to import

    return bool(get_token())


@dataclass(frozen=True, kw_only=True)
class Probes:
    """How the machine is looked at; tests give their own."""

    cuda: Callable[[], Cuda] = probe_cuda
    memory: Callable[[], int] = probe_memory
    installed: Callable[[str], str | None] = probe_version
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    weights: Callable[[ModelSpec], str] = sources.require
    token: Callable[[], bool] = probe_token
