"""Terminal tables of a results folder: each panel of the figures with its scores."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from repro.lines import read_lines
from repro.metrics import best_of
from repro.metrics.bestof import Rule
from repro.paper.figures import BEST, PANELS, Point, points
from repro.paper.tasks import DATASETS, METRICS

Line = dict[str, Any]


def figure_tables(
    folder: Path, lines: Sequence[Line], figures: Sequence[str], rule: Rule
) -> list[Table]:
    """One table a figure: a row a panel and series, a column a shot count.

    A score is the mean over the seeds that were run; bars are the best over their shot counts by
    the protocol's rule, with the counts chosen. What was not run is left empty, and panels
    without any score are left out.

    Args:
        folder: the results folder, for its samples.
        lines: of its results.jsonl, of one profile and protocol.
        rule: the protocol's `best_of`.
    """
    by_cell: dict[str, list[Line]] = {}
    for line in lines:
        by_cell.setdefault(line["cell"], []).append(line)
    tables = []
    for figure in figures:
        table = Table(title=f"Figure {figure}", title_justify="left", box=None, pad_edge=False)
        for heading in ("panel", "series", "scores, shots ascending"):
            table.add_column(heading, no_wrap=heading != "panel")
        every = points([figure], every_shot=rule != "smallest")
        for panel in (panel for panel in PANELS if panel.figure == figure):
            series: dict[str, list[str]] = {}
            for point in (point for point in every if point.panel == panel.letter):
                text = _score(folder, point, by_cell, rule)
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


def _score(folder: Path, point: Point, by_cell: dict[str, list[Line]], rule: Rule) -> str:
    if not all(cell.name in by_cell for cell in point.cells):
        return ""
    if point.shots != BEST:
        return f"{fmean(line['value'] for line in by_cell[point.cells[0].name]):.3f}"
    seeds = {line["seed"] for line in by_cell[point.cells[0].name]}
    best = []
    for seed in sorted(seeds, key=lambda seed: seed or 0):
        samples = {}
        for cell in point.cells:
            own = [line for line in by_cell[cell.name] if line["seed"] == seed]
            if own:
                samples[cell.shots] = read_lines(folder / own[0]["samples"])
        best.append(best_of(samples, rule))
    chosen = sorted({shots for found in best for shots in found.chosen})
    return f"{fmean(found.value for found in best):.3f} at {', '.join(map(str, chosen))}"
