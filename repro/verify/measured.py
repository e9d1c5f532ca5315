"""Measured values of plotted points, with draws that carry their uncertainty over rows.

Claims are judged by the same code on the paper's numbers and on a run's; only where values and
draws come from differs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repro.spec.cells import BASE
from repro.spec.points import Point
from repro.studies.paper.study import study as paper_study
from repro.verify.margins import margins
from repro.verify.published import Paper, Published
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import DRAWS, Floats, rng_for, smoothed_share_variance


@dataclass(frozen=True)
class Measured:
    """A point's value for each seed.

    Attributes:
        seeds: of the fine-tune; empty for the base, which has one value and no seed, and for
            the paper, whose single seed is unknown.
        values: [seeds or 1].
        draws: [seeds or 1, draws], the value on resampled rows; rows are shared within a test
            set, so that differences of draws are paired differences.
        n: rows.
        luck: [draws], deviations that one seed may have, around zero; None for the base.
        df: degrees of freedom behind the spread of `luck`.
        optimism: how much too high the best of several cells may read: its expectation were
            they all equally good. 0 for a single cell.
        constant: what is to be said of a model that gave every row the same label.
    """

    seeds: tuple[int, ...]
    values: Floats
    draws: Floats
    n: int
    luck: Floats | None = None
    df: float = math.inf
    optimism: float = 0.0
    constant: str = ""

    @property
    def deviation(self) -> Floats:
        """`luck`, zeros for the base: [draws]."""
        return np.zeros(self.draws.shape[-1]) if self.luck is None else self.luck

    def of(self, seeds: tuple[int, ...]) -> tuple[Floats, Floats]:
        """Values and draws of these seeds; what has no seed is the same for all."""
        count = max(1, len(seeds))
        if not self.seeds:
            return np.repeat(self.values, count), np.repeat(self.draws, count, axis=0)
        chosen = [self.seeds.index(seed) for seed in seeds]
        return self.values[chosen], self.draws[chosen]


Source = Callable[[Point], Measured | None]
"""The measured value of a point, or None where it was not run."""


def row_variance(number: Published) -> float:
    """Sampling variance of a published value over its n rows, plus that of reading it."""
    variance = smoothed_share_variance(number.value, number.n)
    if number.metric != "accuracy":
        variance *= margins().rouge_spread ** 2
    return variance + number.reading_variance


EXPECTED_MAXIMUM = {1: 0.0, 2: 0.5642, 3: 0.8463, 4: 1.0294}
"""Of as many standard normals (Harter 1961, "Expected values of normal order statistics")."""


def published_source(paper: Paper, spread: SeedSpread | None = None) -> Source:
    """The paper's own numbers.

    Its rows are unpublished, so that comparisons cannot be paired: draws of different cells are
    independent, which makes intervals wider than paired ones. The same cell has the same draws
    wherever it is plotted. The paper has one seed, whose spread is unpublished too.
    """
    luck = spread or registered_spread(paper_study())

    def measure(point: Point) -> Measured:
        number = paper.of(point)
        cell = point.cells[0].name if len(point.cells) == 1 else str(number.key)
        noise = rng_for(f"paper/{cell}").standard_normal(DRAWS)
        draws = number.value + math.sqrt(row_variance(number)) * noise
        first, count = point.cells[0], len(point.cells)
        base = first.variant == BASE
        own = 0.0 if base else luck.sd(first, number.value, number.n) ** 2 * (1 - luck.shared)
        return Measured(
            (),
            np.array([number.value]),
            draws[None, :],
            number.n,
            None if base else luck.luck(first, number.value, number.n),
            luck.df,
            EXPECTED_MAXIMUM[count] * math.sqrt(row_variance(number) + own) if count > 1 else 0.0,
        )

    return measure
