"""Where a comparison of cells could claim more than its rows and runs bear."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repro.results.runs import Run
from repro.studies.paper.claims import claims
from repro.studies.paper.figures import cells
from repro.studies.paper.study import study
from repro.verify.levels import compare_runs
from repro.verify.reading import read_results
from repro.verify.reference import load_reference, record
from repro.verify.retrained import SHARE
from repro.verify.statistics import ALPHA
from repro.verify.verdicts import Level, Verdict

Make = Callable[..., Path]


def test_the_levels_share_the_false_alarms_of_a_faithful_run() -> None:
    assert sum(SHARE.values()) <= ALPHA


@pytest.mark.parametrize("stored", [1, 2])
def test_few_stored_seeds_are_never_green_and_never_red(
    make: Make, tmp_path: Path, stored: int
) -> None:
    """Rows tell a difference, but not whether a seed explains it."""
    wanted = list(cells(["4"]))
    seeds = range(1, 1 + stored)
    kept = record([make(tmp_path / "a", wanted, seeds=seeds, n=30)], tmp_path / "ref")
    (ours,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=30, noise="B")).runs
    held = compare_runs(ours, load_reference(kept).run)
    tuned = [number for number in held.numbers if number.seeds]
    assert {number.verdict for number in tuned} <= {Verdict.CONSISTENT, Verdict.INCONCLUSIVE}
    assert all("the spread over seeds is unknown" in number.reason for number in tuned)
    assert held.groups == ()


def flat(run: Run, outputs: tuple[str, ...], gap: float = 1.0) -> Run:
    changed = {}
    n = len(outputs)
    for place, result in run.cells.items():
        assert result.outcomes is not None
        outcomes = replace(
            result.outcomes,
            rows=np.arange(n),
            inputs=np.full(n, b"same"),
            scores=np.zeros(n),
            outputs=outputs,
            gaps=np.full(n, gap),
        )
        changed[place] = replace(
            result, outcomes=outcomes, value=0.0, n=n, key=outputs[-1], samples_sha256=outputs[-1]
        )
    return replace(run, cells=changed)


@pytest.mark.parametrize("n", [20, 100, 250])
def test_equal_scores_of_other_labels_are_other_rows(make: Make, tmp_path: Path, n: int) -> None:
    """All rows are wrong on both sides, by other labels: the mean says nothing, the rows all."""
    wanted = [cell for cell in cells() if cell.name == "base.mnli1.p1.3"]
    (run,) = read_results(make(tmp_path / "a", wanted)).runs
    reference = flat(run, ("neutral",) * n)
    allowed = max(1, n // 100)
    for changed, verdict in (
        (allowed, Verdict.REPRODUCED),
        (allowed + 1, Verdict.NOT_REPRODUCED),
        (n, Verdict.NOT_REPRODUCED),
    ):
        other = flat(run, ("neutral",) * (n - changed) + ("entailment",) * changed)
        (number,) = compare_runs(other, reference).numbers
        assert (number.level, number.verdict) == (Level.L1, verdict)
        tied = flat(other, ("neutral",) * (n - changed) + ("entailment",) * changed, gap=1e-4)
        (number,) = compare_runs(tied, flat(run, ("neutral",) * n, gap=1e-4)).numbers
        assert number.verdict is Verdict.REPRODUCED, "ties on both sides"


def test_means_without_rows_bear_the_sampling_of_their_rows(make: Make, tmp_path: Path) -> None:
    """By means only: seeds that agree by luck still leave the rows' error, sqrt(p (1 - p) / n)."""
    wanted = [cell for cell in study().claim_cells(claims()["C7"]) if cell.variant.name != "base"][
        :12
    ]
    kept = record([make(tmp_path / "a", wanted, seeds=range(1, 6), n=30)], tmp_path / "ref")
    (ours,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=30, noise="B")).runs

    def alike(run: Run) -> Run:
        found = {}
        for place, result in run.cells.items():
            found[place] = replace(result, value=0.5, outcomes=None, n=100)
        return replace(run, cells=found)

    held = compare_runs(alike(ours), alike(load_reference(kept).run))
    for number in held.numbers:
        assert number.interval is not None
        half = (number.interval.high - number.interval.low) / 2
        assert half >= 1.9 * 0.05 * (1 + 1 / 5) ** 0.5
        assert number.verdict is Verdict.CONSISTENT
        assert "by means only" in number.reason


def test_simulated_a_a_runs_raise_few_alarms(make: Make, tmp_path: Path) -> None:
    """Runs of the same process against five stored ones, on values alone.

    150 references with a new run each: the share with any alarm in a cell has a standard error of
    at most sqrt(p (1 - p) / 150), .008 at the nominal 1 %; four of them are allowed on top. Of the
    95 % intervals, 5 % leave the difference out.
    """
    wanted = [cell for cell in study().claim_cells(claims()["C7"]) if cell.variant.name != "base"][
        :24
    ]
    kept = record([make(tmp_path / "a", wanted, seeds=range(1, 6), n=30)], tmp_path / "ref")
    reference = load_reference(kept).run
    (template,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=30, noise="B")).runs
    rng = np.random.default_rng(0)
    spread = 0.12  # far above the sampling of rows, so that it does not hide the rate

    def lucky(run: Run) -> Run:
        found = {
            place: replace(result, value=0.5 + spread * rng.normal(), outcomes=None, n=2500)
            for place, result in run.cells.items()
        }
        return replace(run, cells=found)

    draws, outside, alarms = 150, 0, 0
    for _ in range(draws):
        numbers = compare_runs(lucky(template), lucky(reference)).numbers
        for number in numbers:
            assert number.interval is not None
            outside += not number.interval.low <= 0 <= number.interval.high
        alarms += any(number.verdict is Verdict.NOT_REPRODUCED for number in numbers)
    assert outside / (draws * len(wanted)) == pytest.approx(ALPHA, abs=0.015)
    share = SHARE["cell"]
    assert alarms / draws <= share + 4 * (share * (1 - share) / draws) ** 0.5


def test_one_stored_seed_is_held_on_the_rows_in_common_alone(make: Make, tmp_path: Path) -> None:
    """A run of fewer rows, equal to the stored one on all of them."""
    wanted = [cell for cell in cells(["4"]) if cell.variant.name != "base"][:2]
    (stored,) = read_results(make(tmp_path / "a", wanted, seeds=(1,), n=50)).runs
    few = {}
    for (cell, _), result in stored.cells.items():
        assert result.outcomes is not None
        outcomes = result.outcomes.at(np.arange(20))
        value = float(outcomes.scores.mean())
        few[cell, 2] = replace(
            result, seed=2, outcomes=outcomes, value=value, n=20, key="k", model_key="m",
            samples_sha256="s",
        )  # fmt: skip
    held = compare_runs(replace(stored, cells=few, tuned={}), stored)
    assert {number.verdict for number in held.numbers} == {Verdict.CONSISTENT}
    for number in held.numbers:
        assert (number.n, number.ours, number.difference) == (20, number.theirs, 0.0)


@pytest.mark.parametrize("cell", range(2))
def test_a_seed_that_is_stored_in_part_leaves_the_other_cells_judged(
    make: Make, tmp_path: Path, cell: int
) -> None:
    wanted = [cell for cell in cells(["4"]) if cell.variant.name != "base"][:6]
    folders = [make(tmp_path / "whole", wanted, seeds=range(1, 6))]
    folders.append(make(tmp_path / "part", wanted[:1], seeds=(6,)))
    reference = load_reference(record(folders, tmp_path / "ref"))
    bad = dict.fromkeys(wanted, 0.5) | {wanted[cell]: 0.001}
    ours = make(tmp_path / "ours", wanted, seeds=(9,), noise="9", skill=bad)
    (run,) = read_results(ours).runs
    (number,) = [n for n in compare_runs(run, reference.run).numbers if n.cell == wanted[cell]]
    assert number.verdict is Verdict.NOT_REPRODUCED
