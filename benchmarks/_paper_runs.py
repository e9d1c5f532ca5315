"""Runs drawn at a known truth: the paper's published numbers, or those with its findings reversed.

What a faithful reproduction of the paper on Llama-2-7b would deliver, if the published numbers were
the truth: rows of a difficulty of their own that all models share, and fine-tunes whose true score
moves from seed to seed as a real model's does (`REAL_SEEDS`). Each run is judged by the code
that judges a results folder. A published number is itself a draw; to take it for the truth leaves
its own luck out of our draws, but not out of the tests, which therefore alarm less often here than
in truth.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from repro.results.outcomes import Outcomes, text_digest
from repro.results.runs import CellResult, Results, Run, Tuned
from repro.spec.cells import BASE, Cell, Variant
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.figures import points
from repro.studies.paper.study import study
from repro.studies.paper.tasks import TRAIN_SETS
from repro.verify.published import load_paper
from repro.verify.reference import load_reference
from repro.verify.seedspread import scale
from repro.verify.statistics import Floats
from repro.verify.verification import RunVerification, build

Row = dict[str, object]
Truth = Mapping[Cell, float]

DIFFICULTY = 0.64
"""Share of a row's latent variance that all models have in common."""
SPREAD = 0.9
"""Spread of ROUGE-L rows on the logit scale."""
REAL_SEEDS = Path(__file__).parent / "real_seeds"
"""Four seeds of SmolLM2-135M-Instruct on the authors' data; its README has the commands."""
CANDIDATE_GAP = 0.03
"""How far the other cells behind a best-of bar lie below the one that is plotted."""


@cache
def published_truth(gap: float = CANDIDATE_GAP) -> Truth:
    """The published value of each cell; cells behind a bar that no point shows lie below it.

    Args:
        gap: by how much; 0 makes all cells of such a bar equally good, so that the best of them
            reads too high.
    """
    paper = load_paper()
    truth: dict[Cell, float] = {}
    for point in points():
        if len(point.cells) == 1:
            truth.setdefault(point.cells[0], paper.of(point).value)
    for point in points():
        hidden = [cell for cell in point.cells if cell not in truth]
        if not hidden:
            continue
        value = paper.of(point).value
        best = hidden[0]
        for cell in hidden:
            truth[cell] = value if cell == best else max(0.0, value - gap)
    return truth


@cache
def reversed_truth() -> Truth:
    """The published findings turned round.

    In every panel each model's distance to the panel's mean is reversed: what was above the base
    is below it, what gained from examples loses.
    """
    truth = published_truth()
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in truth:
        groups.setdefault((cell.dataset, cell.prompt), []).append(cell)
    turned = {}
    for cells in groups.values():
        middle = float(np.mean([truth[cell] for cell in cells]))
        for cell in cells:
            turned[cell] = min(1.0, max(0.0, 2 * middle - truth[cell]))
    return turned


@cache
def seed_spreads(folder: Path) -> Mapping[str, Floats]:
    """Each fine-tuned cell's spread over a folder's seeds, over sqrt(p (1 - p)), by metric."""
    stored = load_reference(folder).run
    values: dict[Cell, list[CellResult]] = {}
    for (cell, seed), result in stored.cells.items():
        if seed is not None:
            values.setdefault(cell, []).append(result)
    found: dict[str, list[float]] = {}
    for results in values.values():
        scores = [result.value for result in results]
        relative = float(np.std(scores, ddof=1)) / scale(float(np.mean(scores)), results[0].n)
        found.setdefault(results[0].metric, []).append(relative)
    return {metric: np.array(spreads) for metric, spreads in found.items()}


@cache
def _logits() -> tuple[Floats, Floats]:
    """Means of logistic-normal rows, and the locations that have them."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    places = np.linspace(-14.0, 14.0, 1401)
    rows = special.expit(places[:, None] + SPREAD * nodes[None, :])
    return rows @ weights / weights.sum(), places


def _scores(cell: Cell, skill: float, latent: Floats) -> Floats:
    """Scores of rows whose expected mean is the skill; latent is standard normal."""
    if study().task_of(cell).labels:
        return (latent < special.ndtri(skill)).astype(np.float64)
    if skill <= 0:
        return np.zeros(len(latent))
    means, places = _logits()
    # The metric is not linear in the location, so that it is looked up.
    return np.asarray(special.expit(np.interp(skill, means, places) + SPREAD * latent))


def draw(
    rng: np.random.Generator,
    truth: Truth | None = None,
    *,
    n: int = 250,
    seeds: Sequence[int] = (42,),
    spread: float = 1.0,
) -> Run:
    """A run of the paper's model, protocol and data, with all 574 cells.

    Args:
        truth: expected scores; the published ones by default.
        spread: factor on the spread over seeds.
    """
    truth = published_truth() if truth is None else truth
    cells: dict[tuple[Cell, int | None], CellResult] = {}
    shared = {cell.dataset: rng.standard_normal(n) for cell in truth}
    luck = seed_spreads(REAL_SEEDS)
    rows, digits = np.arange(n, dtype=np.int64), np.array(["00000000"] * n, dtype="S8")
    for cell, value in truth.items():
        metric = "accuracy" if study().task_of(cell).labels else "rougeL"
        relative = float(rng.choice(luck[metric])) * spread
        for seed in [None] if cell.variant == BASE else seeds:
            skill = value
            if seed is not None:
                skill += relative * scale(value, n) * float(rng.standard_normal())
            skill = min(1.0, max(0.0, skill))
            own = rng.standard_normal(n)
            latent = math.sqrt(DIFFICULTY) * shared[cell.dataset]
            latent = latent + math.sqrt(1 - DIFFICULTY) * own
            scores = _scores(cell, skill, latent)
            key = f"{cell.name}/{seed}"
            cells[cell, seed] = CellResult(
                cell,
                seed,
                metric,
                float(scores.mean()),
                float(scores.std(ddof=1) / math.sqrt(n)),
                n,
                key,
                cell.variant.name,
                key,
                Outcomes(rows, scores, _outputs(cell, scores), None, digits),
                {},
            )
    record = {"format": 1, "identity": {"profile": "llama2-7b"}, "switches": {}}
    return Run(
        Path("drawn"),
        "llama2-7b",
        "published-code",
        {},
        record,
        cells,
        _tuned(rng, seeds, reverse=truth is reversed_truth()),
        study(),
    )


def _outputs(cell: Cell, scores: Floats) -> tuple[str, ...]:
    """Labels, or digests of texts; models tuned on classification emit labels there, as stated."""
    if study().task_of(cell).labels:
        first, second = study().task_of(cell).labels[:2]
        # Right and wrong rows of both labels, so that no model seems to give a single one.
        return tuple((first, second)[(row + int(s)) % 2] for row, s in enumerate(scores))
    labels = TRAIN_SETS[cell.variant.train].task.labels if cell.variant != BASE else ()
    if labels and scores.mean() < 0.02:
        return (text_digest(labels[0]),) * len(scores)
    return tuple(f"{row:08x}" for row in range(len(scores)))


def _tuned(
    rng: np.random.Generator, seeds: Iterable[int], *, reverse: bool
) -> dict[tuple[Variant, int], Tuned]:
    """Weight changes and final losses as the text states them, or reversed; 2 % of luck."""
    stated = {
        (number.train, number.method): number.value
        for number in load_paper().stated
        if number.quantity == "weight change"
    }
    found = {}
    for variant in VARIANTS.values():
        for seed in seeds if variant != BASE else ():
            method = variant.method
            if reverse:
                method = "ft" if method == "fticl" else "fticl"
            change = stated.get((variant.train, method), 9e-5)
            loss = 0.3 if (variant.method == "fticl") != reverse else 0.2
            factor = 1 + 0.02 * rng.standard_normal(2)
            found[variant, seed] = Tuned(
                variant, seed, variant.name, (loss * factor[0],) * 20, change * factor[1], {}
            )
    return found


def noise_free(n: int = 250) -> Run:
    """A run whose every row has its cell's published value, without samples, seed and facts."""
    cells: dict[tuple[Cell, int | None], CellResult] = {}
    for cell, value in published_truth().items():
        metric, key = "accuracy" if study().task_of(cell).labels else "rougeL", cell.name
        deviation = math.sqrt(value * (1 - value) / n)
        if not study().task_of(cell).labels:
            deviation /= 2
        cells[cell, None] = CellResult(
            cell, None, metric, value, deviation, n, key, cell.variant.name, key, None, {}
        )
    record = {"format": 1, "origin": "the authors' scripts", "identity": {}, "switches": {}}
    return Run(Path("copied"), "llama2-7b", "published-code", {}, record, cells, {}, study())


def damaged(run: Run, cells: Container[Cell], by: float) -> Run:
    """A run in whose cells of accuracies a share of the rows is made wrong."""
    found = dict(run.cells)
    for key, result in run.cells.items():
        outcomes = result.outcomes
        if key[0] not in cells or outcomes is None or not study().task_of(key[0]).labels:
            continue
        scores = outcomes.scores.copy()
        scores[np.flatnonzero(scores == 1)[: round(by * result.n)]] = 0.0
        changed = replace(outcomes, scores=scores, outputs=_outputs(key[0], scores))
        found[key] = replace(result, outcomes=changed, value=float(scores.mean()))
    return replace(run, cells=found)


def fine_tuned(figure: str) -> frozenset[Cell]:
    """The cells of a figure's fine-tunes."""
    return frozenset(
        cell for point in points([figure]) for cell in point.cells if cell.variant != BASE
    )


def judged(run: Run, draws: int = 1000) -> RunVerification:
    """A run as `repro verify` judges it, held against the published numbers.

    Args:
        draws: of the bootstrap, a tenth of what `repro verify` takes.
    """
    with TemporaryDirectory() as empty:
        (verified,) = build(Results((run,), ()), expected=Path(empty), draws=draws).runs
    return verified


def exit_codes(
    count: int,
    truth: Truth | None = None,
    *,
    n: int = 250,
    seeds: Sequence[int] = (42,),
    damage: tuple[frozenset[Cell], float] | None = None,
    first: int = 0,
) -> list[int]:
    """The exit codes of as many draws.

    Args:
        damage: cells, and the share of their rows made wrong.
        first: names the draws: others begin elsewhere.
    """
    codes = []
    for index in range(first, first + count):
        run = draw(np.random.default_rng(index), truth, n=n, seeds=seeds)
        codes.append(judged(damaged(run, *damage) if damage else run).exit_code)
    return codes


class Case(NamedTuple):
    """A truth, how many seeds are drawn, the exit code wanted, in what share at least, damage."""

    injection: str
    truth: Truth
    seeds: tuple[int, ...]
    wanted: int
    target: float
    damage: tuple[frozenset[Cell], float] | None = None


def cases() -> tuple[Case, ...]:
    """What is drawn for the table of power."""
    return (
        Case("truth = published numbers, one seed", published_truth(), (42,), 0, 0.90),
        Case("truth = published numbers, three seeds", published_truth(), (42, 43, 44), 0, 0.90),
        Case("findings reversed, one seed", reversed_truth(), (42,), 1, 0.99),
        Case(
            "fine-tuned accuracies of Figure 2 -.10, one seed",
            published_truth(),
            (42,),
            1,
            0.99,
            (fine_tuned("2"), 0.10),
        ),
    )


def rows(draws: int = 100, *, small: bool = False) -> list[Row]:
    """Rows of the table: injection, level, exit codes, share with the wanted one, target, met.

    Args:
        small: the cases of one seed only.
    """
    found: list[Row] = []
    for case in cases():
        if small and len(case.seeds) > 1:
            continue
        codes = exit_codes(draws, case.truth, seeds=case.seeds, damage=case.damage)
        share = codes.count(case.wanted) / draws
        found.append(
            {
                "injection": f"{case.injection}: exit code {case.wanted}",
                "level": "L3 and claims",
                "draws": draws,
                "codes": codes,
                "share": share,
                "target": case.target,
                "met": share >= case.target,
            }
        )
    code = judged(noise_free()).exit_code
    found.append(
        {
            "injection": "a noise-free copy of the published numbers: exit code 0",
            "level": "L3 and claims",
            "draws": 1,
            "codes": [code],
            "share": float(code == 0),
            "target": 1.0,
            "met": code == 0,
        }
    )
    return found
