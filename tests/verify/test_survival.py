"""How far findings move when a flaw is mended, on made-up results whose changes are known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.published import default_folder
from repro.verify.reading import read_results
from repro.verify.seedspread import registered_spread
from repro.verify.statistics import DRAWS
from repro.verify.survival import changes, conditions, trained_anew
from repro.verify.verification import build, claims_of

Make = Callable[..., Path]

PAWS = [cell for cell in study().claim_cells(claims()["C1"]) if cell.dataset == "paws"]
TUNED = [cell for cell in PAWS if cell.variant.name != "base"]
SKILL = dict.fromkeys(PAWS, 0.5) | dict.fromkeys(TUNED, 0.8)
N = 100
LEAD = claims()["C1"].contrasts[0].name


def read(folder: Path) -> Run:
    (run,) = read_results(folder).runs
    return run


def by_row(folder: Path, cell: Cell) -> np.ndarray:
    (path,) = (folder / "samples").glob(f"{cell.name}.*")
    return np.array([json.loads(line)["score"] for line in path.read_text().splitlines()])


def differences(folder: Path) -> np.ndarray:
    """Scores of 0-shot fine-tunes less those of the base, the pairs of C1: [pairs, rows]."""
    base = [by_row(folder, cell) for cell in PAWS if cell.variant.name == "base"]
    return np.array([by_row(folder, cell) - own for cell in TUNED for own in base])


def test_dropped_rows_are_paired_with_themselves(make: Make, tmp_path: Path) -> None:
    """Held against a bootstrap of the rows that knows nothing of draws that are shared."""
    folder = make(tmp_path / "run", PAWS, n=N, skill=SKILL)
    gone = list(range(0, N, 3))
    found = conditions((read(folder),), {"leaked_rows": {"paws": gone}})
    (mended,) = (c for c in found if c.audit == "A4")
    moved = mended.changes["C1"][LEAD]
    rows = differences(folder).mean(axis=0)
    kept = ~np.isin(np.arange(N), gone)
    assert moved.effect == pytest.approx(rows[kept].mean() - rows.mean())
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(4000):
        lot = rng.integers(0, N, N)
        drawn.append(rows[lot][kept[lot]].mean() - rows[lot].mean())
    half = 1.98 * float(np.std(drawn))
    low, high = moved.effect - half, moved.effect + half
    assert moved.interval == pytest.approx((low, high), abs=0.1 * half)
    chance = 2 * stats.norm.sf(abs(moved.effect) / float(np.std(drawn)))
    assert moved.p == pytest.approx(chance, abs=0.03)
    # Apart from each other, the two effects are known far less well.
    mean = found[0].claims["C1"].contrasts[0].mean
    assert mean is not None
    assert mean.interval is not None
    assert moved.interval.high - moved.interval.low < 0.6 * (mean.interval.high - mean.interval.low)


def test_a_run_against_itself_does_not_move(make: Make, tmp_path: Path) -> None:
    run = read(make(tmp_path / "run", PAWS, n=N, skill=SKILL))
    (first, *_) = conditions((run,), {})
    assert changes(first, run, 500)["C1"][LEAD] == (0.0, (0.0, 0.0), 1.0)


def test_fine_tunes_made_anew_are_lucky_once_more(make: Make, tmp_path: Path) -> None:
    """Equal scores of other weights: the interval is that of two seeds' luck, and no less."""
    first_run = read(make(tmp_path / "run", PAWS, n=N, skill=SKILL))
    again = read(make(tmp_path / "again", PAWS, n=N, skill=SKILL, machine="cpu B"))
    assert {c.value for c in first_run.cells.values()} == {c.value for c in again.cells.values()}
    (first, *_) = conditions((first_run,), {})
    moved = changes(first, again, DRAWS)["C1"][LEAD]
    assert moved.effect == 0
    # Each pair's effect has the luck of its fine-tune's 0-shot cell, of which there are three.
    spread = registered_spread(study())
    values = {cell: found.value for (cell, _), found in first_run.cells.items()}
    used = [cell for cell in TUNED if not cell.shots]
    variance = sum(spread.sd(cell, values[cell], N) ** 2 for cell in used) / len(used) ** 2
    half = float(np.diff(moved.interval)[0]) / 2
    assert half / np.sqrt(2 * variance) == pytest.approx(2.0, abs=0.25)


def test_a_fine_tune_with_the_same_losses_and_weights_is_the_same(
    make: Make, edit: Callable[..., None], tmp_path: Path
) -> None:
    """Another protocol gives it another key, even where its switches had nothing to change."""
    first_run = read(make(tmp_path / "run", PAWS, n=N, skill=SKILL))
    folder = make(tmp_path / "again", PAWS, n=N, skill=SKILL, machine="cpu B")
    facts = {v.name: tuned.raw for (v, _), tuned in first_run.tuned.items()}

    def as_before(lines: list[dict]) -> None:
        for line in lines:
            for name in ("losses", "weight_change"):
                line[name] = facts[line["variant"]][name]

    edit(folder / "finetunes.jsonl", as_before)
    again = read(folder)
    assert all(t.key != first_run.tuned[place].key for place, t in again.tuned.items())
    assert not trained_anew(first_run, again)
    (first, *_) = conditions((first_run,), {})
    assert changes(first, again, 500)["C1"][LEAD].interval == (0.0, 0.0)
    edit(folder / "finetunes.jsonl", lambda lines: lines[0].update(losses=[1.0, 0.5]))
    assert len(trained_anew(first_run, read(folder))) == 1


def test_bars_are_chosen_as_verify_chooses_them(make: Make, tmp_path: Path) -> None:
    """Under `corrected` over all shot counts, of which the largest is the best here."""
    cells = study().cells(["4"], every_shot=True)
    assert set(cells) > set(study().cells(["4"]))
    skill = {c: 0.9 if c not in study().cells() else 0.4 for c in cells}
    folder = make(
        tmp_path / "run", cells, n=N, skill=skill, protocol="corrected", best_of="split-half",
        profile="small-cpu",
    )  # fmt: skip
    run = read(folder)
    ours = claims_of(run, registered_spread(study()), DRAWS)
    theirs = {c.claim.id: c for c in build(folder, expected=default_folder()).runs[0].claims}
    for name in ("C11", "C12"):
        effects = [
            [part.effect for contrast in found[name].contrasts for part in contrast.pairs]
            for found in (ours, theirs)
        ]
        assert effects[0]
        assert effects[0] == pytest.approx(effects[1])
    # The same run asked for the figures' cells only still has its bars.
    few = make(
        tmp_path / "few", study().cells(["4"]), n=N, skill=skill, protocol="corrected",
        best_of="split-half", profile="small-cpu",
    )  # fmt: skip
    assert claims_of(read(few), registered_spread(study()), DRAWS)["C11"].contrasts[0].ran
