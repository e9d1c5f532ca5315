"""The paper's seven figures drawn again, its values and ours in the same colours.

The paper's values are hollow and dashed, ours solid with their 95 % intervals. Series differ by
marker as well as by colour, and colours keep a contrast of 3 : 1 on white and on near-black. Bars
start at 0, unlike the paper's.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.report.export import point_row, to_csv
from repro.report.model import PanelReport, Plotted, RunReport
from repro.spec.cells import BASE

METRIC_NAMES = {"accuracy": "accuracy", "rougeL": "ROUGE-L F1"}
_COLUMNS = (
    "panel", "series", "shots", "paper", "reading_error", "ours", "low", "high", "n", "seeds",
    "verdict",
)  # fmt: skip
_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # names of users' studies may hold dollars
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine has it
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "svg.hashsalt": "repro",
    "svg.fonttype": "none",  # text stays text: to be searched, read aloud and kept small
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
_NO_DATES = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Style:
    """How a series looks; hollow and dashed for the paper's values."""

    colour: str
    marker: str
    label: str
    hollow: bool = False


_BASE = ("#6a737b", "o")
LOOKS = (("#0072b2", "s"), ("#d55e00", "^"), ("#008a6b", "D"), ("#b8609f", "v"), ("#987500", "P"))
"""Colour and marker of series, but for the base's."""
_LINE_STYLES = {
    "0": Style(*_BASE, "base"),
    "llama2": Style(*_BASE, "base"),
    **{
        label.lower(): Style(*look, label)
        for labels in (("2k", "4k", "6k"), ("XSum", "Socialqa", "Amazon", "MNLI", "Paws"))
        for look, label in zip(LOOKS, labels, strict=False)
    },
}
_BAR_STYLES = {
    "base": Style(*_BASE, "B: base, by shots"),
    "fticl": Style(*LOOKS[0], "FC: FTICL, by training examples"),
    "ft": Style(*LOOKS[1], "FT: fine-tuned"),
}


def style_of(plotted: Plotted, place: int = 0) -> Style:
    """The look of a point's series.

    Args:
        place: of the series in its panel, for series that the paper does not have.
    """
    point = plotted.point
    if point.series in _LINE_STYLES:
        return _LINE_STYLES[point.series]
    if plotted.published is not None:
        return _BAR_STYLES[point.variant.method]
    if point.variant == BASE:
        return Style(*_BASE, point.series)
    return Style(*LOOKS[place % len(LOOKS)], point.series)


def metric_of(report: PanelReport) -> str:
    """What a panel's values are, as its axis says."""
    return METRIC_NAMES[report.panel.metric]


def spoken(report: PanelReport) -> str:
    """What a panel's drawing shows, for those who do not see it."""
    paper, ours = len(report.points), sum(item.ours is not None for item in report.points)
    known = any(item.published for item in report.points)
    return (
        f"{metric_of(report)} of {', '.join(report.series)}: "
        + ("bars" if report.panel.train else "lines over the number of in-context examples")
        + (f", the paper's {paper} values hollow and dashed" if known else "")
        + f", this run's {ours} solid. The table of this panel has all values."
    )


@contextmanager
def settings() -> Iterator[None]:
    """The kit's own drawing settings, whatever the user's are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def draw(run: RunReport, figure: str) -> Figure:
    """A whole figure in the paper's layout. Artists are named `paper-1a-2k`, `ours-1a-2k`."""
    known = run.verified.run.study.figures[figure]
    panels, columns = run.of_figure(figure), known.columns
    rows = math.ceil(len(panels) / columns)
    bottom = 0.6 if panels[0].panel.train else 0.85  # bars have no title below
    width, height = 2.5 * columns, 2.15 * rows + 0.05 + bottom
    with settings():
        canvas = Figure(figsize=(width, height))
        canvas.suptitle(f"Figure {figure}. {known.title}", fontsize=10, y=1 - 0.16 / height)
        for index, panel in enumerate(panels):
            axes = canvas.add_subplot(rows, columns, index + 1)
            axes.set_title(panel.title)
            _draw_panel(axes, panel)
        handles = list(map(_handle, looks(run, figure)))
        canvas.legend(
            handles=handles, loc="lower center", ncols=len(handles), bbox_to_anchor=(0.5, 0)
        )
        # In inches, so that panels of all figures are of one size; matplotlib's own layout
        # engines take longer than the drawing.
        left, right, top, wide, high = 0.55, 0.1, 0.55, 0.6, 0.75
        canvas.subplots_adjust(
            left=left / width,
            right=1 - right / width,
            top=1 - top / height,
            bottom=bottom / height,
            wspace=wide * columns / (width - left - right - wide * (columns - 1)),
            hspace=high * rows / (height - top - bottom - high * (rows - 1)),
        )
    return canvas


def draw_panel(report: PanelReport) -> Figure:
    """One panel by itself, without title and legend."""
    with settings():
        canvas = Figure(figsize=(2.9, 2.1))
        bottom = 0.11 if report.panel.train else 0.2  # bars have no title below
        canvas.subplots_adjust(left=0.17, right=0.99, bottom=bottom, top=0.97)
        _draw_panel(canvas.add_subplot(), report)
    return canvas


def looks(run: RunReport, figure: str) -> tuple[Style, ...]:
    """All that a figure's legend explains: series, then whose values they are."""
    found = [
        style_of(item, place)
        for panel in run.of_figure(figure)
        for place, own in enumerate(panel.series.values())
        for item in own
    ]
    if run.verified.run.study.published:
        found.append(Style("#000000", "o", "the paper", hollow=True))
    found.append(Style("#000000", "o", "this run, with its 95 % interval"))
    return tuple(dict.fromkeys(found))


def draw_swatch(look: Style) -> Figure:
    """The legend's sign for a look."""
    with settings():
        canvas = Figure(figsize=(0.36, 0.14))
        canvas.add_artist(_handle(look, x=(0.05, 0.5, 0.95), y=(0.5, 0.5, 0.5)))
    return canvas


def _handle(look: Style, x: Sequence[float] = (), y: Sequence[float] = ()) -> Line2D:
    fill: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "white"} if look.hollow else {}
    line = Line2D(x, y, color=look.colour, marker=look.marker, label=look.label, **fill)
    line.set_markevery([1] if len(x) else None)
    return line


def _draw_panel(axes: Axes, report: PanelReport) -> None:
    axes.set_ylabel(metric_of(report))
    if report.panel.train:
        _draw_bars(axes, report)
    else:
        _draw_lines(axes, report)


def _draw_lines(axes: Axes, report: PanelReport) -> None:
    shots = sorted({float(item.point.shots) for item in report.points})
    step = 0.025 * (shots[-1] - shots[0])
    for index, (series, points) in enumerate(report.series.items()):
        look = style_of(points[0], index)
        # Side by side, so that series of equal values do not hide each other.
        aside = step * (index - (len(report.series) - 1) / 2)
        x = [float(item.point.shots) + aside for item in points]
        name, colour = f"{report.name}-{series}", look.colour
        low, high = zip(*(item.interval or (math.nan, math.nan) for item in points), strict=True)
        shade = f"interval-{name}"
        axes.fill_between(x, low, high, color=colour, alpha=0.09, linewidth=0, gid=shade)
        # A shade needs two neighbours; whiskers show the interval of a lone point too.
        axes.vlines(x, low, high, color=colour, linewidth=0.7, gid=f"whiskers-{name}")
        _plot(axes, x, [item.paper for item in points], look, f"paper-{name}", linestyle="--")
        _plot(axes, x, [item.ours for item in points], look, f"ours-{name}")
    axes.set_xlabel("in-context examples (shots)")
    axes.set_xticks(shots)
    axes.xaxis.set_major_formatter("{x:.0f}")


def _draw_bars(axes: Axes, report: PanelReport) -> None:
    for place, (series, (item,)) in enumerate(report.series.items()):
        look, left, right = style_of(item), place - 0.2, place + 0.2
        name, colour = f"{report.name}-{series}", look.colour
        paper = math.nan if item.paper is None else item.paper
        axes.bar(left, paper, 0.34, fill=False, edgecolor=colour, linestyle="--")
        # A marker on top shows a value of 0 too, which no bar does.
        _plot(axes, [left], [item.paper], look, f"paper-{name}", linestyle="none")
        if item.ours is None or item.interval is None:
            continue
        axes.bar(right, item.ours, 0.34, color=colour, alpha=0.35)
        axes.vlines(right, *item.interval, color=colour, linewidth=1, gid=f"whiskers-{name}")
        _plot(axes, [right], [item.ours], look, f"ours-{name}", linestyle="none")
    axes.set_xticks(range(len(report.series)), list(report.series))
    axes.set_ylim(bottom=0)


def _plot(
    axes: Axes, x: list[float], values: list[float | None], look: Style, name: str, **line: Any
) -> None:
    """A line through values, the paper's with hollow marks and ours with small ones."""
    y = [math.nan if value is None else value for value in values]
    line |= {"markerfacecolor": "white"} if name.startswith("paper-") else {"markersize": 4}
    axes.plot(x, y, color=look.colour, marker=look.marker, gid=name, **line)


def save(canvas: Figure, path: Path | io.BytesIO, kind: str) -> None:
    """Write a drawing as svg, png or pdf: the same drawing gives the same bytes."""
    with settings():
        canvas.savefig(path, format=kind, metadata=_NO_DATES[kind])


def svg_text(canvas: Figure) -> str:
    """A drawing as SVG."""
    buffer = io.BytesIO()
    save(canvas, buffer, "svg")
    return buffer.getvalue().decode("utf-8")


def csv_rows(panels: Sequence[PanelReport]) -> Iterator[dict[str, object]]:
    """The numbers behind a figure, a row a point; empty fields for what was not run."""
    for item in (item for panel in panels for item in panel.points):
        row = point_row(item)
        row |= {"reading_error": row["paper_error"], "n": item.n or None}
        yield {name: row[name] for name in _COLUMNS}


def write_drawing(canvas: Figure, rows: Iterable[dict[str, Any]], folder: Path, name: str) -> None:
    """Write a drawing as SVG, PNG and PDF, and the numbers behind it as CSV."""
    for kind in ("svg", "png", "pdf"):
        save(canvas, folder / f"{name}.{kind}", kind)
    (folder / f"{name}.csv").write_text(to_csv(rows), encoding="utf-8", newline="")


def write_figures(run: RunReport, folder: Path) -> None:
    """Write all figures of a run."""
    for figure in run.verified.run.study.figures:
        rows = csv_rows(run.of_figure(figure))
        write_drawing(draw(run, figure), rows, folder, f"figure{figure}")
