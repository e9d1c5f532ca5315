"""Preflight checks: is what a profile needs there, and if not, which command mends it.

Each check is a function of what it was told and of a probe of the machine, so that it can be tested
on any machine. `check` runs them all.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.errors import ReproError
from repro.extras import requirements, supported_python
from repro.machine.diagnosis import IMAGE, Diagnosis, Level
from repro.machine.gpus import check_gpus
from repro.models import sources
from repro.models.probes import Probes, probe_memory, probe_token, probe_version
from repro.models.spec import ModelSpec

VLLM_REMEDY = (
    "take the image that has it: repro docker build --variant vllm, or add it to this environment: "
    "pip install --no-deps -r docker/vllm.lock"
)
"""vLLM's requirements and the kit's cannot all be met, see docker/README.md."""

SHARED_MEMORY_GB = 1.0
"""Of /dev/shm, through which GPUs that train together exchange gradients: Docker gives 0.064."""

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?P<marker>.*)")
_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[\w-]+)['"]""")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run needs of the machine.

    Attributes:
        device: "cpu" or "cuda".
        gpus: their number.
        gpu_memory_gb: of each (GB).
        bfloat16: whether GPUs are to compute in bfloat16.
        compiles: whether kernels are compiled here.
        memory_gb: main memory (GB).
        disk_gb: free disk under `folders`' first (GB).
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
    findings = [check_python(), *check_packages(extras=needs.extras, installed=probes.installed)]
    if needs.device == "cuda":
        findings += check_gpus(
            needs.gpus, needs.gpu_memory_gb, bfloat16=needs.bfloat16, probe=probes.cuda
        )
        if needs.compiles:
            findings.append(probes.compiler())
    if needs.gpus > 1:
        findings.append(check_shared_memory(free=probes.free))
    findings.append(check_memory(needs.memory_gb, probe=probes.memory))
    writable = [check_writable(folder) for folder in needs.folders]
    if needs.folders:
        findings.append(check_disk(needs.folders[0], needs.disk_gb, free=probes.free))
    findings += writable
    if IMAGE in os.environ:
        findings += [check_mounted(folder) for folder in needs.folders]
    if spec.kind == "hub" and spec.gated and not weights_present:
        findings.append(check_token(spec, probe=probes.token))
    findings.append(check_weights(spec, present=weights_present, probe=probes.weights))
    return findings


def check_python(
    found: Sequence[int] = sys.version_info[:3], *, supported: str | None = None
) -> Diagnosis:
    """Python's version against what the kit supports.

    Args:
        supported: such as ">=3.11,<3.14"; by default what the kit's own metadata say.
    """
    if supported is None:
        supported = supported_python()
    text = ".".join(map(str, found))
    right = all(_satisfies(found, part) for part in filter(None, supported.split(",")))
    return Diagnosis(
        "Python",
        "ok" if right else "fail",
        text,
        supported or "any",
        "" if right else "install Python 3.11 to 3.13 and run ./run_all.sh again",
    )


def _satisfies(found: Sequence[int], part: str) -> bool:
    match = re.fullmatch(r"\s*(>=|<)\s*(\d+(?:\.\d+)*)\s*", part)
    if not match:
        raise ValueError(f"Requires-Python is not understood: {part}")
    bound = tuple(map(int, match[2].split(".")))
    return tuple(found) >= bound if match[1] == ">=" else tuple(found) < bound


def check_packages(
    required: Iterable[str] | None = None,
    *,
    extras: Sequence[str] = ("run",),
    installed: Callable[[str], str | None] = probe_version,
) -> list[Diagnosis]:
    """Installed packages against the kit's exact pins: one finding for each that is off.

    Args:
        required: requirement lines ("torch==2.13.0; extra == 'run'"); by default the kit's own.
        extras: groups that count; lines without a group always do.
        installed: gives a package's version, or None.
    """
    if required is None:
        required = requirements()
        if not required:
            return [
                Diagnosis("packages", "warn", "the kit is not installed", "pins", "./run_all.sh")
            ]
    findings, right = [], 0
    for line in required:
        match = _REQUIREMENT.fullmatch(line.strip())
        if not match:
            continue
        extra = _EXTRA.search(match["marker"])
        if extra and extra["extra"] not in extras:
            continue
        name, pinned = match["name"], match["version"]
        found = installed(name)
        # A local part ("+cpu") names the build, not another version.
        if found is not None and found.partition("+")[0] == pinned:
            right += 1
            continue
        level: Level = "fail" if found is None else "warn"
        remedy = VLLM_REMEDY if name == "vllm" else f"pip install {name}=={pinned}"
        findings.append(Diagnosis(f"package {name}", level, found or "missing", pinned, remedy))
    if not findings:
        findings.append(Diagnosis("packages", "ok", f"{right} as pinned", "as pinned"))
    return findings


def check_memory(needed_gb: float, *, probe: Callable[[], int] = probe_memory) -> Diagnosis:
    """Main memory, the container's limit included, against the need (GB)."""
    found = probe()
    right = found >= needed_gb * 1e9
    remedy = "" if right else "use a machine or container with more memory, or a smaller profile"
    return Diagnosis(
        "memory",
        "ok" if right else "fail",
        f"{found / 1e9:.1f} GB",
        f"{needed_gb:g} GB",
        remedy,
    )


def check_disk(
    folder: Path,
    needed_gb: float,
    *,
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Diagnosis:
    """Free disk where a folder is or will be, against the need (GB)."""
    found = free(_existing(folder))
    right = found >= needed_gb * 1e9
    remedy = "" if right else "free space, or name a --store on another disk"
    return Diagnosis(
        f"disk for {folder}",
        "ok" if right else "fail",
        f"{found / 1e9:.1f} GB free",
        f"{needed_gb:g} GB",
        remedy,
    )


def check_writable(folder: Path) -> Diagnosis:
    """Whether files can be written to a folder, or the folder be made; leaves nothing behind."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = f"chmod u+rwx {existing}, or name another folder"
        if IMAGE in os.environ:
            remedy = (
                f"mount a folder there that user {os.getuid()} can write to, such as "
                f"-v $PWD/results:/results, with --user $(id -u):$(id -g)"
            )
        found = error.strerror or str(error)
        return Diagnosis(f"folder {folder}", "fail", found, "writable", remedy)
    return Diagnosis(f"folder {folder}", "ok", "writable", "writable")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    path = folder.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def check_mounted(folder: Path, *, is_mount: Callable[[Path], bool] = Path.is_mount) -> Diagnosis:
    """Whether what a container writes to a folder outlives it: a mount lies there or above."""
    mounted = any(is_mount(path) for path in (folder.absolute(), *folder.absolute().parents[:-1]))
    if mounted:
        return Diagnosis(f"mount for {folder}", "ok", "mounted", "a mount")
    top = "/" + folder.absolute().parts[1]
    remedy = f"docker run -v FOLDER:{top}"
    found = "nothing is mounted: it vanishes with the container"
    return Diagnosis(f"mount for {folder}", "warn", found, "a mount", remedy)


def check_shared_memory(
    folder: Path = Path("/dev/shm"),
    *,
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Diagnosis:
    """Shared memory against what several GPUs need."""
    found = free(folder)
    right = found >= SHARED_MEMORY_GB * 1e9
    remedy = "" if right else "start the container with: docker run --shm-size 1g (or --ipc host)"
    return Diagnosis(
        "shared memory",
        "ok" if right else "fail",
        f"{found / 1e9:.2f} GB free",
        f"{SHARED_MEMORY_GB:g} GB",
        remedy,
    )


def check_token(spec: ModelSpec, *, probe: Callable[[], bool] = probe_token) -> Diagnosis:
    """Whether there is a hub token for a gated repository; the token itself is not looked at."""
    if probe():
        return Diagnosis("hub token", "ok", "set", f"for {spec.repo}")
    remedy = "set HF_TOKEN (docker run -e HF_TOKEN) or run: hf auth login"
    if spec.alternative:
        remedy += f"; or take the same weights without a token: --model repo={spec.alternative}"
    return Diagnosis("hub token", "warn", "none", f"for {spec.repo}", remedy)


def check_weights(
    spec: ModelSpec,
    *,
    present: bool = False,
    probe: Callable[[ModelSpec], str] = sources.require,
) -> Diagnosis:
    """Whether the base weights are in the store, or can be got: hashed, installed or reachable.

    Args:
        present: whether the store holds them; then nothing else is looked at.
    """
    what = "base weights"
    if present:
        return Diagnosis(what, "ok", "in the store", spec.describe())
    try:
        return Diagnosis(what, "ok", probe(spec), spec.describe())
    except ReproError as error:
        return Diagnosis(what, "fail", str(error), spec.describe(), error.hint)
