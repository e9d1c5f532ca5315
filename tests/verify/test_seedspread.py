"""The spread over seeds: where it is from, and that tests with it have the error they say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repro.spec.cells import Cell
from repro.studies.paper.claims import claims
from repro.studies.paper.figures import cells, points
from repro.studies.paper.study import study
from repro.verify.reading import read_results
from repro.verify.runscores import emits_label, run_source
from repro.verify.seedspread import registered_spread, scale, spread_of
from repro.verify.statistics import DRAWS
from repro.verify.verification import build

Make = Callable[..., Path]
TUNED = Cell.parse("amazon-ft-2000.amazon.p1.0")
BASE = Cell.parse("base.amazon.p1.0")


def test_the_base_has_no_luck_and_a_fine_tune_has_the_registered_one() -> None:
    prior = registered_spread(study())
    assert not prior.luck(BASE, 0.8, 250).any()
    luck = prior.luck(TUNED, 0.8, 250)
    assert luck.shape == (DRAWS,)
    assert luck.std() == pytest.approx(0.13 * 0.4, rel=0.03)
    assert prior.sd(TUNED, 0.999, 250) < prior.sd(TUNED, 0.5, 250) / 5


def test_luck_is_shared_within_a_fine_tune_and_test_set_and_nowhere_else() -> None:
    prior = registered_spread(study())
    names = ["amazon-ft-2000.amazon.p1.2", "amazon-ft-4000.amazon.p1.0", "amazon-ft-2000.sst2.p1.0"]
    mine = prior.luck(TUNED, 0.8, 250)
    found = [np.corrcoef(mine, prior.luck(Cell.parse(name), 0.8, 250))[0, 1] for name in names]
    assert found[0] == pytest.approx(prior.shared, abs=0.04)
    assert found[1:] == pytest.approx([0, 0], abs=0.04)


def test_a_reference_of_enough_seeds_replaces_the_prior(make: Make, tmp_path: Path) -> None:
    """Without difference between cells, all come near the spread that was put in."""
    wanted = [c for c in cells(["1"]) if c.dataset in ("amazon", "base")]
    skill = dict.fromkeys(wanted, 0.7)
    for seeds, known in (((1, 2), False), (tuple(range(1, 9)), True)):
        folder = make(
            tmp_path / str(len(seeds)), wanted, seeds=seeds, n=400, jitter=0.06, skill=skill
        )
        (run,) = read_results(folder).runs
        spread = spread_of(run, study())
        assert ("seeds of" in spread.source) == known
        if known:
            own = [c for c in wanted if c.variant.method == "ft"]
            relative = [spread.relative(c) for c in own]
            # The spread of the skill and that of each model's own rows.
            least = 0.06 / scale(0.7, 400)
            assert 0.8 * least < np.mean(relative) < 1.6 * least
            assert np.std(relative) < 0.5 * np.mean(relative)
    assert spread_of(None, study()) is registered_spread(study())


def test_shrinking_towards_the_kind_by_hand(make: Make, tmp_path: Path) -> None:
    """(4 s0^2 + 3 s^2) / 7 with four seeds, both relative to p (1 - p)."""
    wanted = [TUNED, Cell.parse("amazon-ft-2000.amazon.p1.2"), BASE]
    folder = make(tmp_path / "run", wanted, seeds=(1, 2, 3, 4), n=100, jitter=0.1)
    (run,) = read_results(folder).runs
    relative = {}
    for cell in wanted[:2]:
        values = [result.value for result in run.of(cell).values()]
        relative[cell] = np.var(values, ddof=1) / scale(float(np.mean(values)), 100) ** 2
    typical = np.mean(list(relative.values()))
    wanted_sd = ((4 * typical + 3 * relative[TUNED]) / 7) ** 0.5
    assert spread_of(run, study()).relative(TUNED) == pytest.approx(wanted_sd)


def test_outputs_that_are_exactly_a_label_are_counted(
    make: Make, tmp_path: Path, edit: Callable[..., None], reseal: Callable[..., None]
) -> None:
    cell = Cell.parse("amazon-ft-2000.xsum.p1.1")
    folder = make(tmp_path / "run", [cell], n=10, seeds=(1,))

    def change(lines: list[dict]) -> None:
        texts = ["positive", " negative", "negative\n", "positive and more", "yes"]
        for line, text in zip(lines, texts, strict=False):
            line["text"] = text

    edit(folder / "samples" / f"{cell.name}.seed1.jsonl", change)
    reseal(folder, cell.name, 1)
    (run,) = read_results(folder).runs
    (point,) = [p for p in points(["3"]) if p.cells == (cell,)]
    measured = run_source(run, of=emits_label)(point)
    assert measured is not None
    assert measured.values == pytest.approx([0.3])


def test_a_model_that_gives_every_row_one_label_is_named(
    make: Make, tmp_path: Path, edit: Callable[..., None], reseal: Callable[..., None]
) -> None:
    wanted = study().claim_cells(claims()["C18"])
    cell = next(c for c in wanted if c.variant.method == "fticl" and c.dataset == "amazon")
    folder = make(tmp_path / "run", wanted, n=60)

    def change(lines: list[dict]) -> None:
        for line in lines:
            line["prediction"] = "positive"
            line["logits"] = {"positive": 1.0, "negative": 0.0}
            line["score"] = int(line["gold"] == "positive")

    edit(folder / "samples" / f"{cell.name}.seed42.jsonl", change)
    reseal(folder, cell.name, 42)
    (verified,) = build(folder, expected=tmp_path, asked=["C18"]).runs
    (contrast,) = verified.claims[0].contrasts
    assert any(f"{cell.name} always 'positive'" in text for text in contrast.constant)
    assert "constant: " in verified.claims[0].reason
