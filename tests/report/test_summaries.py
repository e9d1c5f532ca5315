"""Curves and matrices of a study: their numbers, and that all faces show them."""

import csv
import io
import json
import math
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console
from scipy.stats import t as student

from repro.errors import ReproError
from repro.report import html, terminal
from repro.report.export import to_json
from repro.report.markdown import markdown
from repro.report.model import Report, report
from repro.report.summaries import DEPARTED, SummaryReport, departures
from repro.report.summarycharts import draw_summary, write_summaries
from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.spec.study import Study
from repro.studies.file import parse

make: Callable[..., Path] = runpy.run_path(
    str(Path(__file__).parents[1] / "verify" / "conftest.py")
)["write_results"]

TABLE = {
    "question": "Does more training cost more?",
    "extends": "paper",
    "cells": [
        {
            "variants": [
                "base",
                "xsum-ft-2000",
                "xsum-ft-4000",
                "amazon-ft-2000",
                "amazon-ft-4000",
            ],
            "datasets": ["xsum", "xlsum", "amazon", "sst2", "yelp"],
            "shots": [0, 2],
        }
    ],
    "curves": [
        {
            "title": "Size",
            "axis": "training samples",
            "levels": [2000, 4000],
            "lines": {
                "FT": ["{train}-ft-2000", "{train}-ft-4000"],
                "half": ["", "{train}-ft-4000"],
            },
            "train": ["xsum", "amazon"],
            "where": ["other tasks", "in domain"],
            "shots": ["0", "few"],
        }
    ],
    "matrices": [
        {"title": "All pairs", "models": {"XSum": "xsum-ft-2000", "Amazon": "amazon-ft-2000"}}
    ],
}
SEEDS = (1, 2, 3)


def study(**changed: object) -> Study:
    return parse(TABLE | changed, name="sizes", where="sizes.toml")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Report:
    home, asked = tmp_path_factory.mktemp("sizes"), study()
    skill = {cell: 0.3 + 0.4 * (cell.variant.train == "xsum") for cell in asked.cells()}
    folder = make(home / "run", asked.cells(), seeds=SEEDS, n=30, skill=skill)
    return report(folder, expected=tmp_path_factory.mktemp("nothing stored"), study=asked)


def score(found: Report, name: str, seed: int | None) -> float:
    cells = found.runs[0].verified.run.cells
    return cells[Cell.parse(name), seed if "base" not in name else None].value


def test_a_curve_averages_test_sets_and_seeds_of_the_kind_asked_for(found: Report) -> None:
    titles = [one.summary.title for one in found.runs[0].summaries]
    assert titles == [
        "Size, other tasks, 0-shot",
        "Size, other tasks, with examples",
        "Size, in domain, 0-shot",
        "Size, in domain, with examples",
        "All pairs, 0-shot",
    ]
    other = found.runs[0].summaries[1]
    assert set(other.values) == {("2000", "FT"), ("4000", "FT"), ("4000", "half")}
    sets = {"amazon": "xsum", "sst2": "xsum", "yelp": "xsum", "xsum": "amazon", "xlsum": "amazon"}
    grid = np.array(
        [
            [
                score(found, f"{train}-ft-4000.{name}.p1.2", seed)
                - score(found, f"base.{name}.p1.2", None)
                for seed in SEEDS
            ]
            for name, train in sets.items()
        ]
    )
    value = other.values["4000", "FT"]
    assert value.effect == pytest.approx(grid.mean())
    assert (value.sets, value.seeds, value.pairs) == (5, 3, 5)
    parts = [grid.mean(axis=1).var(ddof=1) / 5, grid.mean(axis=0).var(ddof=1) / 3]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 2)
    half = student.ppf(0.975, df) * math.sqrt(sum(parts))
    assert value.interval == pytest.approx((grid.mean() - half, grid.mean() + half))


def test_places_of_which_some_cells_were_not_run_are_empty_and_no_row_is_empty(
    found: Report, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked, home = study(), tmp_path_factory.mktemp("fewer")
    cells = [cell for cell in asked.cells() if cell.name != "xsum-ft-4000.sst2.p1.0"]
    skill = dict.fromkeys(cells, 0.5)
    folder = make(home / "run", cells, seeds=SEEDS, n=30, skill=skill)
    (run,) = report(folder, expected=tmp_path_factory.mktemp("none"), study=asked).runs
    assert set(run.summaries[0].values) == {("2000", "FT")}
    assert (run.summaries[0].summary.rows, run.summaries[0].summary.columns) == (("2000",), ("FT",))
    assert set(run.summaries[1].values) == set(found.runs[0].summaries[1].values)


def test_all_faces_show_each_place(found: Report) -> None:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    terminal.show(console, found, None, full=False)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert len(told.splitlines()) <= terminal.LINES
    page, text = html.page(found), markdown(found)
    (run,) = json.loads(to_json(found))["runs"]
    assert [len(one["values"]) for one in run["summaries"]] == [3, 3, 3, 3, 10]
    assert "<image" not in page, "drawings are lines and texts"
    for one, records in zip(found.runs[0].summaries, run["summaries"], strict=True):
        for row, column in one.values:
            assert f">{one.whole(row, column)}<" in page
            assert one.whole(row, column) in text
        assert one.title == records["title"]
    first = found.runs[0].summaries[0]
    line = next(line for line in told.splitlines() if line.startswith("  FT "))
    assert line.split()[1:] == [first.brief(level, "FT") for level in ("2000", "4000")]


def test_weights_and_labels_that_moved_stand_beside(found: Report) -> None:
    run = found.runs[0].verified.run
    (row,) = (row for row in departures(run) if row.variant.name == "xsum-ft-4000")
    changes = [run.tuned[row.variant, seed].weight_change for seed in SEEDS]
    assert row.weight_change == pytest.approx(np.mean([change for change in changes if change]))
    assert row.zero_shot is None, "these lines tell of no histograms"
    moved = replace_histograms(run)
    (row,) = (row for row in departures(moved) if row.variant.name == "xsum-ft-4000")
    assert row.zero_shot == pytest.approx(0.3)
    text = markdown(found)
    assert "xsum-ft-4000" in text[text.index(DEPARTED) :]


def replace_histograms(run: Run) -> Run:
    """The base says "positive" in 6 of 10 rows, fine-tunes in 9."""
    cells = {}
    for (cell, seed), result in run.cells.items():
        count = 6 if seed is None else 9
        labels = {"positive": count, "negative": 10 - count}
        raw = dict(result.raw) | ({"histogram": labels} if result.metric == "accuracy" else {})
        cells[cell, seed] = replace(result, raw=raw)
    return replace(run, cells=cells)


def test_drawings_hold_the_values(found: Report, tmp_path: Path) -> None:
    run = found.runs[0]
    curve, matrix = run.summaries[0], run.summaries[-1]
    lines = {line.get_gid(): line for line in draw_summary(curve).axes[0].lines}
    drawn = list(lines["line-FT"].get_ydata())
    assert drawn == [curve.values[level, "FT"].effect for level in ("2000", "4000")]
    texts = {text.get_gid(): text.get_text() for text in draw_summary(matrix).axes[0].texts}
    assert texts["value-SST2-XSum"] == matrix.brief("SST2", "XSum")
    assert re.fullmatch(r"[+-]\d\.\d{3}\*?", texts["value-SST2-XSum"])
    write_summaries(run, tmp_path)
    rows = list(csv.DictReader((tmp_path / "summary5.csv").read_text().splitlines()))
    assert {(row["row"], row["column"]) for row in rows} == set(matrix.values)


@pytest.mark.parametrize(
    "levels",
    [("label", "in a sentence", "20 wordings", "with a reason"), ("125", "500", "2000", "6000")],
)
def test_names_of_levels_can_be_read_and_lines_told_apart(
    found: Report, levels: tuple[str, ...]
) -> None:
    curve = found.runs[0].summaries[0]
    lines, value = tuple("abcdefg"), next(iter(curve.values.values()))
    summary = replace(curve.summary, rows=levels, columns=lines)
    values = {(level, line): value for level in levels for line in lines}
    canvas = draw_summary(SummaryReport(summary, values))
    FigureCanvasAgg(canvas).draw()
    axes = canvas.axes[0]
    names = axes.get_xticklabels()
    boxes = [name.get_window_extent() for name in names]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= canvas.bbox.x1 for box in boxes)
    assert names[0].get_rotation() or all(a.x1 < b.x0 for a, b in pairwise(boxes))
    drawn = [line for line in axes.lines if str(line.get_gid()).startswith("line-")]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == len(lines)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"lines": {"FT": ["{train}-ft-2000"]}}, r"curves\[0\]: FT has 1 variants, not 2"),
        (
            {"lines": {"FT": ["{train}-ft-2000", "xsum-ft-6000"]}},
            "no cell of xsum-ft-6000 is other tasks at 0-shot",
        ),
        ({"where": ["abroad"]}, r"curves\.0\.where|curves\[0\]\.where\[0\]"),
    ],
)
def test_a_curve_without_cells_is_refused(changed: dict[str, object], what: str) -> None:
    with pytest.raises(ReproError, match=what):
        study(curves=[TABLE["curves"][0] | changed])  # type: ignore[index]
