"""The drawings hold the paper's numbers and the run's, and no others."""

import csv
import json
import math
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.report import charts
from repro.report.model import Plotted, Report, report
from repro.studies.paper.figures import FIGURES, cells

TESTS = Path(__file__).parents[1]
PAPER = TESTS.parent / "expected_results" / "paper"
write_results: Callable[..., Path] = runpy.run_path(str(TESTS / "verify" / "conftest.py"))[
    "write_results"
]
LEFT_OUT = "xsum-ft-4000.xsum.p1.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted = [cell for cell in cells() if cell.name != LEFT_OUT]
    return write_results(tmp_path_factory.mktemp("charts") / "a", wanted, n=20)


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report(folder, expected=tmp_path_factory.mktemp("nothing stored"))


def paper_points(figure: str) -> list[dict]:
    return json.loads((PAPER / f"figure{figure}.json").read_text())["points"]


def artists(canvas: Figure, kind: type) -> dict[str, object]:
    """The named artists of a drawing."""
    every = [artist for axes in canvas.axes for artist in axes.findobj(kind)]
    return {artist.get_gid(): artist for artist in every if artist.get_gid()}


@pytest.mark.parametrize("figure", FIGURES)
def test_every_number_of_the_paper_and_of_the_run_is_drawn(
    found: Report, folder: Path, figure: str
) -> None:
    canvas = charts.draw(found.runs[0], figure)
    lines = artists(canvas, Line2D)
    drawn = {name: list(line.get_ydata()) for name, line in lines.items()}

    wanted: dict[str, list[float]] = {}
    for point in paper_points(figure):
        name = f"paper-{figure}{point['panel']}-{point['series']}"
        wanted.setdefault(name, []).append(point["value"])
    assert {name: y for name, y in drawn.items() if name.startswith("paper-")} == wanted

    # Ours, for points of one cell, straight from the results file.
    read = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    values = {line["cell"]: line["value"] for line in read}
    for panel in found.runs[0].of_figure(figure):
        for series, points in panel.series.items():
            if points[0].point.shots == "best":
                continue
            own = [values.get(item.point.cells[0].name, math.nan) for item in points]
            name = f"ours-{figure}{panel.panel.letter}-{series}"
            np.testing.assert_allclose(drawn[name], own, rtol=1e-12)

    # Each panel is where the paper has it.
    titles = [axes.get_title()[1] for axes in canvas.axes]
    assert titles == sorted({point["panel"] for point in paper_points(figure)})
    assert all(axes.get_ylabel() in ("accuracy", "ROUGE-L F1") for axes in canvas.axes)
    assert len(canvas.legends) == 1


def test_whiskers_span_the_intervals_and_best_bars_stand_at_their_values(found: Report) -> None:
    canvas = charts.draw(found.runs[0], "4")
    lines, whiskers = artists(canvas, Line2D), artists(canvas, LineCollection)
    checked = 0
    for panel in found.runs[0].of_figure("4"):
        for series, (item,) in panel.series.items():
            name = f"4{panel.panel.letter}-{series}"
            assert list(lines[f"ours-{name}"].get_ydata()) == [item.ours]
            (segment,) = whiskers[f"whiskers-{name}"].get_segments()
            assert segment[:, 1].tolist() == pytest.approx(list(item.interval))
            checked += 1
    assert checked == len(paper_points("4"))
    assert all(axes.get_ylim()[0] == 0 for axes in canvas.axes)


def test_what_was_not_run_is_a_gap(found: Report) -> None:
    drawn = artists(charts.draw(found.runs[0], "1"), Line2D)
    assert np.isnan(drawn["ours-1a-4k"].get_ydata()).tolist() == [False, True, False, False]
    assert not np.isnan(drawn["paper-1a-4k"].get_ydata()).any()


def test_series_differ_by_marker_and_by_colour(found: Report) -> None:
    for figure in FIGURES:
        looks = charts.looks(found.runs[0], figure)[:-2]  # without whose values they are
        assert len({look.marker for look in looks}) == len(looks)
        assert len({look.colour for look in looks}) == len(looks)


def test_files_hold_the_numbers_and_two_writes_give_the_same_bytes(
    found: Report, tmp_path: Path
) -> None:
    (run,) = found.runs
    own = run.verified.run
    four = replace(own, study=replace(own.study, figures={"4": own.study.figures["4"]}))
    run = replace(run, verified=replace(run.verified, run=four))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        charts.write_figures(run, tmp_path / name)
    files = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in files] == [
        "figure4.csv", "figure4.pdf", "figure4.png", "figure4.svg",
    ]  # fmt: skip
    assert all(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in files)
    assert b"<text" in files[-1].read_bytes()

    rows = list(csv.DictReader((tmp_path / "a" / "figure4.csv").read_text().splitlines()))
    wanted = paper_points("4")
    assert len(rows) == len(wanted)
    for row, point in zip(rows, wanted, strict=True):
        shown = (row["panel"], row["series"], row["shots"], float(row["paper"]))
        assert shown == (point["panel"], point["series"], str(point["shots"]), point["value"])
        assert float(row["reading_error"]) == point["error"]
        assert float(row["low"]) <= float(row["ours"]) <= float(row["high"])
        assert (row["n"], row["seeds"]) == ("20", "" if row["series"][0] == "B" else "42")


def test_the_csv_leaves_empty_what_was_not_run(found: Report) -> None:
    rows = list(charts.csv_rows(found.runs[0].of_figure("1")))
    empty = [row for row in rows if row["ours"] is None]
    assert [(row["panel"], row["series"], row["shots"]) for row in empty] == [("a", "4k", 1)]
    assert empty[0]["n"] is None
    assert empty[0]["low"] is None


def test_user_settings_do_not_change_a_drawing(found: Report) -> None:
    import matplotlib

    panel = found.runs[0].panels[0]
    plain = charts.svg_text(charts.draw_panel(panel))
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": False}):
        assert charts.svg_text(charts.draw_panel(panel)) == plain


def test_a_point_keeps_its_look_in_all_figures(found: Report) -> None:
    def look(item: Plotted) -> str:
        return charts.style_of(item).colour

    panels = {panel.panel.figure + panel.panel.letter: panel for panel in found.runs[0].panels}
    base = {look(panels["1a"].series["0"][0]), look(panels["3a"].series["llama2"][0])}
    assert base == {look(panels["4a"].series["B1"][0])}
