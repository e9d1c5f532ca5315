"""Curves and matrices of a study, and how far its fine-tunes went: the rows of all faces."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import fsum
from statistics import fmean

from rich.text import Text

from repro.report.words import between, counted, signed
from repro.results.runs import CellResult, Run
from repro.spec.cells import BASE, Cell, Variant
from repro.spec.claims import Summary
from repro.verify.summaries import Averaged

READ = (
    "Mean differences of scores; * where the 95 % interval, over test sets and seeds, excludes 0."
)
_WIDTH = 9
"""Columns of a difference in the terminal."""

DEPARTED = "How far fine-tunes went from the base"
DEPARTED_READ = (
    "Mean |fine-tuned - base| over all weights, and how much of the predictions on classification "
    "sets moved to other labels (total variation, 0 to 1), 0-shot and with examples; means over "
    "seeds and test sets."
)
DEPARTED_HEADS = ("fine-tune", "weights", "labels, 0-shot", "labels, few-shot")


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


def narrowed(summary: Summary, values: Mapping[tuple[str, str], Averaged]) -> SummaryReport:
    """A summary of a run, without rows and columns of which nothing was run."""
    rows, columns = ({place[i] for place in values} for i in (0, 1))
    return SummaryReport(
        replace(
            summary,
            rows=tuple(row for row in summary.rows if row in rows),
            columns=tuple(column for column in summary.columns if column in columns),
        ),
        values,
    )


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


@dataclass(frozen=True)
class Departure:
    """A fine-tune's distance from the base; None for what is not known."""

    variant: Variant
    weight_change: float | None
    zero_shot: float | None
    few_shot: float | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Its row, as all faces show it."""
        change = "" if self.weight_change is None else f"{self.weight_change:.2e}"
        moved = ("" if v is None else f"{v:.3f}" for v in (self.zero_shot, self.few_shot))
        return (self.variant.name, change, *moved)


def departures(run: Run) -> list[Departure]:
    """All fine-tunes of a run, in the order of its study."""
    found = []
    for variant in sorted({c.variant for c in run.by_cell} - {BASE}, key=run.study.rank):
        changes = [t.weight_change for t in run.tuned.values() if t.variant == variant]
        moved: dict[bool, list[float]] = {False: [], True: []}
        for cell in run.by_cell:
            if cell.variant == variant:
                moved[cell.shots > 0] += _moved(run, cell)
        found.append(Departure(variant, _mean(changes), _mean(moved[False]), _mean(moved[True])))
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _moved(run: Run, cell: Cell) -> Iterator[float]:
    """Of each seed, the total variation between the labels given and those that the base gives."""
    based = run.of(Cell(BASE, cell.dataset, cell.prompt, cell.demonstrations)).get(None)
    theirs = _shares(based) if based else {}
    for result in run.of(cell).values():
        if theirs and (ours := _shares(result)):
            # Exact, so that the order of a set does not matter.
            yield fsum(abs(ours.get(x, 0) - theirs.get(x, 0)) for x in {*ours, *theirs}) / 2


def _shares(result: CellResult) -> dict[str, float]:
    """The share of each label in a cell's predictions; empty for generation."""
    counts = result.raw.get("histogram")
    if not isinstance(counts, dict) or not sum(counts.values()):
        return {}
    return {label: count / sum(counts.values()) for label, count in counts.items()}
