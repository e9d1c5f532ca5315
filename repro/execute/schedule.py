"""Which step is done when, whatever does them: worker processes here, or on many machines.

The longest steps come first, and those that others wait for before those that nobody waits for.
A model's cells are shared out among idle workers, test set by test set. Bytes do not depend on any
of that: batches and threads inside a step follow from the plan alone. A step whose worker died is
given to another; one that fails for a reason of its own ends neither the others nor their models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from repro.errors import EXIT_MISSING, ReproError
from repro.execute.executor import Failures
from repro.execute.worker import Done, LostError, Say, Worker
from repro.locks import BusyError
from repro.plan.makespan import SHARES
from repro.plan.steps import Artefact, Collect, Drop, Evaluate, FetchData, FineTune, Step, ready

DEATHS = 3
"""Workers that a step may take with it before it is given up."""


class Ended(str):
    """How a worker ended before its step, in words."""


class Pool(Protocol):
    """Workers that do steps side by side."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def busy(self) -> list[Step]:
        """The steps in hand."""
        ...

    def give(self, step: Step) -> bool:
        """Give a step to an idle worker; whether there was one."""
        ...

    def answers(self) -> list[tuple[Step, Any]]:
        """What workers have done meanwhile; waits for the first.

        With each step `Done`, the error that it met, `Ended`, or the traceback of a bug.
        """
        ...

    def forget(self, artefact: Artefact) -> None:
        """Drop an artefact wherever workers keep it beside the driver's store."""
        ...


def finish(
    steps: Sequence[Step],
    pool: Pool,
    own: Worker,
    done: Callable[[Step, Done], None],
    seconds: Mapping[str, float],
    say: Say,
) -> None:
    """Do all steps, see `repro.execute.executor.Executor`.

    Args:
        own: this process's worker, which collects results and drops weights.
        seconds: expected of each fine-tune and cell, by content key.

    Raises:
        ReproError: what the first step that failed met, once all others are done.
    """

    def cost(step: Step) -> float:
        if isinstance(step, FineTune):
            return max(seconds.get(key, 0.0) for key in step.keys)
        if isinstance(step, Evaluate):
            return sum(seconds.get(cell.key, 0.0) for cell in step.cells)
        return 0.0

    shared = _shared_out(steps, cost, len(pool))
    _Run(shared, own, pool, done, _expected(shared, cost), say).finish()


def _expected(steps: Sequence[Step], cost: Callable[[Step], float]) -> dict[int, float]:
    """Seconds from the start of each step to the end of all that wait for it."""
    users: dict[Artefact, list[Step]] = {}
    for step in steps:
        for artefact in step.inputs:
            users.setdefault(artefact, []).append(step)
    found: dict[int, float] = {}
    for step in reversed(steps):
        after = [found[id(u)] for out in step.outputs for u in users.get(out, ())]
        found[id(step)] = cost(step) + max(after, default=0.0)
    return found


def _shared_out(steps: Sequence[Step], cost: Callable[[Step], float], workers: int) -> list[Step]:
    """The steps, with evaluations that would keep others waiting in parts."""
    most = sum(map(cost, steps)) / (SHARES * workers)
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Evaluate) and most:
            found += parts(step, cost, most)
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


class _Run:
    """The state of a run: what waits, what is in hand, what failed."""

    def __init__(
        self,
        steps: Sequence[Step],
        own: Worker,
        pool: Pool,
        done: Callable[[Step, Done], None],
        expected: dict[int, float],
        say: Say,
    ) -> None:
        self._waiting = list(steps)
        self._makers = {artefact: step for step in steps for artefact in step.outputs}
        self._own, self._pool, self._done, self._say = own, pool, done, say
        self._expected = expected
        self._deaths: dict[int, int] = {}
        self._failures = Failures(say)

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
        self._failures.end()

    def _ready(self) -> list[Step]:
        """Of what waits what can start."""
        waiting = {id(step) for step in self._waiting}
        every = [*self._waiting, *self._pool.busy]
        return [step for step in ready(every) if id(step) in waiting]

    def _here(self) -> None:
        """Do what only this process does, as long as there is any."""
        while mine := [s for s in self._ready() if isinstance(s, Collect | Drop | FetchData)]:
            for step in mine:
                self._waiting.remove(step)
                self._done(step, self._own.do(step))
                if isinstance(step, Drop):
                    self._pool.forget(step.artefact)

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
            # Another process dropped what it had made, or its machine is gone: it is made again.
            maker = self._makers[answer.artefact]
            again = all(maker is not other for other in (*self._waiting, *self._pool.busy))
            self._waiting += [maker, step] if again else [step]
        elif isinstance(answer, BusyError):
            self._expected[id(step)] = -1.0  # whatever else is ready comes first
            self._waiting.append(step)
        elif isinstance(answer, ReproError):
            self._failures.note(step, answer, self._waiting)
        elif isinstance(answer, Ended):
            self._died(step, answer)
        else:
            raise RuntimeError(f"{step.name} met a bug of the kit:\n{answer}")

    def _died(self, step: Step, how: Ended) -> None:
        deaths = self._deaths[id(step)] = self._deaths.get(id(step), 0) + 1
        if deaths < DEATHS:
            self._say(f"{step.name}: the worker ended ({how}); another one takes over")
            self._waiting.append(step)
            return
        told = f"{deaths} workers ended with it ({how})"
        hint = "look for memory that ran out (dmesg), or take fewer --workers"
        error = ReproError(told, hint=hint, exit_code=EXIT_MISSING)
        self._failures.note(step, error, self._waiting)

    def _fail_waiting(self) -> None:
        names = ", ".join(step.name for step in self._waiting[:3])
        raise AssertionError(f"steps wait for what nobody makes: {names}")
