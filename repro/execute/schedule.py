"""Which step is done when, whatever does them: this process, others here, or many machines.

The longest steps come first, and those that others wait for before those that nobody waits for.
A model's cells are shared out among idle workers, test set by test set. Bytes do not depend on any
of that: batches and threads inside a step follow from the plan alone. A step whose worker died is
given to another; one that fails for a reason of its own ends neither the others nor their models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from repro.bars import Watch
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.worker import Done, LostError, Worker
from repro.locks import BusyError
from repro.plan.cost import SHARES
from repro.plan.steps import (
    Artefact,
    Collect,
    Drop,
    Evaluate,
    FineTune,
    Step,
    Work,
    ready,
    timed,
)

DEATHS = 3
"""Workers that a step may take with it before it is given up."""


class Ended(str):
    """How a worker ended before its step, in words."""


class Pool(Protocol):
    """Workers that do steps, side by side if there are several."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def busy(self) -> list[Work]:
        """The steps in hand."""
        ...

    def give(self, step: Work) -> bool:
        """Give a step to an idle worker; whether there was one."""
        ...

    def answers(self) -> list[tuple[Work, Any]]:
        """What workers have done meanwhile; waits for the first.

        With each step `Done`, the error that it met, `Ended`, or the traceback of a bug.
        """
        ...

    def forget(self, artefact: Artefact) -> None:
        """Drop an artefact wherever workers keep it beside the driver's store."""
        ...


class Alone:
    """This process, which waits for another one only where there is nothing else left to do."""

    def __init__(self, worker: Worker, watch: Watch | None = None) -> None:
        self._worker, self._watch = worker, watch or Watch()
        self._held: set[int] = set()  # that another process had in hand
        self.busy: list[Work] = []

    def __len__(self) -> int:
        return 1

    def give(self, step: Work) -> bool:
        if self.busy:
            return False
        self.busy.append(step)
        self._watch.begun("", step.label)
        return True

    def answers(self) -> list[tuple[Work, Any]]:
        (step,) = self.busy
        self._worker.waits = id(step) in self._held
        came: Any
        try:
            came = self._worker.do(step)
        except (ReproError, LostError, BusyError) as error:
            came = error
        if isinstance(came, BusyError):
            self._held.add(id(step))
        self.busy.clear()
        self._watch.ended("")
        return [(step, came)]

    def forget(self, artefact: Artefact) -> None:
        """Nothing to do: there is no other store."""


def parts(step: Evaluate, cost: Callable[[Step], float], most: float) -> list[Evaluate]:
    """An evaluation in parts of about `most` seconds; cells of a test set and prompt stay together.

    Those share what their prompts begin with. Where nothing takes time, it stays whole.
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


class Schedule:
    """The state of a run: what waits, what is in hand, what failed.

    Args:
        steps: in an order in which they can be done.
        own: this process's worker, which collects results and drops weights.
        done: called in this process behind every step.
        seconds: expected of each fine-tune and cell, by content key; without any, steps come in
            their order, and whole.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        pool: Pool,
        own: Worker,
        done: Callable[[Step, Done], None],
        seconds: Mapping[str, float],
    ) -> None:
        def cost(step: Step) -> float:
            return sum(seconds.get(key, 0.0) for key in timed(step))

        self._own, self._pool, self._done = own, pool, done
        self._deaths: dict[int, int] = {}
        self._errors: list[ReproError] = []
        self._waiting: list[Step] = []
        most = sum(map(cost, steps)) / (SHARES * len(pool))
        for step in steps:
            self._waiting += parts(step, cost, most) if isinstance(step, Evaluate) else [step]
        self._makers = {artefact: step for step in self._waiting for artefact in step.outputs}
        # Seconds from the start of each step to the end of all that wait for it.
        self._expected: dict[int, float] = {}
        after: dict[Artefact, float] = {}
        for step in reversed(self._waiting):
            rest = max((after.get(artefact, 0.0) for artefact in step.outputs), default=0.0)
            whole = self._expected[id(step)] = cost(step) + rest
            after |= {a: max(whole, after.get(a, 0.0)) for a in step.inputs}

    def finish(self) -> None:
        """Do all steps, each once its inputs are there.

        Raises:
            ReproError: what the first step that failed met, once all are done that do not wait for
                one that failed.
        """
        while self._waiting or self._pool.busy:
            self._here()
            started = self._start()
            if not self._pool.busy:
                if self._waiting and not started:
                    names = ", ".join(step.name for step in self._waiting[:3])
                    raise AssertionError(f"steps wait for what nobody makes: {names}")
                continue
            for step, answer in self._pool.answers():
                self._take(step, answer)
        if self._errors:
            first, more = self._errors[0], len(self._errors) - 1
            told = f"{first}; and {more} more" if more else str(first)
            raise ReproError(told, hint=first.hint, exit_code=first.exit_code)

    def _ready(self) -> list[Step]:
        """Of what waits what can start."""
        waiting = {id(step) for step in self._waiting}
        every = [*self._waiting, *self._pool.busy]
        return [step for step in ready(every) if id(step) in waiting]

    def _here(self) -> None:
        """Do what only this process does, as long as there is any."""
        while mine := [s for s in self._ready() if isinstance(s, Collect | Drop)]:
            for step in mine:
                self._waiting.remove(step)
                try:
                    self._done(step, self._own.do(step))
                except ReproError as error:
                    self._fail(step, error)
                if isinstance(step, Drop):
                    self._pool.forget(step.artefact)

    def _start(self) -> bool:
        """Give idle workers the longest steps; whether one was given.

        Where weights are dropped on the way, no more models lie in the store than there are
        workers: those that are there are evaluated first.
        """
        able = [step for step in self._ready() if isinstance(step, Work)]
        given = False
        for step in sorted(able, key=lambda step: -self._expected[id(step)]):
            if isinstance(step, FineTune) and self._crowded():
                continue
            if not self._pool.give(step):
                break
            self._waiting.remove(step)
            given = True
        return given

    def _crowded(self) -> bool:
        """Whether as many other models as there are workers wait to be evaluated and dropped."""
        dropped = {other.artefact for other in self._waiting if isinstance(other, Drop)}
        to_come = {a for s in self._waiting if isinstance(s, FineTune) for a in s.outputs}
        every = (*self._waiting, *self._pool.busy)
        used = {a for s in every if isinstance(s, Evaluate) for a in s.inputs}
        return len((dropped & used) - to_come) >= len(self._pool)

    def _take(self, step: Step, answer: Any) -> None:
        if isinstance(answer, Done):
            self._done(step, answer)
        elif isinstance(answer, LostError):
            # Another process dropped what it had made, or its machine is gone: it is made again.
            maker = self._makers.get(answer.artefact)
            if maker is None:  # it was there when this run began
                told = f"another process dropped {answer.artefact.kind} {answer.artefact.key}"
                hint = "run the same command again"
                self._fail(step, ReproError(told, hint=hint, exit_code=EXIT_MISSING))
                return
            again = all(maker is not other for other in (*self._waiting, *self._pool.busy))
            self._waiting[:0] = [maker, step] if again else [step]
        elif isinstance(answer, BusyError):
            self._expected[id(step)] = -1.0  # whatever else is ready comes first
            self._waiting.append(step)
        elif isinstance(answer, ReproError):
            self._fail(step, answer)
        elif isinstance(answer, Ended):
            self._died(step, answer)
        else:
            raise RuntimeError(f"{step.name} met a bug of the kit:\n{answer}")

    def _died(self, step: Step, how: Ended) -> None:
        deaths = self._deaths[id(step)] = self._deaths.get(id(step), 0) + 1
        if deaths < DEATHS:
            self._own.say(f"{step.name}: the worker ended ({how}); another one takes over")
            self._waiting.append(step)
            return
        told = f"{deaths} workers ended with it ({how})"
        hint = "look for memory that ran out (dmesg), or take fewer --workers"
        self._fail(step, ReproError(told, hint=hint, exit_code=EXIT_MISSING))

    def _fail(self, step: Step, error: ReproError) -> None:
        """Say that a step failed, and leave out what needs its outputs."""
        told = f"{step.name} failed: {error}"
        self._own.say(told)
        # Not the error itself, which may hold what the step had in memory.
        self._errors.append(ReproError(told, hint=error.hint, exit_code=error.exit_code))
        lost = set(step.outputs)
        while more := [s for s in self._waiting if lost.intersection(s.inputs)]:
            for dependent in more:
                self._waiting.remove(dependent)
                lost.update(dependent.outputs)
