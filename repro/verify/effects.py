"""From measured points to effects: differences, their means, changes and gains, with errors."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.spec.claims import Direction, Pair, Term
from repro.spec.points import Point
from repro.verify.claimverdicts import Effect
from repro.verify.margins import margins
from repro.verify.measured import Measured, Side, chosen
from repro.verify.statistics import Floats, above_p, pooled, satterthwaite, t_interval


@dataclass(frozen=True)
class Region:
    """Where an effect must lie for a claim to hold; open, and perhaps unbounded."""

    low: float
    high: float

    def __contains__(self, effect: float) -> bool:
        return self.low < effect < self.high

    def p_shown(self, effect: float, se: float, df: float, optimism: float = 0.0) -> float:
        """P of "it lies outside": both bounds must be cleared.

        Args:
            optimism: the estimate may be too high by anything up to this, or too low if negative;
                the least favourable is taken.
        """
        low, high = effect - max(optimism, 0.0), effect - min(optimism, 0.0)
        return max(above_p(low, self.low, se, df), above_p(-high, -self.high, se, df))

    def p_against(self, effect: float, se: float, df: float, optimism: float = 0.0) -> float:
        """P of "it lies inside": one bound must be clearly missed."""
        low, high = effect - max(optimism, 0.0), effect - min(optimism, 0.0)
        least = min(above_p(-high, -self.low, se, df), above_p(low, self.high, se, df))
        bounds = math.isfinite(self.low) + math.isfinite(self.high)
        return min(1.0, bounds * least)


def region(direction: Direction, margin: float) -> Region:
    """The region of a direction."""
    return {
        "greater": Region(0.0, math.inf),
        "less": Region(-math.inf, 0.0),
        "equal": Region(-margin, margin),
        "at most": Region(-math.inf, margin),
        "at least": Region(-margin, math.inf),
    }[direction]


def claim_margin(metrics: Iterable[str]) -> float:
    """The registered margin of claims, averaged over metrics where a mean spans both."""
    return float(np.mean([margins().claims[metric] for metric in metrics]))


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
        elif math.isinf(self.df):
            seeds, df = prior, self.df
        else:
            seeds, df = pooled(prior, self.df, own.values)
        return satterthwaite([(rows, max(1.0, self.n - 1.0)), (seeds / k, df)])

    def noise(self) -> Floats:
        """Draws of the error of the mean over seeds, around zero: [draws]."""
        own = self.effect
        error = own.draws.mean(axis=0)
        return error - error.mean() + own.luck / math.sqrt(len(own.values))


def _term(term: Term, measured: Mapping[Point, Measured], seeds: tuple[int, ...]) -> Side:
    sides = [measured[point].of(seeds) for point in term.points]
    if term.take == "each" or (len(sides) == 1 and term.take == "best"):
        return sides[0]
    return chosen(sides, np.ptp if term.take == "range" else np.max)


def points_of(pair: Pair) -> tuple[Point, ...]:
    """The points that a pair compares."""
    return pair.left.points + (pair.right.points if pair.right else ())


def compare(
    pair: Pair, measured: Mapping[Point, Measured], seeds: tuple[int, ...], threshold: float = 0.0
) -> Compared:
    """A pair as measured; what has no right side is held against the threshold."""
    left = _term(pair.left, measured, seeds)
    right = _term(pair.right, measured, seeds) if pair.right else left.like(threshold)
    df = min(measured[point].df for point in points_of(pair))
    n = min(measured[point].n for point in pair.left.points)
    return Compared(pair.name, pair.left.dataset, left, right, n, df)


def _mean_side(sides: Sequence[Side]) -> Side:
    names = ("values", "draws", "luck", "optimism")
    return Side(*(np.mean([getattr(side, name) for side in sides], axis=0) for name in names))


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


def means_of(items: Sequence[Compared]) -> list[Compared]:
    """The mean of every test set."""
    datasets = dict.fromkeys(item.dataset for item in items)
    return [mean_of(name, [i for i in items if i.dataset == name]) for name in datasets]


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
    means = means_of(items)

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
    left, right, effect = (float(side.values.mean()) for side in (item.left, item.right, own))
    spread = item.spread()
    return with_tests(item.name, left, right, effect, spread, where, holding, own.optimism)


def with_tests(
    name: str,
    left: float,
    right: float,
    effect: float,
    spread: tuple[float, float],
    where: Region,
    holding: Sequence[bool] = (),
    optimism: float = 0.0,
) -> Effect:
    """An effect whose standard error and degrees of freedom are known; see `effect_of`."""
    holds = effect in where
    return Effect(
        name,
        left,
        right,
        effect,
        t_interval(effect, *spread),
        holds,
        where.p_shown(effect, *spread, optimism),
        where.p_against(effect, *spread, optimism),
        sum(holding) if holding else int(holds),
        len(holding) or 1,
        optimism,
    )
