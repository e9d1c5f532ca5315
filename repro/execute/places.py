"""Where worker processes compute: GPUs of their own, or a share of the CPU's cores."""

import os

from repro.errors import ReproError
from repro.execute.local import Place
from repro.machine.gpus import probe_cuda
from repro.models.memory import evaluation_bytes
from repro.models.spec import ModelSpec
from repro.plan import placement
from repro.plan.needs import weights_dtype
from repro.printable import counted
from repro.profiles import Profile

AUTO = "auto"


def places(workers: str, profile: Profile, spec: ModelSpec) -> list[Place]:
    """A place for each worker.

    Args:
        workers: their number, or "auto": one for each GPU (or GPUs, where a fine-tune needs
            several), on a CPU one for each `threads` cores of the profile.

    Raises:
        ReproError: it is no such number, or more than this machine has room for (2).
    """
    if profile.compute.device == "cuda":
        return _on_gpus(workers, profile, spec)
    return _on_cpu(workers, profile)


def _on_cpu(workers: str, profile: Profile) -> list[Place]:
    threads = profile.compute.threads
    cores = len(os.sched_getaffinity(0))
    room = max(1, cores // threads) if threads else 1
    each = f"{threads} threads" if threads else "all cores"
    told = f"{cores} cores, of which a worker of profile {profile.name} takes {each}"
    return [Place(device="cpu", threads=threads)] * number_of(workers, room, room, told)


def _on_gpus(workers: str, profile: Profile, spec: ModelSpec) -> list[Place]:
    found, choice = probe_cuda(), placement.here(spec, profile.compute)
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [n for n in named if n] or [str(index) for index in range(len(found.memory))]
    size = choice.gpus if choice else 1
    groups = [",".join(names[i : i + size]) for i in range(0, len(names) - size + 1, size)]
    if not groups:
        return [Place(device="cuda", threads=profile.compute.threads)]
    together = 1
    if size == 1 and choice and spec.architecture is not None:
        # Small models leave most of a GPU idle: several workers share it as far as memory goes.
        tokens = profile.compute.evaluate_tokens
        dtype = weights_dtype(profile)
        need = max(choice.peak_bytes, evaluation_bytes(spec.architecture, dtype, tokens=tokens))
        together = max(1, int(placement.ROOM * min(found.memory) / need)) if need else 1
    told = f"{counted(len(names), 'GPU')}, each with memory for {together} at a time"
    number = number_of(workers, len(groups), len(groups) * together, told)
    return [
        Place(device="cuda", threads=profile.compute.threads, gpus=groups[i % len(groups)])
        for i in range(number)
    ]


def number_of(workers: str, auto: int, most: int, told: str, where: str = "this machine") -> int:
    """A number of workers, `auto` of them where none is named, and `most` at most.

    Raises:
        ReproError: it is no such number, or more than there is room for (2).
    """
    if workers != AUTO and not (workers.isascii() and workers.isdigit() and int(workers)):
        raise ReproError(f"--workers is a number or '{AUTO}', not '{workers}'")
    number = auto if workers == AUTO else int(workers)
    if number > most:
        raise ReproError(
            f"{where} has no room for {counted(number, 'worker')}: {told}",
            hint=f"--workers {most}, or {AUTO}",
        )
    return number
