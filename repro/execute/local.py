"""Several worker processes on this machine: one a GPU, or one for each share of the CPU's cores.

The longest steps come first, and those that others wait for before those that nobody waits for.
A model's cells are shared out among idle workers, test set by test set. Bytes do not depend on any
of that: batches and threads inside a step follow from the plan alone. A worker that dies gives its
step to another; a step that fails for a reason of its own ends neither the others nor their models.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.execute.worker import Done, LostError, Say, Worker
from repro.locks import BusyError
from repro.plan.steps import Artefact, Collect, Drop, Evaluate, FetchData, FineTune, Step, ready
from repro.plan.store import Store

DEATHS = 3
"""Workers that a step may take with it before it is given up."""

_PAUSE = 0.5
"""Seconds until a step that another process has in hand is tried again."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker computes.

    Attributes:
        device: "cpu" or "cuda"; threads: as the profile has them.
        gpus: as CUDA_VISIBLE_DEVICES names them; empty on a CPU.
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
        self, own: Worker, places: Sequence[Place], seconds: Mapping[str, float], say: Say
    ) -> None:
        self._own = own
        self._places = places
        self._seconds = seconds
        self._say = say

    def run(self, steps: Sequence[Step], done: Callable[[Step, Done], None]) -> None:
        """Do all steps, see `Executor`.

        Raises:
            ReproError: what the first step that failed met, once all others are done.
        """
        shared = self._shared_out(steps)
        with _Pool(self._own.store, self._places, self._say) as pool:
            _Run(shared, self._own, pool, done, self._expected(shared), self._say).finish()

    def _cost(self, step: Step) -> float:
        if isinstance(step, FineTune):
            return self._seconds.get(step.key, 0.0)
        if isinstance(step, Evaluate):
            return sum(self._seconds.get(cell.key, 0.0) for cell in step.cells)
        return 0.0

    def _expected(self, steps: Sequence[Step]) -> dict[int, float]:
        """Seconds from the start of each step to the end of all that wait for it."""
        users: dict[Artefact, list[Step]] = {}
        for step in steps:
            for artefact in step.inputs:
                users.setdefault(artefact, []).append(step)
        found: dict[int, float] = {}
        for step in reversed(steps):
            after = [found[id(u)] for out in step.outputs for u in users.get(out, ())]
            found[id(step)] = self._cost(step) + max(after, default=0.0)
        return found

    def _shared_out(self, steps: Sequence[Step]) -> list[Step]:
        """The steps, with evaluations that would keep others waiting in parts."""
        most = sum(map(self._cost, steps)) / (4 * len(self._places))
        found: list[Step] = []
        for step in steps:
            if isinstance(step, Evaluate) and most:
                found += parts(step, self._cost, most)
            else:
                found.append(step)
        return found


def parts(step: Evaluate, cost: Callable[[Step], float], most: float) -> list[Evaluate]:
    """An evaluation in parts of about `most` seconds; cells of a test set and prompt stay together.

    Those share what their prompts begin with.
    """
    groups: dict[tuple[str, str], list[Any]] = {}
    for cell in step.cells:
        groups.setdefault((cell.cell.dataset, cell.cell.prompt), []).append(cell)
    found: list[Evaluate] = []
    for group in groups.values():
        own = replace(step, cells=tuple(group))
        if found and cost(found[-1]) + cost(own) <= most:
            found[-1] = replace(step, cells=(*found[-1].cells, *group))
        else:
            found.append(own)
    return found


class Ended(str):
    """How a worker process ended before its step, in words."""


class _Run:
    """The state of a run: what waits, what is in hand, what failed."""

    def __init__(
        self,
        steps: Sequence[Step],
        own: Worker,
        pool: "_Pool",
        done: Callable[[Step, Done], None],
        expected: dict[int, float],
        say: Say,
    ) -> None:
        self._waiting = list(steps)
        self._makers = {artefact: step for step in steps for artefact in step.outputs}
        self._own, self._pool, self._done, self._say = own, pool, done, say
        self._expected = expected
        self._deaths: dict[int, int] = {}
        self._failures: list[ReproError] = []

    def finish(self) -> None:
        """Until nothing waits."""
        while self._waiting or self._pool.busy:
            self._here()
            started = self._start()
            if not self._pool.busy:
                if self._waiting and not started:
                    self._fail_waiting()
                continue
            for step, answer in self._pool.answers():
                self._take(step, answer)
        if self._failures:
            first, more = self._failures[0], len(self._failures) - 1
            told = f"{first}; and {more} more" if more else str(first)
            raise ReproError(told, hint=first.hint, exit_code=first.exit_code)

    def _ready(self) -> list[Step]:
        """What can start: nothing it needs is still to be made, nor used by others if dropped."""
        every = [*self._waiting, *self._pool.busy]
        waiting = {id(step) for step in self._waiting}
        found = [step for step in ready(every) if id(step) in waiting]
        used = {a for step in every if not isinstance(step, Drop) for a in step.inputs}
        return [s for s in found if not (isinstance(s, Drop) and s.artefact in used)]

    def _here(self) -> None:
        """Do what only this process does, as long as there is any."""
        while mine := [s for s in self._ready() if isinstance(s, Collect | Drop | FetchData)]:
            for step in mine:
                self._waiting.remove(step)
                self._done(step, self._own.do(step))

    def _start(self) -> bool:
        """Give idle workers the longest steps; whether one was given."""
        chosen = sorted(self._ready(), key=lambda step: -self._expected.get(id(step), 0.0))
        given = False
        for step in chosen:
            if not self._pool.give(step):
                break
            self._waiting.remove(step)
            given = True
        return given

    def _take(self, step: Step, answer: Any) -> None:
        if isinstance(answer, Done):
            self._done(step, answer)
        elif isinstance(answer, LostError):
            # Another process dropped what it had made: it is made again.
            self._waiting += [self._makers[answer.artefact], step]
        elif isinstance(answer, BusyError):
            self._expected[id(step)] = -1.0  # whatever else is ready comes first
            self._waiting.append(step)
        elif isinstance(answer, ReproError):
            self._fail(step, answer)
        elif isinstance(answer, Ended):
            self._died(step, answer)
        else:
            raise RuntimeError(f"{step.name} met a bug of the kit:\n{answer}")

    def _died(self, step: Step, how: "Ended") -> None:
        deaths = self._deaths[id(step)] = self._deaths.get(id(step), 0) + 1
        if deaths < DEATHS:
            self._say(f"{step.name}: the worker ended ({how}); another one takes over")
            self._waiting.append(step)
            return
        told = f"{step.name}: {deaths} workers ended with it ({how})"
        hint = "look for memory that ran out (dmesg), or take fewer --workers"
        self._fail(step, ReproError(told, hint=hint, exit_code=EXIT_MISSING))

    def _fail(self, step: Step, error: ReproError) -> None:
        """Note a failure, and leave out what waits for it."""
        self._failures.append(error)
        self._say(f"{step.name} failed: {error}")
        lost = set(step.outputs)
        while more := [s for s in self._waiting if lost.intersection(s.inputs)]:
            for waiting in more:
                self._waiting.remove(waiting)
                lost.update(waiting.outputs)

    def _fail_waiting(self) -> None:
        names = ", ".join(step.name for step in self._waiting[:3])
        raise AssertionError(f"steps wait for what nobody makes: {names}")


class _Pool:
    """The worker processes."""

    def __init__(self, store: Store, places: Sequence[Place], say: Say) -> None:
        self._store, self._places, self._say = store, places, say
        self._processes: list[_Process | None] = [None] * len(places)

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.end()

    @property
    def busy(self) -> list[Step]:
        """The steps in hand."""
        return [p.step for p in self._processes if p is not None and p.step is not None]

    def give(self, step: Step) -> bool:
        """Give a step to an idle worker; whether there was one. Workers start when needed."""
        for number, process in enumerate(self._processes):
            if process is None:
                process = self._processes[number] = _Process(self._store, self._places[number])
            if process.step is None:
                process.give(step)
                return True
        return False

    def answers(self) -> list[tuple[Step, Any]]:
        """What workers have done meanwhile; waits for the first."""
        found: list[tuple[Step, Any]] = []
        while not found:
            alive = {p.connection: p for p in self._processes if p is not None}
            for connection in wait(list(alive)):
                assert isinstance(connection, Connection)
                process = alive[connection]
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    number = self._processes.index(process)
                    self._processes[number] = None
                    if process.step is not None:
                        found.append((process.step, process.ended()))
                    continue
                if kind == "say":
                    self._say(content)
                    continue
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
    worker = Worker(Store(root), say=lambda text: connection.send(("say", text)), waits=False)
    while True:
        try:
            step = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        connection.send(("done", _answer(worker, step)))


def _answer(worker: Worker, step: Step) -> Any:
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
