"""The progress bars of long commands, and how workers in other processes have theirs drawn."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def bars(console: Console) -> Progress:
    """Progress bars with a description and what is done; speed and time left are in the former.

    Bars vanish when their task ends; where output is piped nothing is drawn at all.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def paced(
    progress: Any, what: str, total: int, unit: str
) -> Iterator[Callable[[int, float, str], None]]:
    """A bar that tells the pace and the time left, and goes at the end; nothing without `progress`.

    Yields:
        What takes the part of `total` that is done, the units that it was, and what else to tell.
    """
    if progress is None:
        yield lambda done, units, told: None
        return
    task, start = progress.add_task(what, total=total), time.monotonic()

    def show(done: int, units: float, told: str) -> None:
        seconds = time.monotonic() - start
        left = round(seconds / done * (total - done))
        text = f"{what}: {told}{units / seconds:,.0f} {unit}/s, {left // 60}:{left % 60:02d} left"
        progress.update(task, completed=done, description=text)

    try:
        yield show
    finally:
        progress.remove_task(task)


class Shown(NamedTuple):
    """A bar as text, with what is done of how much, if that is known."""

    text: str
    done: float = 0.0
    total: float | None = None


class Relay:
    """Takes bars as `rich.progress.Progress` does, and sends what they show to who draws them."""

    PAUSE = 0.5
    """Seconds between two of them."""

    def __init__(self, send: Callable[[Shown], object]) -> None:
        self._send = send
        self._shown = Shown("")
        self._sent = 0.0

    def add_task(self, description: str, total: float | None = None) -> int:
        """Begin a bar; there is one at a time."""
        self._shown, self._sent = Shown(description, 0.0, total), 0.0
        return 0

    def update(
        self,
        task: int,
        *,
        description: str | None = None,
        completed: float | None = None,
        total: float | None = None,
    ) -> None:
        """Go on with it."""
        before = self._shown
        self._shown = Shown(
            before.text if description is None else description,
            before.done if completed is None else completed,
            before.total if total is None else total,
        )
        if time.monotonic() - self._sent >= self.PAUSE:
            self._sent = time.monotonic()
            self._send(self._shown)

    def remove_task(self, task: int) -> None:
        """End it."""


class Watch:
    """Hears which worker has what in hand; this one does nothing with it."""

    def begun(self, where: str, what: str) -> None:
        """A worker begins a step."""

    def told(self, where: str, shown: Shown) -> None:
        """How far it is."""

    def ended(self, where: str) -> None:
        """It is done, or its worker is gone."""
