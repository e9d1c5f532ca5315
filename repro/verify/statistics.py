"""The statistics behind the verdicts, each a plain function of numbers.

Sources: Clopper and Pearson 1934, two one-sided tests (Schuirmann 1987), Satterthwaite 1946,
Holm 1979, percentile bootstrap (Efron 1979).
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

Floats = NDArray[np.float64]

ALPHA = 0.05
"""Error rate of every test; intervals are 95% unless they say otherwise."""
DRAWS = 10_000
SEED = 20240314


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t; df may be infinite."""
    return float(special.ndtri(p) if math.isinf(df) else special.stdtrit(df, p))


def t_interval(estimate: float, se: float, df: float) -> Interval:
    """The interval of an estimate by Student's t."""
    half = t_quantile(1 - ALPHA / 2, df) * se
    return Interval(estimate - half, estimate + half)


def t_tail(t: float, df: float) -> float:
    """P(T >= t) of Student's t; df may be infinite."""
    return float(special.ndtr(-t) if math.isinf(df) else special.stdtr(df, -t))


def clopper_pearson(successes: int, n: int) -> Interval:
    """Exact interval of a share: covers at least at its level."""
    tail = ALPHA / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Interval(float(low), float(high))


def rng_for(name: str) -> np.random.Generator:
    """A generator that depends on the name only, so that results never depend on order."""
    digest = hashlib.sha256(f"{SEED}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@lru_cache(maxsize=4)
def resampling_weights(n: int, name: str, draws: int = DRAWS) -> Floats:
    """How often each of n rows is drawn, per bootstrap draw: [draws, n], each line sums to n.

    One matrix serves all systems scored on the same rows, which keeps them paired; do not write
    to it.
    """
    picks = rng_for(name).integers(0, n, size=(draws, n))
    flat = picks + np.arange(draws)[:, None] * n
    return np.bincount(flat.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def percentile_interval(draws: Floats) -> Interval:
    """The percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(low), float(high))


def paired_bootstrap(differences: Floats) -> Interval:
    """95% interval of the mean of paired differences [n]; seeded."""
    n = len(differences)
    return percentile_interval(resampling_weights(n, "paired") @ differences / n)


def satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of independent variance estimates.

    Args:
        parts: (variance, degrees of freedom) each, at least one of the latter; zero variances
            count for nothing.
    """
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / max(df, 1.0) for variance, df in parts if variance > 0)
    return math.sqrt(total), (total**2 / below if below > 0 else math.inf)


def pooled(variance: float, df: float, values: Floats) -> tuple[float, float]:
    """A known variance pooled with that of values, and the degrees of freedom of both together."""
    more = len(values) - 1
    if not more:
        return variance, df
    both = df * variance + more * float(np.var(values, ddof=1))
    return both / (df + more), df + more


def difference_p(estimate: float, se: float, df: float) -> float:
    """Two-sided p that the true difference is zero."""
    if se == 0:
        return 1.0 if estimate == 0 else 0.0
    return 2 * t_tail(abs(estimate) / se, df)


def above_p(estimate: float, bound: float, se: float, df: float) -> float:
    """One-sided p against "the truth is at or below the bound"."""
    if se == 0:
        return 0.0 if estimate > bound else 1.0
    return t_tail((estimate - bound) / se, df)


def tost_p(estimate: float, se: float, df: float, margin: float) -> float:
    """P of two one-sided tests: small when the true difference lies within +-margin."""
    return max(above_p(estimate, -margin, se, df), above_p(-estimate, -margin, se, df))


# Midpoints in probability over the distribution of the estimated standard error.
_GRID = (np.arange(400) + 0.5) / 400


@lru_cache
def _scaled_errors(df: float) -> Floats:
    """Estimated over true standard error at equally likely points."""
    if math.isinf(df):
        return np.ones(1)
    return np.asarray(np.sqrt(special.chdtri(df, 1 - _GRID) / df), dtype=np.float64)


def tost_power(se: float, df: float, margin: float) -> float:
    """Chance that the two one-sided tests show equivalence when the true difference is zero."""
    if se == 0:
        return 1.0
    room = margin / se - t_quantile(1 - ALPHA, df) * _scaled_errors(df)
    return float(np.mean(np.where(room > 0, 2 * special.ndtr(room) - 1, 0.0)))


def detection_power(effect: float, se: float, df: float) -> float:
    """Chance that the two-sided test finds a true difference of this size."""
    if se == 0:
        return 1.0 if effect else 0.0
    bar = t_quantile(1 - ALPHA / 2, df) * _scaled_errors(df)
    shift = abs(effect) / se
    return float(np.mean(special.ndtr(shift - bar) + special.ndtr(-shift - bar)))


def smoothed_share_variance(share: float, n: int) -> float:
    """Binomial sampling variance of a share, never zero: one success and one failure added."""
    p = (share * n + 1) / (n + 2)
    return p * (1 - p) / n


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values that control the chance of any false finding."""
    p = np.asarray(p_values, dtype=np.float64)
    n = len(p)
    order = np.argsort(p, kind="stable")
    ranked = np.maximum.accumulate(p[order] * np.arange(n, 0, -1))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(ranked, 1.0)
    return [float(value) for value in adjusted]
