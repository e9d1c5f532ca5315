"""Worker processes on this machine: one a GPU, or one for each share of the CPU's cores.

`repro.execute.schedule` says which step comes when. A worker that dies gives its step to another.
"""

import os
import signal
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from repro.bars import Relay, Watch
from repro.errors import ReproError
from repro.execute import forked
from repro.execute.schedule import Ended
from repro.execute.worker import LostError, Say, Worker
from repro.locks import BusyError
from repro.machine import numerics
from repro.machine.faults import machine_fault
from repro.machine.kinds import named
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan.layout import layout, number_of
from repro.plan.placement import LINK
from repro.plan.steps import Artefact, Work
from repro.plan.store import Store
from repro.printable import counted
from repro.profiles import Profile

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_PAUSE = 0.5
"""Seconds until a step that another process has in hand is tried again."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker computes, with device and threads as the profile has them.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES names them; empty on a CPU. Ray names GPUs itself, so that
            there only their number counts.
    """

    device: str
    threads: int
    gpus: str = ""

    @property
    def gpus_on_ray(self) -> int:
        """GPUs that an actor takes."""
        return len(self.gpus.split(",")) if self.device == "cuda" else 0

    @property
    def cpus_on_ray(self) -> int:
        """CPUs that an actor takes."""
        return 1 if self.device == "cuda" else max(1, self.threads)


def places(workers: str, profile: Profile, spec: ModelSpec, *, tuned: bool = True) -> list[Place]:
    """A place for each worker: GPUs of its own, or a share of the CPU's cores.

    Args:
        workers: their number, or "auto": one for each GPU (or GPUs, where a fine-tune needs
            several), on a CPU one for each `threads` cores of the profile.
        tuned: whether anything is fine-tuned.

    Raises:
        ReproError: it is no such number, or more than this machine has room for, or they would
            be on GPUs of several kinds (2).
    """
    threads = profile.compute.threads
    if profile.compute.device == "cpu":
        room = forked.room(threads)
        each = f"{threads} threads" if threads else "all cores"
        cores = len(os.sched_getaffinity(0))
        told = f"{cores} cores, of which a worker of profile {profile.name} takes {each}"
        return [Place(device="cpu", threads=threads)] * number_of(workers, room, room, told)
    probes = Probes()
    found = probes.cuda()
    kind = named(found.names[0]) if found.names else None
    link = kind.link * 1e9 if kind else LINK
    laid = layout(profile, spec, found.memory, probes.memory(), tuned=tuned, link=link)
    chosen = os.environ.get(_VISIBLE, "").split(",")
    names = [n for n in chosen if n] or [str(index) for index in range(len(found.memory))]
    size = laid.size
    groups = [",".join(names[i : i + size]) for i in range(0, len(names) - size + 1, size)]
    groups = groups[: laid.groups]
    if not groups:
        return [Place(device="cuda", threads=threads)]
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
        Place(device="cuda", threads=threads, gpus=groups[i % len(groups)]) for i in range(number)
    ]


class Processes:
    """The worker processes, one a place."""

    def __init__(self, store: Store, places: Sequence[Place], say: Say, watch: Watch) -> None:
        self._store, self._places, self._say, self._watch = store, places, say, watch
        self._processes: list[_Process | None] = [None] * len(places)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.end()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def busy(self) -> list[Work]:
        return [p.step for p in self._processes if p is not None and p.step is not None]

    def give(self, step: Work) -> bool:
        # All start with the first step, side by side, since each takes seconds to load torch.
        for number, place in enumerate(self._places):
            if self._processes[number] is None:
                self._processes[number] = _Process(self._store, place)
        for number, process in enumerate(self._processes, 1):
            if process is not None and process.step is None:
                process.give(step)
                self._watch.begun(f"worker {number}", step.label)
                return True
        return False

    def forget(self, artefact: Artefact) -> None:
        """Nothing to do: all see the store that it was dropped from."""

    def answers(self) -> list[tuple[Work, Any]]:
        found: list[tuple[Work, Any]] = []
        while not found:
            alive = {p.connection: n for n, p in enumerate(self._processes) if p is not None}
            for connection in wait(list(alive)):
                assert isinstance(connection, Connection)
                number = alive[connection]
                process, where = self._processes[number], f"worker {number + 1}"
                assert process is not None
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    self._processes[number] = None
                    kind, content = "done", process.ended()
                if kind == "say":
                    self._say(f"{where}: {content}")
                elif kind == "bar":
                    self._watch.told(where, content)
                else:
                    self._watch.ended(where)
                    if process.step is not None:
                        found.append((process.step, content))
                    process.step = None
        return found


class _Process:
    """One worker process, and the step that it has in hand."""

    def __init__(self, store: Store, place: Place) -> None:
        context: Any = forked.context(place.device)
        self.connection, other = context.Pipe()
        self.step: Work | None = None
        alive, self._alive = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_serve, args=(other, alive, store.root, place), daemon=True
        )
        before = os.environ.get(_VISIBLE)
        if place.gpus:  # known before its torch is loaded
            os.environ[_VISIBLE] = place.gpus
        try:
            self._process.start()
        finally:
            os.environ.pop(_VISIBLE, None)
            if before is not None:
                os.environ[_VISIBLE] = before
        other.close()
        alive.close()

    def give(self, step: Work) -> None:
        self.step = step
        with suppress(OSError):  # a worker that has died says so when it is asked
            self.connection.send(step)

    def ended(self) -> Ended:
        self._process.join()
        code = self._process.exitcode or 0
        return Ended(signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def end(self) -> None:
        """Stop it; a step in hand leaves nothing half-written."""
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, driver: Connection, root: Any, place: Place) -> None:
    """A worker process: does steps until its driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    numerics.prepare(place.threads, device=place.device)
    worker = Worker(
        Store(root),
        say=lambda text: connection.send(("say", text)),
        progress=Relay(lambda shown: connection.send(("bar", shown))),
        waits=False,
    )
    while True:
        try:
            step = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        connection.send(("done", answer(worker, step)))


def answer(worker: Worker, step: Work) -> Any:
    """What came of a step: `Done`, or the error that its driver is to know of."""
    try:
        return worker.do(step)
    except (ReproError, LostError) as error:
        return error
    except BusyError as error:
        threading.Event().wait(_PAUSE)
        return error
    except Exception as error:
        return machine_fault(error) or traceback.format_exc()


def _end_with(driver: Connection) -> None:
    """End when the driver is gone, however it ended.

    It is the parent, or where workers are forked from another process holds the other end alone.
    """
    parent = os.getppid()
    with suppress(OSError):
        while os.getppid() == parent and not driver.poll(1):
            pass
    os._exit(1)
