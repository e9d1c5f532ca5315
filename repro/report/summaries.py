"""Curves and matrices of a study: the rows of all faces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.text import Text

from repro.report.words import between, counted, signed
from repro.spec.claims import Summary
from repro.verify.summaries import Averaged

READ = (
    "Mean differences of scores; * where the 95 % interval, over test sets and seeds, excludes 0."
)
_WIDTH = 9
"""Columns of a difference in the terminal."""


@dataclass(frozen=True)
class SummaryReport:
    """A summary with what was measured, by row and column; only places that were run."""

    summary: Summary
    values: Mapping[tuple[str, str], Averaged]

    @property
    def title(self) -> str:
        return f"{self.summary.title}: score minus that of {self.summary.against}"

    def brief(self, row: str, column: str) -> str:
        """A place in few characters: the difference, with a star where its interval excludes 0."""
        value = self.values.get((row, column))
        if value is None:
            return ""
        return signed(value.effect) + "*" * (value.interval.low > 0 or value.interval.high < 0)

    def whole(self, row: str, column: str) -> str:
        """A place with its interval."""
        value = self.values.get((row, column))
        return "" if value is None else signed(value.effect) + between(value.interval)

    def grid(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Each row with its places by column, as they are with intervals."""
        for row in self.summary.rows:
            yield row, {column: self.whole(row, column) for column in self.summary.columns}

    def records(self) -> Iterator[dict[str, object]]:
        """The numbers of all places that were run."""
        for (row, column), value in self.values.items():
            yield {
                "row": row,
                "column": column,
                "difference": value.effect,
                "low": value.interval.low,
                "high": value.interval.high,
                "test_sets": value.sets,
                "seeds": value.seeds,
                "pairs": value.pairs,
            }

    @property
    def count_text(self) -> str:
        """What is behind it: `3 to 12 test sets, 5 seeds`."""
        sets = sorted({value.sets for value in self.values.values()})
        seeds = max(value.seeds for value in self.values.values())
        text = counted(sets[-1], "test set")
        return (f"{sets[0]} to {text}" if len(sets) > 1 else text) + f", {counted(seeds, 'seed')}"


def summary_lines(report: SummaryReport, width: int) -> Iterator[Text]:
    """A summary as a table of the terminal; where it is too wide, columns move below.

    The levels of a curve stand side by side, so that a line is read as a line.
    """
    yield Text(f"{report.title} ({report.count_text})", style="bold")
    across = report.summary.kind == "curve"
    rows, columns = report.summary.rows, report.summary.columns
    down, aside = (columns, rows) if across else (rows, columns)
    first = max(len(name) for name in (*down, report.summary.axis)) + 2
    wide = max(_WIDTH, *(len(name) + 2 for name in aside))
    fit = max(1, (width - first - 2) // wide)
    for start in range(0, len(aside), fit):
        part = aside[start : start + fit]
        head = "".join(f"{name + ' ':>{wide}}" for name in part)
        yield Text(f"  {report.summary.axis if across else '':<{first}}{head}", style="dim")
        for name in down:
            own = [report.brief(*((x, name) if across else (name, x))) for x in part]
            # A star stands behind the column of the numbers.
            texts = (text if text.endswith("*") else text + " " for text in own)
            yield Text(f"  {name:<{first}}{''.join(f'{text:>{wide}}' for text in texts)}".rstrip())
