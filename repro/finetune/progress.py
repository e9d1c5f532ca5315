"""The progress of a fine-tune: loss, tokens a second and time left on a rich bar."""

import time
from types import TracebackType
from typing import Any, Self


class Bar:
    """Counts steps and tokens, and shows them on a `rich.progress.Progress` if there is one.

    What is printed where output is no terminal is the Progress's own affair (nothing, for rich).

    Attributes:
        tokens: input tokens so far, dead samples included.
        seconds: from entering the context to the last step, or to leaving it.
    """

    def __init__(self, progress: Any, steps: int) -> None:
        self._progress = progress
        self._steps = steps
        self._done = 0
        self.tokens = 0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        if self._progress is not None:
            self._task = self._progress.add_task("fine-tuning", total=self._steps)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._start
        if self._progress is not None:
            self._progress.remove_task(self._task)

    def advance(self, loss: float | None, tokens: int) -> None:
        """Record a step: its loss (None without labels) and its input tokens."""
        self._done += 1
        self.tokens += tokens
        self.seconds = seconds = time.monotonic() - self._start
        if self._progress is None:
            return
        left = round(seconds / self._done * (self._steps - self._done))
        shown = "none" if loss is None else f"{loss:.3f}"
        self._progress.update(
            self._task,
            completed=self._done,
            description=f"fine-tuning: loss {shown}, {self.tokens / seconds:,.0f} tokens/s, "
            f"{left // 60}:{left % 60:02d} left",
        )
