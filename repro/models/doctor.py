"""Preflight checks: is what a profile needs there, and if not, which command mends it.

Each check is a function of what was found, or of how to look, so that it can be tested on any
machine. `check` runs them all.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from repro.errors import ReproError
from repro.extras import requirements, supported_python
from repro.machine.diagnosis import IMAGE, Diagnosis, Level, diagnosed
from repro.machine.gpus import check_gpus
from repro.models.probes import Probes
from repro.models.spec import ModelSpec

VLLM_REMEDY = (
    "take the image that has it: repro docker build --variant vllm, or add it to this environment: "
    "pip install --no-deps -r docker/vllm.lock"
)
"""vLLM's requirements and the kit's cannot all be met, see docker/README.md."""

SHARED_MEMORY_GB = 1.0
"""Of /dev/shm, through which GPUs that train together exchange gradients: Docker gives 0.064."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run needs of the machine.

    Attributes:
        device: "cpu" or "cuda".
        gpu_memory_gb: of each GPU; memory_gb is main memory.
        bfloat16: whether it is to compute in bfloat16.
        compiles: whether kernels are compiled here.
        disk_gb: free under `folders`' first.
        folders: that must be writable: the store first, then the output folder.
        extras: groups of the kit's requirements that must be installed.
    """

    device: str
    gpus: int = 0
    gpu_memory_gb: float = 0.0
    bfloat16: bool = False
    compiles: bool = False
    memory_gb: float = 0.0
    disk_gb: float = 0.0
    folders: tuple[Path, ...] = ()
    extras: tuple[str, ...] = ("run",)


def check(
    spec: ModelSpec, needs: Needs, *, weights_present: bool = False, probes: Probes | None = None
) -> list[Diagnosis]:
    """All checks but that of the data, in the order in which they are worth reading.

    Args:
        weights_present: whether the store holds the base weights already.
    """
    probes = probes or Probes()
    findings = [
        check_python(sys.version_info[:3], supported_python()),
        *check_packages(requirements(), needs.extras, probes.installed),
    ]
    if needs.device == "cuda":
        findings += check_gpus(
            needs.gpus, needs.gpu_memory_gb, bfloat16=needs.bfloat16, probe=probes.cuda
        )
        if needs.compiles:
            findings.append(probes.compiler())
    elif needs.bfloat16:
        findings.append(check_bfloat16(probes.processor()))
    if needs.gpus > 1:
        findings.append(check_shared_memory(probes.free(Path("/dev/shm"))))
    findings.append(check_memory(probes.memory(), needs.memory_gb))
    if needs.folders:
        findings.append(check_disk(needs.folders[0], needs.disk_gb, probes.free))
    findings += map(check_writable, needs.folders)
    if IMAGE in os.environ:
        findings += map(check_mounted, needs.folders)
    if spec.kind == "hub" and spec.gated and not weights_present:
        findings.append(check_token(spec, probes.token()))
    if weights_present:
        return [*findings, Diagnosis("base weights", "ok", "in the store", spec.describe())]
    return [*findings, check_weights(spec, probes.weights)]


def check_python(found: Sequence[int], supported: str) -> Diagnosis:
    """Python's version against what the kit supports, such as ">=3.11,<3.14"; empty for any."""
    text = ".".join(map(str, found))
    remedy = "install Python 3.11 to 3.13 and run ./run_all.sh again"
    right = SpecifierSet(supported).contains(text)
    return diagnosed("Python", right, text, supported or "any", remedy)


def check_packages(
    required: Iterable[str], extras: Sequence[str], installed: Callable[[str], str | None]
) -> list[Diagnosis]:
    """Installed packages against the kit's exact pins: one finding for each that is off.

    Args:
        required: requirement lines ("torch==2.13.0; extra == 'run'").
        extras: groups that count; lines without a group always do.
        installed: gives a package's version, or None.
    """
    if not required:
        return [Diagnosis("packages", "warn", "the kit is not installed", "pins", "./run_all.sh")]
    findings, right = [], 0
    for line in map(Requirement, required):
        counts = line.marker is None or any(line.marker.evaluate({"extra": e}) for e in extras)
        if not line.specifier or not counts:
            continue
        found = installed(line.name)
        # A local part ("+cpu") names the build, not another version.
        if found is not None and line.specifier.contains(found, prereleases=True):
            right += 1
            continue
        level: Level = "fail" if found is None else "warn"
        remedy = VLLM_REMEDY if line.name == "vllm" else f"pip install {line.name}{line.specifier}"
        pinned = str(line.specifier).removeprefix("==")
        what = f"package {line.name}"
        findings.append(Diagnosis(what, level, found or "missing", pinned, remedy))
    return findings or [Diagnosis("packages", "ok", f"{right} as pinned", "as pinned")]


def check_bfloat16(flags: Collection[str]) -> Diagnosis:
    """Whether a processor with these flags multiplies in bfloat16; without, it takes hours."""
    wanted = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is ARM's
    text = ", ".join(sorted(wanted.intersection(flags))) or "none"
    remedy = 'take a profile of your own, with dtype = "float32": repro profiles new --help'
    right = text != "none"
    return diagnosed("bfloat16", right, text, "AVX-512 BF16 or AMX", remedy, wrong="warn")


def check_memory(found: int, needed_gb: float) -> Diagnosis:
    """Main memory (bytes), the container's limit included, against the need (GB)."""
    remedy = "use a machine or container with more memory, or a smaller profile"
    right, text = found >= needed_gb * 1e9, f"{found / 1e9:.1f} GB"
    return diagnosed("memory", right, text, f"{needed_gb:g} GB", remedy)


def check_disk(folder: Path, needed_gb: float, free: Callable[[Path], int]) -> Diagnosis:
    """Free disk where a folder is or will be, against the need (GB)."""
    found, remedy = free(_existing(folder)), "free space, or name a --store on another disk"
    right, text = found >= needed_gb * 1e9, f"{found / 1e9:.1f} GB free"
    return diagnosed(f"disk for {folder}", right, text, f"{needed_gb:g} GB", remedy)


def check_shared_memory(found: int) -> Diagnosis:
    """Shared memory (bytes) against what several GPUs need."""
    remedy = "start the container with: docker run --shm-size 1g (or --ipc host)"
    right, text = found >= SHARED_MEMORY_GB * 1e9, f"{found / 1e9:.2f} GB free"
    return diagnosed("shared memory", right, text, f"{SHARED_MEMORY_GB:g} GB", remedy)


def check_writable(folder: Path) -> Diagnosis:
    """Whether files can be written to a folder, or the folder be made; leaves nothing behind."""
    existing, what = _existing(folder), f"folder {folder}"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Diagnosis(what, "ok", "writable", "writable")
    except OSError as error:
        remedy = f"chmod u+rwx {existing}, or name another folder"
        if IMAGE in os.environ:
            remedy = (
                f"mount a folder there that user {os.getuid()} can write to, such as "
                f"-v $PWD/results:/results, with --user $(id -u):$(id -g)"
            )
        return Diagnosis(what, "fail", error.strerror or str(error), "writable", remedy)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    path = folder.absolute()
    return next(above for above in (path, *path.parents) if above.exists())


def check_mounted(folder: Path, is_mount: Callable[[Path], bool] = Path.is_mount) -> Diagnosis:
    """Whether what a container writes to a folder outlives it: a mount lies there or above."""
    path = folder.absolute()
    if any(map(is_mount, (path, *path.parents[:-1]))):
        return Diagnosis(f"mount for {folder}", "ok", "mounted", "a mount")
    remedy = f"docker run -v FOLDER:/{path.parts[1]}"
    found = "nothing is mounted: it vanishes with the container"
    return Diagnosis(f"mount for {folder}", "warn", found, "a mount", remedy)


def check_token(spec: ModelSpec, found: bool) -> Diagnosis:
    """Whether there is a hub token for a gated repository; the token itself is not looked at."""
    remedy = "set HF_TOKEN (docker run -e HF_TOKEN) or run: hf auth login"
    if spec.alternative:
        remedy += f"; or take the same weights without a token: --model repo={spec.alternative}"
    told = "set" if found else "none"
    return diagnosed("hub token", found, told, f"for {spec.repo}", remedy, wrong="warn")


def check_weights(spec: ModelSpec, look: Callable[[ModelSpec], str]) -> Diagnosis:
    """Whether the base weights can be got: hashed, installed or reachable."""
    try:
        return Diagnosis("base weights", "ok", look(spec), spec.describe())
    except ReproError as error:
        return Diagnosis("base weights", "fail", str(error), spec.describe(), error.hint)
