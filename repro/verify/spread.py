"""The spread of retrained runs: what differs between seeds, estimated for all cells together.

Runs of different seeds are scored on the same rows, so that no sampling error of rows stands
between them: their spread over seeds is all there is. A cell has few stored seeds, hence a poor
variance of its own; variances are therefore shrunk towards those of cells of the same metric and a
like mean (empirical Bayes: Smyth 2004, "Linear models and empirical Bayes methods", with the
trended prior of Law et al. 2014; prior degrees of freedom by maximum likelihood of the scaled F).

How far a faithful run lies out is measured, too. Every stored seed is held against the other
stored seeds; fine-tunes are trained apart, so the largest deviations of all fine-tunes and seeds
are pooled and an exponential tail is fitted to their upper quarter (peaks over a threshold,
Pickands 1975). An alarm is what lies beyond that tail's quantile, beyond Bonferroni's, and beyond
every stored seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

from repro.verify.statistics import Floats

LEAST = 3
"""Stored seeds below which nothing is known of the spread."""
FEW = 5
"""Quantities of a kind below which they say nothing about each other's variance."""
_PRIOR_DF = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0)
_NEIGHBOURS = 41
_BEYOND = 0.25
"""Share of the largest deviations that the tail is fitted to."""


@dataclass(frozen=True)
class Prior:
    """What cells of a kind say about the variance of one of them.

    Attributes:
        scale: expected variance; df: how many observations it is worth; floor: least variance;
            each [quantities].
    """

    scale: Floats
    df: Floats
    floor: Floats

    def shrink(self, variances: Floats, df: float) -> Floats:
        """Variances of `df` degrees of freedom, moved towards the prior's."""
        return (self.df * self.scale + df * variances) / (self.df + df) + self.floor


def _running_mean(values: Floats, order: Floats) -> Floats:
    """The mean of each value's neighbours in the given order, [n]; of all where none is given."""
    if np.ptp(order) == 0:
        return np.full_like(values, values.mean())
    ranked = np.argsort(order, kind="stable")
    width = min(_NEIGHBOURS, len(values) - (len(values) + 1) % 2)
    padded = np.pad(values[ranked], width // 2, mode="reflect") if width > 1 else values[ranked]
    smooth = np.empty_like(values)
    smooth[ranked] = np.convolve(padded, np.ones(width) / width, mode="valid")
    return smooth


def prior(values: Floats, kinds: Sequence[str], floor: Floats, order: Floats) -> Prior:
    """The prior of quantities measured over seeds.

    Args:
        values: [quantities, seeds].
        kinds: quantities of one kind have a prior in common; fewer than FEW of a kind have none.
        floor: least variance, from the resolution of the quantity [quantities].
        order: quantities that are near in it have a like variance [quantities].
    """
    variances, df = values.var(axis=1, ddof=1), values.shape[1] - 1.0
    scale, worth = np.zeros_like(variances), np.zeros_like(variances)
    names = np.array(kinds)
    for kind in dict.fromkeys(kinds):
        own = names == kind
        if own.sum() >= FEW:
            mean = _running_mean(variances[own], order[own])
            worth[own] = _prior_df(variances[own], df, mean, floor[own])
            scale[own] = mean * (worth[own] - 2) / worth[own]
    return Prior(scale, worth, floor)


def _prior_df(variances: Floats, df: float, mean: Floats, floor: Floats) -> float:
    """How much a variance is like its neighbours': degrees of freedom of largest likelihood."""
    best, found = -math.inf, _PRIOR_DF[0]
    for candidate in _PRIOR_DF:
        # A scaled F has mean scale * d0 / (d0 - 2).
        scale = mean * (candidate - 2) / candidate + floor
        likely = float(np.sum(_log_f((variances + floor) / scale, df, candidate) - np.log(scale)))
        if likely > best:
            best, found = likely, candidate
    return found


def _log_f(x: Floats, a: float, b: float) -> Floats:
    """Log density of the F distribution."""
    constant = a / 2 * math.log(a / b) - special.betaln(a / 2, b / 2)
    return np.asarray(
        constant + (a / 2 - 1) * np.log(x) - (a + b) / 2 * np.log1p(a / b * x), dtype=np.float64
    )


@dataclass(frozen=True)
class Tail:
    """How far a faithful run lies out, anywhere, as a normal score.

    Attributes:
        start, scale: beyond `start` the largest deviation of one owner falls exponentially.
        most: the largest of all stored seeds.
        owners: fine-tunes, or whatever else was trained apart; quantities: of all of them.
    """

    start: float
    scale: float
    most: float
    owners: int
    quantities: int

    def p(self, x: float) -> float:
        """Chance that a faithful run deviates at least as far anywhere, at most."""
        normal = min(1.0, 2 * self.quantities * float(special.ndtr(-x)))
        if x <= self.start:
            return 1.0
        own = _BEYOND * math.exp(-(x - self.start) / self.scale)
        return max(normal, -math.expm1(self.owners * math.log1p(-own)))

    def threshold(self, alpha: float) -> float:
        """The deviation that a faithful run exceeds with this probability, at most.

        Not less than Bonferroni's for normal scores, which few stored seeds cannot vouch for.
        """
        own = -math.expm1(math.log1p(-alpha) / self.owners)
        far = self.start + self.scale * math.log(_BEYOND / own)
        return max(self.most, far, -float(special.ndtri(alpha / (2 * self.quantities))))


def largest(deviations: Floats, owners: Sequence[object]) -> Tail:
    """How far a faithful run lies out, from the stored seeds.

    The largest deviation of every owner and seed is pooled; the upper quarter of them gives the
    tail, which must reach further than any of them: a run is an alarm less often than one stored
    seed in as many is the largest.

    Args:
        deviations: of every stored seed from the others [quantities, seeds].
        owners: whatever was trained together has one owner [quantities].
    """
    names = list(dict.fromkeys(owners))
    place = np.array([names.index(owner) for owner in owners])
    maxima = np.stack([deviations[place == i].max(axis=0) for i in range(len(names))]).ravel()
    start = float(np.quantile(maxima, 1 - _BEYOND))
    beyond = np.sort(maxima[maxima > start])
    scale = max(float(np.mean(beyond - start)) if len(beyond) else 0.0, 1e-6)
    return Tail(start, scale, float(maxima.max()), len(names), len(deviations))


def normal_score(t: Floats, df: Floats) -> Floats:
    """The normal deviate of the same tail probability as Student's t."""
    return np.asarray(-np.sign(t) * special.ndtri(special.stdtr(df, -np.abs(t))), dtype=np.float64)


@dataclass(frozen=True)
class Family:
    """Quantities of one level, with their spread over the stored seeds.

    Attributes:
        values: of the stored seeds [quantities, seeds].
        variance: of one new seed, shrunk; df: its degrees of freedom; both [quantities].
        one_sided: whether only a larger value is a deviation [quantities].
        extreme: the largest deviation of a faithful run.
    """

    values: Floats
    variance: Floats
    df: Floats
    one_sided: NDArray[np.bool_]
    extreme: Tail

    @property
    def mean(self) -> Floats:
        return np.asarray(self.values.mean(axis=1), dtype=np.float64)

    def error(self, seeds: int) -> Floats:
        """Standard error of (mean of new seeds - mean of the stored ones) [quantities]."""
        return np.sqrt(self.variance * (1 / seeds + 1 / self.values.shape[1]))

    def deviations(self, ours: Floats, seeds: int) -> Floats:
        """How far the means of new seeds lie out, as normal scores [quantities]."""
        score = normal_score((ours - self.mean) / self.error(seeds), self.df)
        return np.where(self.one_sided, score, np.abs(score))

    def noticed(self, seeds: int, alpha: float, power: float = 0.9) -> Floats:
        """The smallest true difference that is an alarm with this probability [quantities]."""
        tail = special.ndtr(-self.extreme.threshold(alpha))
        bar = -special.stdtrit(self.df, tail) + special.stdtrit(self.df, power)
        return np.asarray(bar * self.error(seeds), dtype=np.float64)


def family(
    values: Floats,
    kinds: Sequence[str],
    owners: Sequence[object],
    *,
    floor: Floats,
    order: Floats | None = None,
    one_sided: Sequence[bool] | None = None,
) -> Family:
    """Fit a family.

    Args:
        values: [quantities, seeds], at least LEAST seeds.
        kinds, floor, order: of `prior`; without an order all of a kind are alike.
        owners: of `largest`.
        one_sided: whether only a larger value is a deviation [quantities].
    """
    count = values.shape[1]
    order = np.zeros(len(values)) if order is None else order
    fitted = prior(values, kinds, floor, order)
    one = np.zeros(len(values), dtype=bool) if one_sided is None else np.array(one_sided)
    scores = np.empty_like(values)
    for seed in range(count):
        others = np.delete(values, seed, axis=1)
        variance = fitted.shrink(others.var(axis=1, ddof=1), count - 2.0)
        error = np.sqrt(variance * (1 + 1 / (count - 1)))
        t = (values[:, seed] - others.mean(axis=1)) / error
        scores[:, seed] = normal_score(t, fitted.df + count - 2.0)
    return Family(
        values=values,
        variance=fitted.shrink(values.var(axis=1, ddof=1), count - 1.0),
        df=fitted.df + count - 1.0,
        one_sided=one,
        extreme=largest(np.where(one[:, None], scores, np.abs(scores)), owners),
    )
