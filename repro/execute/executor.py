"""Who does the steps: the interface, and one process that does them one by one."""

from collections.abc import Callable, Sequence
from typing import Protocol

from repro.bars import Watch
from repro.errors import ReproError
from repro.execute.worker import Done, LostError, Say, Worker
from repro.locks import BusyError
from repro.plan.steps import Collect, Drop, Step, ready


class Executor(Protocol):
    """Does steps, each once its inputs are there.

    An executor may do several at a time, in other processes or on other machines that see the same
    store; all but `Collect` can be done anywhere.
    """

    def run(self, steps: Sequence[Step], done: Callable[[Step, Done], None]) -> None:
        """Do all steps.

        Args:
            steps: in an order in which they can be done.
            done: called in this process behind every step.

        Raises:
            ReproError: what the first step that failed met, once all are done that do not wait for
                one that failed.
        """
        ...


class Failures:
    """Steps that failed for a reason of their own, which ends neither the others nor their models.

    Args:
        say: prints a line for the user.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._errors: list[ReproError] = []

    def note(self, step: Step, error: ReproError, waiting: list[Step]) -> None:
        """Say that a step failed, and take what needs its outputs out of `waiting`."""
        told = f"{step.name} failed: {error}"
        self._say(told)
        # Not the error itself, which may hold what the step had in memory.
        self._errors.append(ReproError(told, hint=error.hint, exit_code=error.exit_code))
        lost = set(step.outputs)
        while more := [s for s in waiting if lost.intersection(s.inputs)]:
            for dependent in more:
                waiting.remove(dependent)
                lost.update(dependent.outputs)

    def end(self) -> None:
        """Raise the first failure, if there is one."""
        if self._errors:
            first, more = self._errors[0], len(self._errors) - 1
            told = f"{first}; and {more} more" if more else str(first)
            raise ReproError(told, hint=first.hint, exit_code=first.exit_code)


class OneProcess:
    """This process, which does what is ready first, and last what another process has in hand."""

    def __init__(self, worker: Worker, watch: Watch | None = None) -> None:
        self._worker = worker
        self._watch = watch or Watch()

    def run(self, steps: Sequence[Step], done: Callable[[Step, Done], None]) -> None:
        makers = {artefact: step for step in steps for artefact in step.outputs}
        waiting = list(steps)
        failures = Failures(self._worker.say)
        busy: set[int] = set()
        while waiting:
            able = ready(waiting)
            free = [step for step in able if id(step) not in busy]
            step = (free or able)[0]
            self._worker.waits = not free
            if not isinstance(step, Collect | Drop):
                self._watch.begun("", label(step))
            try:
                took = self._worker.do(step)
            except LostError as lost:
                # Another process dropped what it had made: it is made again.
                waiting.insert(0, makers[lost.artefact])
                continue
            except BusyError:
                busy.add(id(step))
                continue
            except ReproError as error:
                waiting.remove(step)
                self._watch.ended("")
                failures.note(step, error, waiting)
                continue
            busy.clear()
            waiting.remove(step)
            self._watch.ended("")
            done(step, took)
        failures.end()


def label(step: Step) -> str:
    """A step as its worker names it."""
    return getattr(step, "label", step.name)
