"""How far another seed of the same fine-tune moves a score.

A run of one seed cannot know, and one of a few cannot rely on its own spread: it is pooled with
that of the profile's stored reference, or with the registered one of `margins.toml`, weighted by
degrees of freedom as in limma (Smyth 2004, "Linear models and empirical Bayes methods", eq. 2).

Scores near 0 and 1 move less, so that spreads are relative to sqrt(p (1 - p)), the scale on which
the arcsine transform of a share has a constant variance.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from repro.printable import counted
from repro.results.runs import Run
from repro.spec.cells import BASE, Cell
from repro.spec.study import Study
from repro.verify.margins import margins
from repro.verify.spread import LEAST
from repro.verify.statistics import DRAWS, Floats, rng_for

PRIOR_DF = 4.0
"""Degrees of freedom that the mean variance of a cell's kind has against the cell's own."""


@dataclass(frozen=True)
class SeedSpread:
    """The spread of scores over seeds.

    Attributes:
        relative: standard deviation of a fine-tune's cell over seeds, over sqrt(p (1 - p)); never
            asked for the base.
        df: degrees of freedom behind it.
        shared: correlation of one fine-tune's deviations on one test set and prompt.
        facts: relative, by kind of fact ("weight change", "final loss").
        source: where it is from, for sentences.
    """

    relative: Callable[[Cell], float]
    df: float
    shared: float
    facts: Mapping[str, float]
    source: str

    def sd(self, cell: Cell, value: float, n: int) -> float:
        """Standard deviation over seeds of a cell whose score on n rows is `value`."""
        return self.relative(cell) * scale(value, n)

    def luck(self, cell: Cell, value: float, n: int, draws: int = DRAWS) -> Floats:
        """Draws of the deviation of one seed of a cell, [draws]; zeros for the base.

        Cells of one fine-tune, test set and prompt have a part in common, whatever the order in
        which they are asked for.
        """
        if cell.variant == BASE:
            return np.zeros(draws)
        place = f"{cell.variant.name}.{cell.dataset}.{cell.prompt}"
        common, own = _noise(f"luck/{place}"), _noise(f"luck/{cell.name}")
        mixed = math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * own
        return self.sd(cell, value, n) * mixed[:draws]


def scale(value: float, n: int) -> float:
    """sqrt(p (1 - p)) of a score, with one success and one failure added to keep it from zero."""
    p = (value * n + 1) / (n + 2)
    return math.sqrt(p * (1 - p))


@cache
def _noise(name: str) -> Floats:
    return rng_for(name).standard_normal(DRAWS)


@cache
def registered_spread(study: Study) -> SeedSpread:
    """The spread that stands in where nothing was measured, see `margins.toml`."""
    prior = margins().seed_spread
    return SeedSpread(
        lambda cell: prior[study.metric(cell.dataset)],
        prior["df"],
        prior["shared"],
        {"weight change": prior["weight_change"], "final loss": prior["final_loss"]},
        "the registered prior, measured on a small model",
    )


def kind_of(study: Study, cell: Cell) -> tuple[str, str]:
    """What cells share a prior: metric, and in-domain, out-of-domain or cross-task."""
    place = "cross-task"
    dataset = study.datasets[cell.dataset]
    if cell.variant != BASE and study.training[cell.variant.train].task == dataset.task:
        place = dataset.role.value if dataset.role else "same task"
    return dataset.task.metric, place


def spread_of(reference: Run | None, study: Study) -> SeedSpread:
    """The spread that a reference's seeds show; the registered one if it has too few.

    Each cell's variance is shrunk towards the mean variance of its kind.
    """
    fallback = registered_spread(study)
    if reference is None or len(reference.seeds) < LEAST:
        return fallback
    own = {}
    for cell, by_seed in reference.by_cell.items():
        results = list(by_seed.values())
        if cell.variant != BASE and len(results) >= LEAST:
            values = [result.value for result in results]
            relative_to = scale(float(np.mean(values)), results[-1].n) ** 2
            own[cell] = float(np.var(values, ddof=1)) / relative_to
    of_kind: dict[tuple[str, str], list[float]] = {}
    for cell, variance in own.items():
        of_kind.setdefault(kind_of(study, cell), []).append(variance)
    prior = {kind: float(np.mean(variances)) for kind, variances in of_kind.items()}

    def relative(cell: Cell) -> float:
        typical = prior.get(kind_of(study, cell))
        if typical is None:
            return fallback.relative(cell)
        if cell not in own:
            return math.sqrt(typical)
        df = len(reference.of(cell)) - 1
        return math.sqrt((PRIOR_DF * typical + df * own[cell]) / (PRIOR_DF + df))

    k, facts = len(reference.seeds), _fact_spread(reference) or fallback.facts
    source = f"{counted(k, 'seed')} of {reference.folder.name}"
    return SeedSpread(relative, PRIOR_DF + k - 1, fallback.shared, facts, source)


def _fact_spread(reference: Run) -> Mapping[str, float]:
    """Relative spread over seeds of a ratio of two fine-tunes' facts."""
    found: dict[str, float] = {}
    for kind, facts in reference.facts.items():
        logs = [[math.log(value) for value in by_seed.values()] for by_seed in facts.values()]
        squares = [np.var(own, ddof=1) for own in logs if len(own) >= LEAST]
        if squares:
            found[kind] = math.sqrt(2 * float(np.mean(squares)))
    return found if len(found) == 2 else {}
