"""Curves over the levels of a factor, and matrices of test sets by models, drawn."""

import csv
import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.report.charts import LOOKS, save, settings
from repro.report.model import RunReport
from repro.report.summaries import SummaryReport

_STRONGEST = 0.5
"""The difference from which on a matrix is of full colour, so that all share a scale."""


def draw_summary(report: SummaryReport) -> Figure:
    """A curve or a matrix by itself. Lines are named `line-NAME`, texts `value-ROW-COLUMN`."""
    with settings():
        if report.summary.kind == "curve":
            canvas = Figure(figsize=(3.4, 2.3))
            canvas.subplots_adjust(left=0.18, right=0.98, bottom=0.2, top=0.82)
            _draw_curve(canvas.add_subplot(), report)
        else:
            rows, columns = len(report.summary.rows), len(report.summary.columns)
            canvas = Figure(figsize=(1.65 + 0.62 * columns, 0.75 + 0.19 * rows))
            width, height = canvas.get_size_inches()
            canvas.subplots_adjust(
                left=1.2 / width, right=1 - 0.35 / width, bottom=0.02, top=1 - 0.7 / height
            )
            _draw_matrix(canvas.add_subplot(), report)
    return canvas


def _draw_curve(axes: Axes, report: SummaryReport) -> None:
    summary = report.summary
    axes.axhline(0, color="#000000", linewidth=0.7)
    for place, name in enumerate(summary.columns):
        colour, marker = LOOKS[place % len(LOOKS)]
        # Levels stand apart evenly, lines a little aside so that whiskers do not hide each other.
        shift = 0.05 * (place - (len(summary.columns) - 1) / 2)
        known = [(i, report.values.get((row, name))) for i, row in enumerate(summary.rows)]
        there = [(i + shift, value) for i, value in known if value is not None]
        x = [i for i, _ in there]
        axes.vlines(
            x, [v.interval.low for _, v in there], [v.interval.high for _, v in there],
            color=colour, linewidth=0.8, gid=f"whiskers-{name}",
        )  # fmt: skip
        axes.plot(
            x, [v.effect for _, v in there], color=colour, marker=marker, markersize=4,
            label=name, gid=f"line-{name}",
        )  # fmt: skip
    axes.set_xticks(range(len(summary.rows)), list(summary.rows))
    axes.set_xlabel(summary.axis)
    axes.set_ylabel("difference of scores")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        fontsize=7,
        handlelength=1.5,
    )


def _draw_matrix(axes: Axes, report: SummaryReport) -> None:
    summary = report.summary
    grid = [
        [value.effect if (value := report.values.get((row, name))) else math.nan
         for name in summary.columns]
        for row in summary.rows
    ]  # fmt: skip
    axes.imshow(grid, cmap="RdBu", vmin=-_STRONGEST, vmax=_STRONGEST, aspect="auto")
    for i, row in enumerate(summary.rows):
        for j, name in enumerate(summary.columns):
            strong = abs(grid[i][j]) > 0.6 * _STRONGEST
            axes.text(
                j, i, report.brief(row, name), ha="center", va="center", fontsize=7,
                color="#fefefe" if strong else "#010101", gid=f"value-{row}-{name}",
            )  # fmt: skip
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(summary.columns)), list(summary.columns), rotation=30, ha="left")
    axes.set_yticks(range(len(summary.rows)), list(summary.rows))
    axes.tick_params(length=0)
    axes.grid(visible=False)


def write_summaries(run: RunReport, folder: Path) -> tuple[Path, ...]:
    """Write a run's curves and matrices as SVG, PNG and PDF, each with a CSV of its numbers."""
    written: list[Path] = []
    for number, report in enumerate(run.summaries, 1):
        canvas = draw_summary(report)
        canvas.suptitle(report.title, fontsize=7, y=0.995)
        for kind in ("svg", "png", "pdf"):
            written.append(folder / f"summary{number}.{kind}")
            save(canvas, written[-1], kind)
        written.append(folder / f"summary{number}.csv")
        with written[-1].open("w", encoding="utf-8", newline="") as file:
            records = list(report.records())
            writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
    return tuple(written)


def spoken(report: SummaryReport) -> str:
    """What a drawing shows, for those who do not see it."""
    summary = report.summary
    shape = "lines over the levels of" if summary.kind == "curve" else "a matrix by"
    return f"{', '.join(summary.columns)}: {shape} {summary.axis}. The table below has all values."
