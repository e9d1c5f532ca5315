"""The GPUs of this machine: what torch and the driver say of them, and checks of that."""

import ctypes
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from repro.machine.diagnosis import IMAGE, Diagnosis, Level, diagnosed

DRIVER = "install an NVIDIA driver for CUDA 13, 580.65.06 or later"
SMALLER = "or run a smaller profile: repro run --profile small"

CAPABILITY = {True: (8, 0), False: (7, 5)}
"""Least compute capability with and without bfloat16: Ampere has the first matrix units for
bfloat16, and CUDA 13 has no compiler for GPUs before Turing."""


@dataclass(frozen=True)
class Cuda:
    """What torch and the driver say of the GPUs.

    Attributes:
        built: CUDA version that torch was built with; None for a build without it.
        driver: newest CUDA version that the driver serves, as (major, minor); None without one.
        memory: bytes of each GPU, as names and compute capability are of each.
        free: bytes of each GPU that nobody uses; empty where the driver's tools do not tell.
        release: of the driver, such as "580.65.06"; empty where its tools do not tell.
        trouble: why torch cannot use GPUs that the driver counts; empty where it can.
    """

    built: str | None
    driver: tuple[int, int] | None
    memory: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    capability: tuple[tuple[int, int], ...] = ()
    free: tuple[int, ...] = ()
    release: str = ""
    trouble: str = ""


def probe_cuda() -> Cuda:
    """Ask torch for the GPUs, and the driver's tools for what is free; starts torch.

    GPUs up to the first that torch cannot open are listed. That is where the driver counts GPUs
    that an older CUDA cannot start, or a GPU cut into MIG slices of which torch sees one.
    """
    import torch  # slow, and not part of the light install

    if torch.version.cuda is None:
        return Cuda(None, None)
    found, trouble = [], ""
    try:
        for index in range(torch.cuda.device_count()):
            found.append(torch.cuda.get_device_properties(index))
    except (RuntimeError, AssertionError) as error:
        trouble = str(error).strip().partition("\n")[0] or type(error).__name__
    told = driver_report()
    free = [told.get(str(gpu.uuid).removeprefix("GPU-"), (0, ""))[0] for gpu in found]
    return Cuda(
        torch.version.cuda,
        driver_cuda(),
        tuple(gpu.total_memory for gpu in found),
        tuple(gpu.name for gpu in found),
        tuple((gpu.major, gpu.minor) for gpu in found),
        tuple(free) if all(free) else (),
        next((release for _, release in told.values()), ""),
        trouble,
    )


def driver_cuda(library: str = "libcuda.so.1") -> tuple[int, int] | None:
    """The newest CUDA that the driver serves, such as (13, 0); None without a driver.

    Asked of the driver's own library, since torch refuses to start with a driver that is too old.
    """
    number = ctypes.c_int(0)  # 12080 for 12.8
    try:
        code = ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if not code else None


def driver_report() -> dict[str, tuple[int, str]]:
    """Free bytes and driver release by a GPU's identifier, as `nvidia-smi` tells them.

    Asked there, since torch can tell what is free only after taking memory on every GPU.
    """
    asked = "--query-gpu=uuid,memory.free,driver_version"
    command = ["nvidia-smi", asked, "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_report(told.stdout)


def parse_report(text: str) -> dict[str, tuple[int, str]]:
    """The lines of `nvidia-smi`, "GPU-..., 80994, 580.65.06"; MiB become bytes."""
    report = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[1].isdigit():
            report[parts[0].removeprefix("GPU-")] = (int(parts[1]) * 2**20, parts[2])
    return report


def check_gpus(
    count: int, memory_gb: float, *, bfloat16: bool = False, probe: Callable[[], Cuda] = probe_cuda
) -> list[Diagnosis]:
    """Driver, number, memory, free memory and compute capability of the GPUs.

    Args:
        count: GPUs needed, at least one is; the first that there are will be used.
        memory_gb: needed on each of them (GB).
        bfloat16: whether matrix products are to be in bfloat16.
    """
    count, found, inside = max(count, 1), probe(), IMAGE in os.environ
    needed = f"{count} with {memory_gb:g} GB"
    if found.built is None:
        remedy = "pip uninstall torch, then install its CUDA build: pip install torch"
        if inside:
            remedy = f"take the CUDA image: repro docker build --variant cuda, {SMALLER}"
        return [Diagnosis("GPU", "fail", "torch was built without CUDA", needed, remedy)]
    if found.driver is None:
        remedy = f"{DRIVER} (check: nvidia-smi), {SMALLER}"
        if inside:
            remedy = f"start the container with: docker run --gpus all, {SMALLER}"
        return [Diagnosis("GPU", "fail", "no NVIDIA driver", needed, remedy)]
    served = ".".join(map(str, found.driver))
    # Within a major version, older drivers run newer CUDA builds.
    major = found.built.partition(".")[0]
    if found.driver[0] < int(major):
        findings = [
            Diagnosis("GPU driver", "fail", f"serves CUDA {served}", f"CUDA {found.built}", DRIVER)
        ]
    else:
        findings = [Diagnosis("GPU driver", "ok", f"CUDA {served}", f"CUDA {major}")]
        if found.trouble:
            findings.append(_trouble(found, count))
    used = found.memory[:count]  # in torch's order
    right = len(used) == count and min(used) >= memory_gb * 1e9
    pairs = zip(found.names, found.memory, strict=True)
    listed = ", ".join(f"{name} {size / 1e9:.0f} GB" for name, size in pairs) or "none"
    remedy = f"use such GPUs (CUDA_VISIBLE_DEVICES=2 for the third), {SMALLER}"
    findings.append(diagnosed("GPU", right, listed, needed, remedy))
    if right and found.free:
        findings.append(_check_free(found.free[:count], used, memory_gb))
    if right and found.capability:
        findings.append(_check_capability(found, count, bfloat16=bfloat16))
    return findings


def _trouble(found: Cuda, count: int) -> Diagnosis:
    """Torch cannot open a GPU that the driver counts, such as the second slice of MIG."""
    remedy = "name one GPU or slice, as nvidia-smi -L lists them: CUDA_VISIBLE_DEVICES=MIG-..."
    text = f"{len(found.memory)} of those that the driver counts: {found.trouble}"
    level: Level = "warn" if len(found.memory) >= count else "fail"
    return Diagnosis("GPUs for torch", level, text, "all", remedy)


def _check_free(free: Sequence[int], used: Sequence[int], memory_gb: float) -> Diagnosis:
    """Whether enough is free.

    The driver keeps some of a GPU for itself: where nothing else runs, all but 2 % are free.
    """
    needs = [min(size * 0.98, memory_gb * 1e9) for size in used]
    least = min(range(len(free)), key=lambda index: free[index] - needs[index])
    return diagnosed(
        "free GPU memory",
        free[least] >= needs[least],
        f"{free[least] / 1e9:.1f} GB of {used[least] / 1e9:.0f}",
        f"{needs[least] / 1e9:.3g} GB",
        "end what else uses the GPU (nvidia-smi shows it), or name another one: "
        "CUDA_VISIBLE_DEVICES=1",
    )


def _check_capability(found: Cuda, count: int, *, bfloat16: bool) -> Diagnosis:
    """Whether the GPUs compute what is asked of them."""
    least = CAPABILITY[bfloat16]
    pairs = zip(found.capability[:count], found.names, strict=False)
    (major, minor), name = min(pairs, key=lambda pair: pair[0])
    return diagnosed(
        "compute capability",
        (major, minor) >= least,
        f"{name}: {major}.{minor}",
        f"{'bfloat16' if bfloat16 else 'CUDA 13'} needs {least[0]}.{least[1]}",
        f"use a newer GPU, {SMALLER}",
    )


def check_compiler() -> Diagnosis:
    """Whether Triton can compile FlexAttention's kernels: it needs a C compiler and Python.h.

    A warning only, since grouped attention is slower and needs none of that.
    """
    header = Path(sysconfig.get_path("include"), "Python.h")
    names = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"]
    there = {
        "the package triton": find_spec("triton") is not None,
        f"a C compiler ({' or '.join(names)})": any(map(shutil.which, names)),
        str(header): header.is_file(),
    }
    missing = [what for what, found in there.items() if not found]
    return diagnosed(
        "kernel compiler",
        not missing,
        f"missing: {', '.join(missing)}" if missing else "there",
        "Triton, a C compiler, Python.h",
        "apt-get install gcc python3-dev, or take the CUDA image; without them fine-tuning takes "
        "grouped attention, which is slower",
        wrong="warn",
    )
