"""How the machine is looked at: GPUs, memory, packages, disk, weights, the hub's token."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repro.extras import installed
from repro.machine.diagnosis import Diagnosis
from repro.machine.gpus import Cuda, check_compiler, probe_cuda
from repro.models import sources
from repro.models.spec import ModelSpec

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
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


def probe_processor() -> frozenset[str]:
    """The flags of this machine's first processor, as Linux names them; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())


def probe_token() -> bool:
    """Whether huggingface_hub finds an access token (HF_TOKEN or its own store)."""
    from huggingface_hub import get_token  # slow to import

    return bool(get_token())


@dataclass(frozen=True, kw_only=True)
class Probes:
    """How the machine is looked at; tests give their own."""

    cuda: Callable[[], Cuda] = probe_cuda
    memory: Callable[[], int] = probe_memory
    processor: Callable[[], frozenset[str]] = probe_processor
    installed: Callable[[str], str | None] = installed
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    weights: Callable[[ModelSpec], str] = sources.require
    token: Callable[[], bool] = probe_token
    compiler: Callable[[], Diagnosis] = check_compiler
