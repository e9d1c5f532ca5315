"""Where a comparison of cells could claim more than its rows and runs bear."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repro.paper.claims import claims
from repro.paper.figures import cells
from repro.verify.levels import hold_against
from repro.verify.reference import load_reference, record
from repro.verify.results import Run, read_results
from repro.verify.verdicts import Level, Verdict

CELL = "xsum-fticl1-2000.peerread.p1.1"
Make = Callable[..., Path]


def test_one_stored_run_alarms_no_more_than_the_size_of_the_grid_explains(
    make: Make, tmp_path: Path
) -> None:
    """A/A of single runs, rows only: what chance puts outside is taken back over the grid.

    Rows are drawn anew for each cell, so that 5 % of the cells are outside on average.
    """
    wanted = list(cells())[:140]
    stored = record([make(tmp_path / "a", wanted, seeds=(1,), n=30)], tmp_path / "ref")
    (ours,) = read_results(make(tmp_path / "b", wanted, seeds=(2,), n=30, noise="B")).runs
    reference = load_reference(stored).run
    rng = np.random.default_rng(7)

    def redrawn(run: Run) -> Run:
        drawn = {}
        for place, result in run.cells.items():
            assert result.outcomes is not None
            scores = rng.normal(0.5, 0.1, 30)
            outcomes = replace(result.outcomes, scores=scores)
            drawn[place] = replace(result, outcomes=outcomes, value=float(scores.mean()))
        return replace(run, cells=drawn)

    outside = inconclusive = 0
    for _ in range(10):
        found = [n for n in hold_against(redrawn(ours), redrawn(reference)) if n.seeds]
        assert all(n.stored == 1 for n in found)
        outside += sum(n.outside for n in found)
        inconclusive += sum(n.verdict is Verdict.INCONCLUSIVE for n in found)
        assert Verdict.REPRODUCED not in {n.verdict for n in found}
    assert outside >= 0.03 * 10 * len(found)
    assert inconclusive <= 3


def flat(run: Run, scores: np.ndarray, outputs: tuple[str, ...]) -> Run:
    changed = {}
    for place, result in run.cells.items():
        assert result.outcomes is not None
        n = len(scores)
        outcomes = replace(
            result.outcomes,
            rows=np.arange(n),
            inputs=np.full(n, b"same"),
            scores=scores,
            outputs=outputs,
            gaps=None if result.outcomes.gaps is None else np.ones(n),
        )
        value = float(scores.mean())
        changed[place] = replace(
            result,
            outcomes=outcomes,
            value=value,
            n=n,
            key=f"{run.folder}",
            samples_sha256=outputs[0],
        )
    return replace(run, cells=changed)


@pytest.mark.parametrize(("n", "verdict"), [(20, "CONSISTENT"), (250, "REPRODUCED")])
def test_equal_scores_of_other_outputs_are_shown_equal_only_by_enough_rows(
    make: Make, tmp_path: Path, n: int, verdict: str
) -> None:
    """All rows are wrong on both sides, by other labels: no change in 20 rows says little (5 % of
    rows may change, with a chance of a third to see none), none in 250 much.
    """
    wanted = [cell for cell in cells() if cell.name == "base.mnli1.p1.3"]
    (run,) = read_results(make(tmp_path / "a", wanted)).runs
    other = replace(run, folder=tmp_path)
    (number,) = hold_against(
        flat(run, np.zeros(n), ("neutral",) * n), flat(other, np.zeros(n), ("entailment",) * n)
    )
    assert (number.level, number.verdict) == (Level.L1, verdict)
    (equal,) = hold_against(
        flat(run, np.zeros(n), ("neutral",) * n),
        flat(other, np.zeros(n), ("neutral",) * n),
        level=Level.L1,
    )
    assert equal.verdict is Verdict.REPRODUCED


def test_the_floor_grows_where_fewer_rows_are_compared(make: Make, tmp_path: Path) -> None:
    """ROUGE-L of 5 seeds that agree by luck, on a quarter of the stored rows: twice the error."""
    wanted = [cell for cell in cells(["4"]) if cell.name == CELL]
    stored = record([make(tmp_path / "a", wanted, seeds=(1, 2, 3, 4, 5), n=200)], tmp_path / "ref")
    reference = load_reference(stored).run
    (run,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=200, noise="B")).runs

    def width(rows: int) -> float:
        def same_scores(old: Run) -> Run:
            found = {}
            for place, result in old.cells.items():
                assert result.outcomes is not None
                one = replace(result.outcomes, scores=np.full(200, 0.3))
                found[place] = replace(result, value=0.3, stderr=0.02, outcomes=one)
            return replace(old, cells=found)

        def cut(old: Run) -> Run:
            found = {}
            for place, result in same_scores(old).cells.items():
                assert result.outcomes is not None
                few = result.outcomes.at(np.arange(rows))
                found[place] = replace(result, n=rows, outcomes=few)
            return replace(old, cells=found)

        (number,) = hold_against(cut(run), same_scores(reference))
        assert number.interval is not None
        return number.interval.high - number.interval.low

    assert width(50) == pytest.approx(2 * width(200))


def test_simulated_a_a_runs_raise_few_alarms(make: Make, tmp_path: Path) -> None:
    """200 runs of the same process against five stored ones, cell by cell, on values alone.

    Unadjusted, 5% fall outside their interval; the verdict adjusts for the number of cells, so
    that a run with any NOT REPRODUCED is rare too.
    """
    wanted = [cell for cell in claims()["C7"].cells() if cell.variant.name != "base"][:24]
    stored = record([make(tmp_path / "a", wanted, seeds=range(1, 6), n=30)], tmp_path / "ref")
    reference = load_reference(stored).run
    (template,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=30, noise="B")).runs
    rng = np.random.default_rng(0)
    spread = 0.12  # far above the binomial floor, so that the floor does not hide the rate

    def lucky(run: Run) -> Run:
        cells = {
            place: replace(result, value=0.5 + spread * rng.normal(), outcomes=None, n=2500)
            for place, result in run.cells.items()
        }
        return replace(run, cells=cells)

    outside = alarms = 0
    for _ in range(200):
        found = hold_against(lucky(template), lucky(reference))
        outside += sum(number.outside for number in found)
        alarms += any(number.verdict == Verdict.NOT_REPRODUCED for number in found)
    cells_judged = 200 * len(wanted)
    assert outside / cells_judged == pytest.approx(0.05, abs=0.015)
    assert alarms / 200 <= 0.05 + 4 * (0.05 * 0.95 / 200) ** 0.5
