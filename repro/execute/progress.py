"""Over a whole run: models done, and about how long the rest takes; a bar, or lines."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from repro.plan.cost import duration
from repro.plan.estimate import by_characters, costs
from repro.plan.plan import Plan, PlannedModel
from repro.plan.store import Store


class Whole:
    """Follows the models of a run that are still to be done, weighed by what each should cost.

    Args:
        todo: the models, in their order.
        progress: gets the bar; without one, and without a terminal, `say` gets lines.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        todo: Sequence[PlannedModel],
        progress: Progress | None,
        say: Callable[[str], None],
    ) -> None:
        self._progress = None if progress is None or progress.disable else progress
        self._say = say
        rows = costs(plan, by_characters, store.has)
        known = {id(model): row.cost.seconds for model, row in zip(plan.models, rows, strict=True)}
        self._weights = {id(model): max(known[id(model)], 1e-9) for model in todo}
        self._done = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """With a bar while the block runs."""
        self._task: TaskID | None = None
        self._total, self._start = len(self._weights), time.monotonic()
        if self._progress is None or not self._weights:
            yield
            return
        self._task = self._progress.add_task("models", total=self._total)
        try:
            yield
        finally:
            self._progress.remove_task(self._task)

    def finished(self, model: PlannedModel) -> None:
        """Count a model, and say how long the others take at its pace."""
        weight = self._weights.pop(id(model), None)
        if weight is None:
            return
        self._done += weight
        left = sum(self._weights.values()) * (time.monotonic() - self._start) / self._done
        if self._progress is not None and self._task is not None:
            told = f"models, about {duration(left)} left"
            self._progress.update(self._task, advance=1, description=told)
        elif self._weights:
            done = self._total - len(self._weights)
            self._say(f"{done} of {self._total} models done, about {duration(left)} left")
