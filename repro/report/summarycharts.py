"""Curves over the levels of a factor, and matrices of test sets by models, drawn."""

import math
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from repro.report.charts import LOOKS, settings, write_drawing
from repro.report.model import RunReport
from repro.report.summaries import SummaryReport

_LOOKS = (*LOOKS, ("#6a737b", "o"), ("#000000", "X"))
_STRONGEST = 0.5
"""The difference from which on a matrix is of full colour, so that all share a scale."""


def draw_summary(report: SummaryReport) -> Figure:
    """A curve or a matrix by itself. Lines are named `line-NAME`, texts `value-ROW-COLUMN`."""
    with settings():
        if report.summary.kind == "curve":
            legend = 0.15 + 0.14 * math.ceil(len(report.summary.columns) / 2)
            below = 0.85 if _slanted(report) else 0.45
            height = below + 1.4 + legend
            canvas = Figure(figsize=(3.4, height))
            canvas.subplots_adjust(
                left=0.2, right=0.97, bottom=below / height, top=1 - legend / height
            )
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


def _slanted(report: SummaryReport) -> bool:
    """Whether the names of a curve's levels are too long to stand side by side."""
    return sum(len(row) + 2 for row in report.summary.rows) > 45


def _draw_curve(axes: Axes, report: SummaryReport) -> None:
    summary = report.summary
    axes.axhline(0, color="#000000", linewidth=0.7)
    for place, name in enumerate(summary.columns):
        colour, marker = _LOOKS[place % len(_LOOKS)]
        # Levels stand apart evenly, lines a little aside so that whiskers do not hide each other.
        shift = 0.05 * (place - (len(summary.columns) - 1) / 2)
        levels = enumerate(summary.rows)
        there = {i + shift: v for i, row in levels if (v := report.values.get((row, name)))}
        low, high = ([value.interval[end] for value in there.values()] for end in (0, 1))
        effects = [value.effect for value in there.values()]
        x = list(there)
        axes.vlines(x, low, high, color=colour, linewidth=0.8, gid=f"whiskers-{name}")
        (line,) = axes.plot(x, effects, color=colour, marker=marker, markersize=4, label=name)
        line.set_gid(f"line-{name}")
    axes.set_xticks(range(len(summary.rows)), list(summary.rows))
    if _slanted(report):
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xlabel(summary.axis)
    axes.set_ylabel("difference of scores")
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.16, 1), ncols=2, frameon=False, fontsize=6.5,
        handlelength=1.5, borderpad=0, columnspacing=1,
    )  # fmt: skip
    # Whiskers that are far longer than what is to be seen would flatten the lines.
    effects = [value.effect for value in report.values.values()] + [0.0]
    room = max(0.05, 0.6 * (max(effects) - min(effects)))
    axes.set_ylim(min(effects) - room, max(effects) + room)


def _draw_matrix(axes: Axes, report: SummaryReport) -> None:
    summary = report.summary
    colours = matplotlib.colormaps["RdBu"]
    for (row, name), value in report.values.items():
        i, j = summary.rows.index(row), summary.columns.index(name)
        share = max(-1.0, min(1.0, value.effect / _STRONGEST))
        # Not as an image, which an SVG inside a page would blur.
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colours((share + 1) / 2)))
        axes.text(
            j, i, report.brief(row, name), ha="center", va="center", fontsize=7,
            color="#fefefe" if abs(share) > 0.6 else "#010101", gid=f"value-{row}-{name}",
        )  # fmt: skip
    axes.set_xlim(-0.5, len(summary.columns) - 0.5)
    axes.set_ylim(len(summary.rows) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(summary.columns)), list(summary.columns), rotation=30, ha="left")
    axes.set_yticks(range(len(summary.rows)), list(summary.rows))
    axes.tick_params(length=0)
    axes.grid(visible=False)


def write_summaries(run: RunReport, folder: Path) -> None:
    """Write a run's curves and matrices, each with its numbers."""
    for number, report in enumerate(run.summaries, 1):
        canvas = draw_summary(report)
        canvas.suptitle(report.title, fontsize=7, y=0.995)
        write_drawing(canvas, report.records(), folder, f"summary{number}")


def spoken(report: SummaryReport) -> str:
    """What a drawing shows, for those who do not see it."""
    summary = report.summary
    shape = "lines over the levels of" if summary.kind == "curve" else "a matrix by"
    return f"{', '.join(summary.columns)}: {shape} {summary.axis}. The table below has all values."
