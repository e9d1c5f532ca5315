"""Measured values of plotted points, with draws that carry their uncertainty over rows.

Claims are judged by the same code on the paper's numbers and on a run's; only where values and
draws come from differs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.spec.cells import BASE
from repro.spec.points import Point
from repro.studies.paper.study import study as paper_study
from repro.verify.margins import margins
from repro.verify.published import Paper, Published
from repro.verify.seedspread import registered_spread
from repro.verify.statistics import DRAWS, Floats, rng_for, smoothed_share_variance


@dataclass(frozen=True)
class Side:
    """One side of a comparison, or the difference of both.

    Attributes:
        values: [seeds]; draws: [seeds, draws], on resampled rows; luck: [draws], deviations of
            one seed.
        optimism: see `Measured`.
    """

    values: Floats
    draws: Floats
    luck: Floats
    optimism: float = 0.0

    def __sub__(self, other: "Side") -> "Side":
        return Side(
            self.values - other.values,
            self.draws - other.draws,
            self.luck - other.luck,
            self.optimism - other.optimism,
        )

    def like(self, value: float) -> "Side":
        """A number that is known, in the same form."""
        values, draws = np.full_like(self.values, value), np.full_like(self.draws, value)
        return Side(values, draws, np.zeros_like(self.luck))


def chosen(sides: Sequence[Side], take: Callable[..., Any], near: float = 0.0) -> Side:
    """The largest, or the range, of several; `take` is numpy's function.

    Args:
        near: a number near the result, taken off before deviations are averaged: it rounds less.
    """
    values = np.stack([side.values for side in sides])
    draws = np.stack([side.draws for side in sides])
    luck = np.stack([side.luck for side in sides])
    moved = take(values.mean(axis=1)[:, None] + luck, axis=0) - near
    # The expectation of the largest error, of rows and of seeds, were all equally good.
    errors = (draws - values[:, :, None]).mean(axis=1) + luck / math.sqrt(values.shape[1])
    return Side(
        take(values, axis=0),
        take(draws, axis=0),
        moved - moved.mean(),
        float(take(errors, axis=0).mean()),
    )


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

    def of(self, seeds: tuple[int, ...]) -> Side:
        """These seeds only; what has no seed is the same for all."""
        own = [self.seeds.index(seed) for seed in seeds] if self.seeds else [0] * max(1, len(seeds))
        luck = np.zeros(self.draws.shape[-1]) if self.luck is None else self.luck
        return Side(self.values[own], self.draws[own], luck, self.optimism)


def common_seeds(measured: Iterable[Measured]) -> tuple[int, ...] | None:
    """Seeds that all of them have that have seeds; None if there are none in common."""
    sets = [set(item.seeds) for item in measured if item.seeds]
    if not sets:
        return ()
    return tuple(sorted(set.intersection(*sets))) or None


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


def published_source(paper: Paper) -> Source:
    """The paper's own numbers.

    Its rows are unpublished, so that comparisons cannot be paired: draws of different cells are
    independent, which makes intervals wider than paired ones. The same cell has the same draws
    wherever it is plotted. The paper has one seed, whose spread is unpublished too.
    """
    spread = registered_spread(paper_study())

    def measure(point: Point) -> Measured:
        number = paper.of(point)
        cell = point.cells[0].name if len(point.cells) == 1 else str(number.key)
        noise = rng_for(f"paper/{cell}").standard_normal(DRAWS)
        draws = number.value + math.sqrt(row_variance(number)) * noise
        first, count = point.cells[0], len(point.cells)
        luck, own = None, 0.0
        if first.variant != BASE:
            luck = spread.luck(first, number.value, number.n)
            own = spread.sd(first, number.value, number.n) ** 2 * (1 - spread.shared)
        optimism = EXPECTED_MAXIMUM[count] * math.sqrt(row_variance(number) + own)
        values = np.array([number.value])
        return Measured((), values, draws[None, :], number.n, luck, spread.df, optimism)

    return measure
