"""What a mended flaw changes, on made-up results whose changes are known."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from repro.report.documents import flaws as document
from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.studies.paper.claims import claims
from repro.studies.paper.protocols import protocol
from repro.studies.paper.study import study
from repro.verify.claimverdicts import Answer
from repro.verify.flaws import Flaw, flaws, mended
from repro.verify.reading import read_results
from repro.verify.survival import merged

PAWS = [cell for cell in study().claim_cells(claims()["C1"]) if cell.dataset == "paws"]
SKILL = dict.fromkeys(PAWS, 0.5) | {c: 0.95 for c in PAWS if c.variant.name != "base"}
WORSE = dict.fromkeys(PAWS, 0.1)


def read(folder: Path) -> Run:
    (run,) = read_results(folder).runs
    return run


def scores(folder: Path, cell: Cell, seed: int | None) -> dict[int, float]:
    suffix = "" if seed is None else f".seed{seed}"
    lines = (folder / "samples" / f"{cell.name}{suffix}.jsonl").read_text().splitlines()
    return {line["row"]: line["score"] for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def published(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("flaws") / "published-code", PAWS, n=100, skill=SKILL)


def by_name(found: tuple[Flaw, ...]) -> dict[str, Flaw]:
    return {flaw.name.partition(" ")[0]: flaw for flaw in found}


def test_switches_are_those_in_which_the_protocols_differ() -> None:
    found = mended(protocol("published-code"), protocol("corrected"))
    assert found["truncation_side"] == "source"
    assert found["bos_few_shot_classification"] == 1
    # As published and as corrected alike.
    assert not {"learning_rate", "clip_norm", "rouge_stemmer"} & set(found)


def test_a_switch_that_touches_nothing_changes_nothing(published: Path) -> None:
    flaw = by_name(flaws(read(published), {}))["max_length"]
    assert (flaw.cells, flaw.anew, flaw.mean, flaw.interval, flaw.largest) == (0, 0) + (None,) * 3
    assert all(before.verdict is after.verdict for before, after in flaw.claims.values())


def test_a_mended_flaw_shows_its_change_and_what_it_does_to_findings(
    published: Path, make: Callable[..., Path], tmp_path: Path
) -> None:
    """Fine-tunes that are made anew are far below the base that they were above."""
    tuned = [cell for cell in PAWS if cell.variant.name != "base"]
    folder = make(tmp_path / "anew", tuned, n=100, skill=WORSE, noise="anew")
    found = by_name(flaws(read(published), {"loss_weighting": read(folder)}))
    flaw = found["loss_weighting"]
    assert flaw.name == "loss_weighting = step-tokens"
    assert flaw.audit == "A2, A10"
    assert flaw.cells == len(tuned)
    assert flaw.anew == len({cell.variant for cell in tuned})
    differences = {
        cell.name: sum(scores(folder, cell, 42).values()) / 100
        - sum(scores(published, cell, 42).values()) / 100
        for cell in tuned
    }
    mean = sum(differences.values()) / len(tuned)
    assert flaw.mean == pytest.approx(mean)
    assert flaw.interval is not None
    assert flaw.interval.low < mean < flaw.interval.high < 0
    assert flaw.largest is not None
    assert flaw.largest.difference == pytest.approx(min(differences.values()))
    before, after = flaw.claims["C1"]
    # One test set of several is too few to show the finding, and enough to refute it.
    assert (before.verdict, after.verdict) == (Answer.CANNOT_TELL, Answer.FAILS)
    text = document(read(published), tuple(found.values()))
    (line,) = (line for line in text.splitlines() if "`loss_weighting = step-tokens`" in line)
    assert f"| {len(tuned)} | {flaw.anew} | {mean:+.3f} [" in line
    assert "C1: undecided +0." in line
    assert " to shown otherwise -0." in line


def test_rows_that_are_left_out_change_the_mean_of_the_others(
    published: Path, make: Callable[..., Path], edit: Callable[..., None], reseal: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    cell = next(cell for cell in PAWS if cell.variant.name == "base")
    folder = make(tmp_path / "rows", [cell], n=100, skill=SKILL)
    right = [row for row, score in scores(published, cell, None).items() if score][:20]
    path = folder / "samples" / f"{cell.name}.jsonl"
    kept = [line for line in path.read_text().splitlines() if json.loads(line)["row"] not in right]
    path.write_text("".join(line + "\n" for line in kept))
    reseal(folder, cell.name, None)
    flaw = by_name(flaws(read(published), {"leaked_rows": read(folder)}))["leaked_rows"]
    whole = scores(published, cell, None)
    before = sum(whole.values()) / 100
    after = (sum(whole.values()) - 20) / 80
    assert (flaw.cells, flaw.anew) == (1, 0)
    assert flaw.mean == pytest.approx(after - before)
    assert flaw.interval is not None
    # Both means are of the rows that are drawn.
    rng = np.random.default_rng(1)
    score = np.array([whole[row] for row in range(100)])
    kept_rows = ~np.isin(np.arange(100), right)
    drawn = []
    for _ in range(4000):
        rows = rng.integers(0, 100, 100)
        drawn.append(score[rows][kept_rows[rows]].mean() - score[rows].mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert flaw.interval == pytest.approx((low, high), abs=0.01)


def test_only_verdicts_that_are_others_are_told(published: Path) -> None:
    claim = next(iter(flaws(read(published), {})[0].claims.values()))[0]
    other = SimpleNamespace(verdict=Answer.NOT_RUN, claim=claim.claim, contrasts=claim.contrasts)
    told: Any = {"C1": (claim, claim), "C2": (claim, other)}
    text = document(read(published), [Flaw("a = b", "A2", (), 0, None, None, told)])
    assert text.endswith("| A2 | `a = b` | 0 | 0 |  |  |  |\n")


def test_a_switch_with_fewer_seeds_stands_for_all_of_them(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    """No seed of the published run remains beside those of the switch."""
    many = read(make(tmp_path / "many", PAWS, n=100, seeds=range(1, 6), skill=SKILL))
    tuned = [cell for cell in PAWS if cell.variant.name != "base"]
    one = read(make(tmp_path / "one", tuned, n=100, seeds=(1,), skill=WORSE, noise="anew"))
    whole = merged(many, one, {"truncation_side": "source"})
    for cell in tuned:
        assert set(whole.of(cell)) == {1}
        assert whole.of(cell)[1].value < 0.3
    found = by_name(flaws(many, {"truncation_side": one}))["truncation_side"]
    alone = read(make(tmp_path / "alone", PAWS, n=100, seeds=(1,), skill=SKILL))
    same = by_name(flaws(alone, {"truncation_side": one}))["truncation_side"]
    assert found.interval is not None
    assert same.interval is not None
    widths = [high - low for low, high in (found.interval, same.interval)]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
