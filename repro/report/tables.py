"""Terminal tables of a results folder: each panel of the figures with its scores."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from repro.paper.figures import PANELS, Point, points
from repro.paper.tasks import DATASETS, METRICS

Line = dict[str, Any]


def figure_tables(lines: Sequence[Line], figures: Sequence[str]) -> list[Table]:
    """One table a figure: a row a panel and series, a column a shot count.

    A score is the mean over the seeds that were run; bars show the best over their shot counts,
    marked with that count. What was not run is left empty, and panels without any score are
    left out.

    Args:
        lines: lines of results.jsonl, of one profile and protocol.
    """
    scores: dict[str, list[float]] = {}
    for line in lines:
        scores.setdefault(line["cell"], []).append(line["value"])
    means = {cell: sum(values) / len(values) for cell, values in scores.items()}
    tables = []
    for figure in figures:
        table = Table(title=f"Figure {figure}", title_justify="left", box=None, pad_edge=False)
        for heading in ("panel", "series", "scores, shots ascending"):
            table.add_column(heading, no_wrap=heading != "panel")
        for panel in (panel for panel in PANELS if panel.figure == figure):
            own = [p for p in points([figure]) if p.panel == panel.letter]
            series: dict[str, list[str]] = {}
            for point in own:
                text = _score(point, means)
                if text:
                    series.setdefault(point.series, []).append(text)
            dataset = DATASETS[panel.dataset]
            trained = f"{panel.train} to " if panel.train else ""
            title = f"({panel.letter}) {trained}{dataset.printed}, {panel.prompt}, "
            title += METRICS[dataset.task.kind]
            for index, (name, texts) in enumerate(series.items()):
                table.add_row(title if index == 0 else "", name, "  ".join(texts))
        if table.row_count:
            tables.append(table)
    return tables


def _score(point: Point, means: dict[str, float]) -> str:
    found = [(means[cell.name], cell.shots) for cell in point.cells if cell.name in means]
    if len(found) < len(point.cells):
        return ""
    value, shots = max(found, key=lambda pair: (pair[0], -pair[1]))
    return f"{value:.3f}" + (f" at {shots}" if len(point.cells) > 1 else "")
