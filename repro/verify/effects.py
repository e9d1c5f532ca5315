"""From measured points to effects: differences, their means, changes and gains, with errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.spec.claims import Pair, Term
from repro.spec.points import Point
from repro.verify.claimverdicts import Effect
from repro.verify.measured import Measured
from repro.verify.regions import Region
from repro.verify.statistics import ALPHA, Floats, Interval, satterthwaite, t_quantile


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

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


@dataclass(frozen=True)
class Compared:
    """A comparison, or a summary of several: left, right, and their difference.

    Attributes:
        n: rows; df: degrees of freedom behind `luck`; count: comparisons in it.
    """

    name: str
    dataset: str
    left: Side
    right: Side
    n: int
    df: float = math.inf
    count: int = 1

    @property
    def effect(self) -> Side:
        return self.left - self.right

    def spread(self) -> tuple[float, float]:
        """Standard error over rows and seeds, and its degrees of freedom.

        The part of rows is floored at one row of n per comparison: rows that all agree still
        leave the next in doubt. The part of seeds pools what several seeds show with the prior,
        which alone speaks for a single one.
        """
        own = self.effect
        rows = max(float(np.var(own.draws.mean(axis=0))), 1 / (self.n**2 * self.count))
        prior, k = float(np.var(own.luck)), len(own.values)
        if prior == 0:
            seeds, df = (float(np.var(own.values, ddof=1)), k - 1.0) if k > 1 else (0.0, 1.0)
        elif k == 1 or math.isinf(self.df):
            seeds, df = prior, self.df
        else:
            df = self.df + k - 1
            seeds = (self.df * prior + (k - 1) * float(np.var(own.values, ddof=1))) / df
        return satterthwaite([(rows, max(1.0, self.n - 1.0)), (seeds / k, df)])

    def noise(self) -> Floats:
        """Draws of the error of the mean over seeds, around zero: [draws]."""
        own = self.effect
        error = own.draws.mean(axis=0)
        return error - error.mean() + own.luck / math.sqrt(len(own.values))


def _term(term: Term, measured: Mapping[Point, Measured], seeds: tuple[int, ...]) -> Side:
    points = [measured[point] for point in term.points]
    both = [point.of(seeds) for point in points]
    values = np.stack([value for value, _ in both])
    draws = np.stack([draw for _, draw in both])
    luck = np.stack([point.deviation for point in points])
    if term.take == "each" or (len(points) == 1 and term.take == "best"):
        return Side(values[0], draws[0], luck[0], points[0].optimism)
    take = np.ptp if term.take == "range" else np.max
    means = values.mean(axis=1)
    moved = take(means[:, None] + luck, axis=0)
    errors = (draws - values[:, :, None]).mean(axis=1) + luck / math.sqrt(values.shape[1])
    return Side(
        take(values, axis=0),
        take(draws, axis=0),
        moved - moved.mean(),
        float(take(errors, axis=0).mean()),
    )


def compare(
    pair: Pair,
    measured: Mapping[Point, Measured],
    seeds: tuple[int, ...],
    threshold: float = 0.0,
) -> Compared:
    """A pair as measured; what has no right side is held against the threshold."""
    left = _term(pair.left, measured, seeds)
    right = Side(
        np.full_like(left.values, threshold),
        np.full_like(left.draws, threshold),
        np.zeros_like(left.luck),
    )
    points = list(pair.left.points)
    if pair.right is not None:
        right = _term(pair.right, measured, seeds)
        points += pair.right.points
    df = min(measured[point].df for point in points)
    n = min(measured[point].n for point in pair.left.points)
    return Compared(pair.name, pair.left.dataset, left, right, n, df)


def _mean_side(sides: Sequence[Side]) -> Side:
    return Side(
        np.mean([side.values for side in sides], axis=0),
        np.mean([side.draws for side in sides], axis=0),
        np.mean([side.luck for side in sides], axis=0),
        float(np.mean([side.optimism for side in sides])),
    )


def mean_of(name: str, items: Sequence[Compared]) -> Compared:
    """The mean of several comparisons."""
    left = _mean_side([item.left for item in items])
    right = _mean_side([item.right for item in items])
    # As many spreads are averaged as independent deviations would have given the same variance.
    single = float(np.mean([np.var(item.effect.luck) for item in items]))
    joint = float(np.var(left.luck - right.luck))
    independent = max(1.0, single / joint) if joint > 0 else 1.0
    return Compared(
        name,
        items[0].dataset,
        left,
        right,
        min(item.n for item in items),
        independent * min(item.df for item in items),
        len(items),
    )


def change_of(items: Sequence[Compared]) -> Side:
    """Root mean square change, with the part that sampling rows adds taken off.

    A change measured on n rows is squared too large by its own variance, and draws by twice that.
    Seeds add to it too, but how much is only assumed: what they may add is its optimism.
    """
    effects = [item.effect for item in items]
    seeds = float(np.mean([np.var(effect.luck) for effect in effects]))
    noise = np.mean([effect.draws.var(axis=1) for effect in effects], axis=0)
    values = np.mean([effect.values**2 for effect in effects], axis=0)
    draws = np.mean([effect.draws**2 for effect in effects], axis=0)
    lucky = np.mean([(effect.values.mean() + effect.luck) ** 2 for effect in effects], axis=0)
    seeds /= len(values)
    moved = np.sqrt(np.maximum(lucky - noise.mean() - seeds, 0))
    size = np.sqrt(np.maximum(values - noise, 0))
    least = np.sqrt(np.maximum(values - noise - seeds, 0))
    return Side(
        size,
        np.sqrt(np.maximum(draws - 2 * noise[:, None], 0)),
        moved - moved.mean(),
        float((size - least).mean()),
    )


def gain_of(items: Sequence[Compared]) -> Side:
    """Mean over test sets of left / right - 1, which compares gains of different metrics."""
    datasets = dict.fromkeys(item.dataset for item in items)
    means = [mean_of(name, [i for i in items if i.dataset == name]) for name in datasets]

    def ratio(left: Floats, right: Floats, n: int) -> Floats:
        return left / np.maximum(right, 0.5 / n)  # half a row, where all are wrong

    def lucky(item: Compared) -> Floats:
        left, right = item.left.values.mean(), item.right.values.mean()
        return ratio(left + item.left.luck, right + item.right.luck, item.n)

    moved = np.mean([lucky(item) for item in means], axis=0)
    return Side(
        np.mean([ratio(i.left.values, i.right.values, i.n) for i in means], axis=0) - 1,
        np.mean([ratio(i.left.draws, i.right.draws, i.n) for i in means], axis=0) - 1,
        moved - moved.mean(),
    )


def group_against(name: str, first: Side, second: Side, like: Sequence[Compared]) -> Compared:
    """A summary of one group of comparisons against that of another."""
    whole = mean_of(name, like)
    return replace(whole, left=first, right=second, count=1)


def effect_of(item: Compared, where: Region, holding: Sequence[bool] = ()) -> Effect:
    """The effect with its interval and tests.

    Args:
        holding: whether each of the comparisons in a mean holds.
    """
    own = item.effect
    effect = float(own.values.mean())
    se, df = item.spread()
    half = t_quantile(1 - ALPHA / 2, df) * se
    holds = effect in where
    return Effect(
        item.name,
        float(item.left.values.mean()),
        float(item.right.values.mean()),
        effect,
        Interval(effect - half, effect + half),
        holds,
        where.p_shown(effect, se, df, own.optimism),
        where.p_against(effect, se, df, own.optimism),
        sum(holding) if holding else int(holds),
        len(holding) or 1,
        own.optimism,
    )
