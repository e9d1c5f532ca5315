"""Several worker processes on this machine: one a GPU, or one for each share of the CPU's cores.

`repro.execute.schedule` says which step comes when. A worker that dies gives its step to another.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from repro.bars import Relay, Watch
from repro.errors import ReproError
from repro.execute.executor import label
from repro.execute.schedule import Ended, finish
from repro.execute.worker import Done, LostError, Say, Worker
from repro.locks import BusyError
from repro.plan.steps import Artefact, Step
from repro.plan.store import Store

_PAUSE = 0.5
"""Seconds until a step that another process has in hand is tried again."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker computes.

    Attributes:
        device: "cpu" or "cuda"; threads: as the profile has them.
        gpus: as CUDA_VISIBLE_DEVICES names them; empty on a CPU. Ray names GPUs itself, so that
            there only their number counts.
    """

    device: str
    threads: int
    gpus: str = ""


class LocalWorkers:
    """Worker processes, see the module.

    Args:
        own: this process's worker, which collects results and drops weights.
        places: one a worker.
        seconds: expected of each fine-tune and cell, by content key.
    """

    def __init__(
        self,
        own: Worker,
        places: Sequence[Place],
        seconds: Mapping[str, float],
        say: Say,
        watch: Watch | None = None,
    ) -> None:
        self._own = own
        self._watch = watch or Watch()
        self._places = places
        self._seconds = seconds
        self._say = say

    def run(self, steps: Sequence[Step], done: Callable[[Step, Done], None]) -> None:
        """Do all steps, see `Executor`.

        Raises:
            ReproError: what the first step that failed met, once all others are done.
        """
        with _Pool(self._own.store, self._places, self._say, self._watch) as pool:
            finish(steps, pool, self._own, done, self._seconds, self._say)


class _Pool:
    """The worker processes."""

    def __init__(self, store: Store, places: Sequence[Place], say: Say, watch: Watch) -> None:
        self._store, self._places, self._say, self._watch = store, places, say, watch
        self._processes: list[_Process | None] = [None] * len(places)

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.end()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def busy(self) -> list[Step]:
        """The steps in hand."""
        return [p.step for p in self._processes if p is not None and p.step is not None]

    def give(self, step: Step) -> bool:
        """Give a step to an idle worker; whether there was one.

        All workers start with the first step, side by side, since each takes seconds to load torch.
        """
        for number, place in enumerate(self._places):
            if self._processes[number] is None:
                self._processes[number] = _Process(self._store, place)
        for number, process in enumerate(self._processes, 1):
            if process is not None and process.step is None:
                process.give(step)
                self._watch.begun(f"worker {number}", label(step))
                return True
        return False

    def forget(self, artefact: Artefact) -> None:
        """Nothing to do: all see the store that it was dropped from."""

    def answers(self) -> list[tuple[Step, Any]]:
        """What workers have done meanwhile; waits for the first."""
        found: list[tuple[Step, Any]] = []
        while not found:
            alive = {p.connection: p for p in self._processes if p is not None}
            for connection in wait(list(alive)):
                assert isinstance(connection, Connection)
                process = alive[connection]
                where = f"worker {self._processes.index(process) + 1}"
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    self._processes[self._processes.index(process)] = None
                    self._watch.ended(where)
                    if process.step is not None:
                        found.append((process.step, process.ended()))
                    continue
                if kind == "say":
                    self._say(f"{where}: {content}")
                    continue
                if kind == "bar":
                    self._watch.told(where, content)
                    continue
                self._watch.ended(where)
                step, process.step = process.step, None
                assert step is not None
                found.append((step, content))
        return found


class _Process:
    """One worker process, and the step that it has in hand."""

    def __init__(self, store: Store, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.step: Step | None = None
        self._process = context.Process(target=_serve, args=(other, store.root, place), daemon=True)
        with _environment(place):
            self._process.start()
        other.close()

    def give(self, step: Step) -> None:
        self.step = step
        with suppress(OSError):  # a worker that has died says so when it is asked
            self.connection.send(step)

    def ended(self) -> Ended:
        """How it ended."""
        self._process.join()
        code = self._process.exitcode or 0
        return Ended(signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def end(self) -> None:
        """Stop it; a step in hand leaves nothing half-written."""
        self.connection.close()
        self._process.terminate()
        self._process.join()


@contextmanager
def _environment(place: Place) -> Any:
    """The GPUs of a worker, which must be known before its torch is loaded."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if place.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpus
    try:
        yield
    finally:
        if place.gpus:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _serve(connection: Connection, root: Any, place: Place) -> None:
    """A worker process: does steps until its driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from repro.machine import numerics

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


def answer(worker: Worker, step: Step) -> Any:
    """What came of a step: `Done`, or the error that its driver is to know of."""
    try:
        return worker.do(step)
    except (ReproError, LostError) as error:
        return error
    except BusyError as error:
        threading.Event().wait(_PAUSE)
        return error
    except Exception:
        return traceback.format_exc()


def _end_with(parent: int) -> None:
    """End when the driver is gone, however it ended."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(1)
    os._exit(1)
