"""Determinism settings, and what a run records about machine, versions and source."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

from repro import __version__
from repro.extras import installed
from repro.files import file_sha256

_ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "rouge-score", "numpy")


def settle(threads: int, *, device: str) -> None:
    """Set what torch, OpenMP and cuBLAS read of the environment when they start."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_WAIT_POLICY"] = "passive"  # beside other work, threads that spin are slow
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if device == "cuda":
        # Passes of many lengths leave gaps between blocks of fixed size.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    if threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)


def prepare(threads: int, *, device: str) -> None:
    """Make torch deterministic. Call before torch is first imported.

    One seed drives everything else through explicit generators.

    Args:
        threads: CPU threads, fixed because sums depend on how they are split; 0 leaves the default.
        device: "cpu" or "cuda".
    """
    settle(threads, device=device)
    import torch  # after the variables above

    if threads:
        torch.set_num_threads(threads)
    if device == "cuda":
        torch.use_deterministic_algorithms(True)
    else:  # the same without compiled code, whose compiler takes a second to import
        torch.set_deterministic_debug_mode("error")
    # Nothing reads memory before it is written; filling it all the same takes up to 9 % of a
    # small model's training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(0)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # Sums of matrix products are kept in float32 to their end.
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {package: installed(package) or "not installed" for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def numerics(threads: int, *, device: str) -> dict[str, object]:
    """What else than code and data can change bits: enters every content key.

    Of a CPU the instructions and the maker: matrix products of an Intel Xeon and an AMD EPYC, both
    with AVX-512, differ in last bits.
    """
    import torch  # slow to import

    kind = f"{torch.backends.cpu.get_cpu_capability()} {_of_processor('vendor_id')}".rstrip()
    if device == "cuda":
        kind = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU here"
    found = versions()
    return {"device": f"{device} {kind}", "threads": threads} | {
        name: found[name] for name in ("torch", "transformers")
    }


def engine(name: str) -> str:
    """An engine by its name, "torch" or "vllm", the latter with its version."""
    if name == "torch":
        return name
    found = installed(name)
    return f"{name} {found}" if found else f"{name}, not installed"


def describe() -> dict[str, object]:
    """The machine in words; nothing that identifies it."""
    import torch  # slow to import

    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "os": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def cpu_name() -> str:
    """The processor as it names itself, or its architecture."""
    return _of_processor("model name") or platform.machine()


def _of_processor(name: str) -> str:
    """A field of the first processor, as Linux tells it; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
    return found[0] if found else ""


def lock_sha256() -> str | None:
    """The hash of the checkout's pins of all packages; None without a checkout."""
    pins = _ROOT / "constraints.txt"
    return file_sha256(pins) if pins.is_file() else None


def source_state() -> dict[str, object]:
    """The kit's version and, in a git checkout, its commit and whether files were changed."""
    state: dict[str, object] = {"version": __version__, "commit": None, "changed": None}
    if told := os.environ.get("REPRO_REVISION"):  # a container image has no history
        commit, _, mark = told.partition("+")
        return state | {"commit": commit, "changed": bool(mark)}
    if (_ROOT / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):
            changed = bool(_git("status", "--porcelain", "--untracked-files=no"))
            state |= {"commit": _git("rev-parse", "HEAD"), "changed": changed}
    return state


def _git(*words: str) -> str:
    command = ["git", "-C", str(_ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
