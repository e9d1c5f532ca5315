"""Where worker processes compute: GPUs of their own, or a share of the CPU's cores."""

import os

from repro.errors import ReproError
from repro.execute.local import Place
from repro.machine.kinds import named
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan.layout import layout, number_of
from repro.plan.placement import LINK
from repro.printable import counted
from repro.profiles import Profile


def places(workers: str, profile: Profile, spec: ModelSpec, *, tuned: bool = True) -> list[Place]:
    """A place for each worker.

    Args:
        workers: their number, or "auto": one for each GPU (or GPUs, where a fine-tune needs
            several), on a CPU one for each `threads` cores of the profile.
        tuned: whether anything is fine-tuned.

    Raises:
        ReproError: it is no such number, or more than this machine has room for, or they would
            be on GPUs of several kinds (2).
    """
    if profile.compute.device == "cuda":
        return _on_gpus(workers, profile, spec, tuned=tuned)
    return _on_cpu(workers, profile)


def _on_cpu(workers: str, profile: Profile) -> list[Place]:
    threads = profile.compute.threads
    cores = len(os.sched_getaffinity(0))
    room = max(1, cores // threads) if threads else 1
    each = f"{threads} threads" if threads else "all cores"
    told = f"{cores} cores, of which a worker of profile {profile.name} takes {each}"
    return [Place(device="cpu", threads=threads)] * number_of(workers, room, room, told)


def _on_gpus(workers: str, profile: Profile, spec: ModelSpec, *, tuned: bool) -> list[Place]:
    probes = Probes()
    found = probes.cuda()
    kind = named(found.names[0]) if found.names else None
    link = kind.link * 1e9 if kind else LINK
    laid = layout(profile, spec, found.memory, probes.memory(), tuned=tuned, link=link)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [n for n in chosen if n] or [str(index) for index in range(len(found.memory))]
    size = laid.size
    groups = [",".join(names[i : i + size]) for i in range(0, len(names) - size + 1, size)]
    groups = groups[: laid.groups]
    if not groups:
        return [Place(device="cuda", threads=profile.compute.threads)]
    gpus = counted(len(names), "GPU")
    told = f"{gpus}, {size} a worker, each with memory for {laid.together} at a time"
    number = number_of(workers, len(groups), len(groups) * laid.together, told)
    kinds = dict.fromkeys(found.names)
    if number > 1 and len(kinds) > 1:
        first = ",".join(n for n, k in zip(names, found.names, strict=False) if k == found.names[0])
        raise ReproError(
            f"the GPUs are of several kinds ({', '.join(kinds)}), which round differently: bytes "
            "would depend on which worker is given what",
            hint=f"run each kind for itself, CUDA_VISIBLE_DEVICES={first} for the first, into "
            "folders of its own; repro merge joins them",
        )
    return [
        Place(device="cuda", threads=profile.compute.threads, gpus=groups[i % len(groups)])
        for i in range(number)
    ]
