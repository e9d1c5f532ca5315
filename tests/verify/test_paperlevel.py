"""Points against the paper: what is in their error, by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from repro.spec.cells import Cell
from repro.studies.paper.figures import points
from repro.studies.paper.study import study
from repro.verify.paperlevel import against_paper
from repro.verify.published import load_paper
from repro.verify.reading import read_results
from repro.verify.runscores import run_source
from repro.verify.seedspread import registered_spread
from repro.verify.verdicts import NumberVerdict

Make = Callable[..., Path]


def point_of(cell: Cell, folder: Path) -> NumberVerdict:
    """The verdict on the cell's point, from a results folder."""
    (run,) = read_results(folder).runs
    (point,) = [p for p in points(["2"]) if p.cells == (cell,)]
    published = {point: load_paper().of(point)}
    (found,) = against_paper(run, [point], published, run_source(run))
    return found


FT = Cell.parse("amazon-ft-2000.sst2.p1.2")
OWN = Cell.parse("base.sst2.p1.2")


def test_the_error_of_one_seed_by_hand(make: Make, tmp_path: Path) -> None:
    """Rows of both sides, and the spread over seeds of both sides: sqrt(p (1 - p)) each."""
    found = point_of(FT, make(tmp_path / "run", [FT, OWN], n=250))
    assert found.interval is not None
    value = load_paper().plotted["2", "e", "2k", 2].value
    p = (value * 250 + 1) / 252
    rows, seeds = 2 * p * (1 - p) / 250, 2 * 0.13**2 * p * (1 - p)
    df = (rows + seeds) ** 2 / (rows**2 / 249 + seeds**2 / 4)
    half = stats.t.ppf(0.975, df) * (rows + seeds) ** 0.5
    measured = (found.interval.high - found.interval.low) / 2
    assert measured == pytest.approx(half, rel=0.1)
    assert found.reason == f"1 seed, spread over seeds from {registered_spread(study()).source}"


def test_only_the_base_is_judged_without_a_spread_over_seeds(make: Make, tmp_path: Path) -> None:
    assert point_of(OWN, make(tmp_path / "run", [OWN], n=250)).reason == "the base has no seed"


def test_imported_fine_tunes_of_unknown_seed_have_a_spread(make: Make, tmp_path: Path) -> None:
    """Their seed is unknown, not absent: the same interval as with a seed that is known."""
    (run,) = read_results(make(tmp_path / "run", [FT, OWN], n=250)).runs
    cells = {(cell, None): replace(result, seed=None) for (cell, _), result in run.cells.items()}
    imported = replace(run, cells=cells)
    found = {}
    for name, one in (("known", run), ("unknown", imported)):
        (point,) = [p for p in points(["2"]) if p.cells == (FT,)]
        known = {point: load_paper().of(point)}
        (found[name],) = against_paper(one, [point], known, run_source(one))
    assert found["unknown"].interval == pytest.approx(found["known"].interval)
    assert "spread over seeds from" in found["unknown"].reason


def test_a_bar_says_how_much_too_high_it_may_read(make: Make, tmp_path: Path) -> None:
    bar = next(point for point in points(["5"]) if point.series == "FC1")
    (run,) = read_results(make(tmp_path / "run", bar.cells, n=250)).runs
    source = run_source(run)
    (found,) = against_paper(run, [bar], {bar: load_paper().of(bar)}, source)
    measured = source(bar)
    assert measured is not None
    assert measured.optimism > 0.005
    told = f"the best of {len(bar.cells)} cells, which reads up to {measured.optimism:.3f} too high"
    assert told in found.reason
