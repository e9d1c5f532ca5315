"""Who does the steps: the interface, and one process that does them one by one."""

from collections.abc import Callable, Sequence
from typing import Protocol

from repro.bars import Watch
from repro.execute.worker import Done, LostError, Worker
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
            ReproError: what the first step that failed met; steps that were done stay done.
        """
        ...


class OneProcess:
    """This process, which does what is ready first, and last what another process has in hand."""

    def __init__(self, worker: Worker, watch: Watch | None = None) -> None:
        self._worker = worker
        self._watch = watch or Watch()

    def run(self, steps: Sequence[Step], done: Callable[[Step, Done], None]) -> None:
        makers = {artefact: step for step in steps for artefact in step.outputs}
        waiting = list(steps)
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
            busy.clear()
            waiting.remove(step)
            self._watch.ended("")
            done(step, took)


def label(step: Step) -> str:
    """A step as its worker names it."""
    return getattr(step, "label", step.name)
