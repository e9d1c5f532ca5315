"""Over a whole run: what is done, who does what, and about how long the rest takes.

In a terminal that is a line for the run and one for each worker, redrawn as they go on; elsewhere
it is a plain line now and then.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress, TaskID

from repro.bars import Shown, Watch
from repro.execute.timing import epochs_taken
from repro.execute.worker import Done
from repro.finetune import FACTS
from repro.plan.cost import duration
from repro.plan.steps import Collect, Evaluate, FineTune, Step, timed
from repro.plan.store import Store


class Whole(Watch):
    """Follows the steps of a run, weighed by the seconds that are expected of them.

    Args:
        progress: gets the lines that are redrawn; without one, or a terminal, `say` gets lines.
    """

    def __init__(
        self,
        store: Store,
        steps: Sequence[Step],
        seconds: Mapping[str, float],
        progress: Progress | None,
        say: Callable[[str], None],
    ) -> None:
        self._progress = progress or Progress(disable=True)
        self._store, self._say, self._seconds = store, say, seconds
        self._workers: dict[str, tuple[TaskID, str]] = {}
        self._models = sum(isinstance(step, Collect) for step in steps)
        self._cells = sum(len(step.cells) for step in steps if isinstance(step, Evaluate))
        self._todo = sum(map(self._weight, steps))
        self._models_done = self._cells_done = 0
        self._done = 0.0

    def _weight(self, step: Step) -> float:
        return sum(max(self._seconds.get(key, 0.0), 1e-9) for key in timed(step))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """With the lines while the block runs."""
        if not self._models:
            yield
            return
        self._start = time.monotonic()
        self._task = self._progress.add_task("cells", total=self._cells)
        try:
            yield
        finally:
            for where in list(self._workers):
                self.ended(where)
            self._progress.remove_task(self._task)

    def begun(self, where: str, what: str) -> None:
        self.ended(where)
        text = f"{where}: {what}" if where else what
        self._workers[where] = self._progress.add_task(text, total=None), text

    def told(self, where: str, shown: Shown) -> None:
        if where in self._workers:
            task, text = self._workers[where]
            described = f"{text}, {shown.text}"
            self._progress.update(
                task, description=described, completed=shown.done, total=shown.total
            )

    def ended(self, where: str) -> None:
        if where in self._workers:
            self._progress.remove_task(self._workers.pop(where)[0])

    def finished(self, step: Step, took: Done) -> None:
        """Count a step that is done, and say how long the others take at its pace."""
        self._done += self._weight(step)
        if isinstance(step, FineTune):
            self._say(f"{step.label}: fine-tuned{self._of_training(step, took)}")
        if isinstance(step, Evaluate):
            self._cells_done += len(step.cells)
        collected = isinstance(step, Collect)
        self._models_done += collected
        told = f"{self._models_done} of {self._models} models done"
        if self._done:
            left = max(0.0, self._todo - self._done)
            spent = time.monotonic() - self._start
            told += f", about {duration(left * spent / self._done)} left"
        self._progress.update(self._task, completed=self._cells_done, description=told)
        if self._progress.disable and collected and self._models_done < self._models:
            self._say(told)

    def _of_training(self, step: FineTune, took: Done) -> str:
        """Last loss and tokens a second; nothing of what was there already."""
        seconds = took.measured.seconds.get("train")
        facts = self._store.find("facts", step.key)
        if not seconds or facts is None:
            return ", found" if facts is not None else ""
        known: dict[str, Any] = json.loads((facts / FACTS).read_text(encoding="utf-8"))
        losses = [loss for loss in known["losses"] if loss is not None]
        rate = epochs_taken(known) * known["input_tokens"] / seconds
        return f", last loss {losses[-1]:.3f}, {rate:,.0f} tokens/s" if losses else ""
