"""Mean differences of a study's summaries, with intervals over test sets and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repro.spec.claims import Pair, Summary
from repro.spec.points import Point
from repro.verify.effects import compare, mean_of, means_of, points_of
from repro.verify.measured import Measured, Source, common_seeds
from repro.verify.statistics import Interval, satterthwaite, t_interval

_FEWEST = 3
"""Test sets whose spread is taken for that of others."""


@dataclass(frozen=True)
class Averaged:
    """A mean difference of scores.

    Attributes:
        interval: 95 %.
        sets, seeds, pairs: how many test sets, seeds and differences are behind it.
    """

    effect: float
    interval: Interval
    sets: int
    seeds: int
    pairs: int


def summarised(summary: Summary, source: Source) -> Mapping[tuple[str, str], Averaged]:
    """The places of a summary that were run."""
    found = ((place, averaged(pairs, source)) for place, pairs in summary.pairs.items())
    return {place: value for place, value in found if value is not None}


def averaged(pairs: Sequence[Pair], source: Source) -> Averaged | None:
    """The mean of differences, each test set with the same weight; None unless all were run.

    A mean over some of them would not be comparable with those at its side.

    The interval adds the variance of the mean over test sets and that over seeds, so that it
    speaks of other test sets of the kind too; the former holds what sampling rows adds. Of one or
    two test sets, which show no spread, it speaks of their rows and of seeds.
    """
    known: dict[Point, Measured] = {}
    for point in (point for pair in pairs for point in points_of(pair)):
        if (value := source(point)) is None:
            return None
        known[point] = value
    seeds = common_seeds(known.values())
    if seeds is None:
        return None
    means = means_of([compare(pair, known, seeds) for pair in pairs])
    values = np.stack([item.effect.values for item in means])  # test sets by seeds
    sets, count = values.shape
    if sets < _FEWEST:
        se, df = mean_of("all", means).spread()
    else:
        parts = [(float(np.var(values.mean(axis=1), ddof=1)) / sets, sets - 1.0)]
        if count > 1:
            parts.append((float(np.var(values.mean(axis=0), ddof=1)) / count, count - 1.0))
        se, df = satterthwaite(parts)
    mean = float(values.mean())
    return Averaged(mean, t_interval(mean, se, df), sets, len(seeds), len(pairs))
