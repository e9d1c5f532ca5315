"""The model of spread against closed forms, scipy, a plain re-implementation, and simulation.

A simulated share of R references has a standard error of at most sqrt(p (1 - p) / R), however many
runs are held against each of them; three of them are allowed on top of a nominal rate.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from repro.verify.spread import FEW, Family, Prior, Tail, family, largest, normal_score, prior

Rng = np.random.Generator
GRID = (4, 6, 8, 12, 16, 24, 32, 48)


@given(st.floats(-30, 30), st.floats(2, 80))
def test_normal_scores_have_the_tail_of_students_t(t: float, df: float) -> None:
    (score,) = normal_score(np.array([t]), np.array([df]))
    assert math.copysign(1, score) == math.copysign(1, t) or score == 0
    tail = stats.t.sf(abs(t), df)
    assert abs(score) == pytest.approx(stats.norm.isf(tail), rel=1e-6, abs=1e-9)


def test_normal_scores_grow_with_t_to_the_far_tail() -> None:
    t = np.array([0.0, 1, 5, 20, 100, 1e4])
    for df in (2.0, 23.0, 60.0):
        scores = normal_score(t, np.full(6, df))
        assert scores[0] == 0
        assert (np.diff(scores) > 0).all()
        assert (normal_score(-t, np.full(6, df)) == -scores).all()


def test_shrunk_variances_by_hand() -> None:
    """Smyth 2004, equation for the posterior variance, with the floor on top."""
    known = Prior(np.array([2.0, 0.0]), np.array([6.0, 0.0]), np.array([0.5, 0.25]))
    found = known.shrink(np.array([5.0, 5.0]), 3.0)
    assert found.tolist() == [(6 * 2 + 3 * 5) / 9 + 0.5, 5.25]


def spread_variances(rng: Rng, n: int, df: float, scale: float = 2.0) -> np.ndarray:
    """True variances of n quantities: scaled inverse chi-square."""
    return np.asarray(df * scale / rng.chisquare(df, n))


def plain_prior(variances: np.ndarray, df: float, order: np.ndarray) -> tuple[float, np.ndarray]:
    """The same, in loops and with scipy's F distribution."""
    n = len(variances)
    width = min(41, n if n % 2 else n - 1)
    ranked = sorted(range(n), key=lambda i: order[i])
    mean = np.empty(n)
    for position, i in enumerate(ranked):
        total = 0.0
        for offset in range(-(width // 2), width // 2 + 1):
            place = abs(position + offset)
            place = 2 * (n - 1) - place if place >= n else place
            total += variances[ranked[place]]
        mean[i] = total / width
    likely = {}
    for d0 in GRID:
        scale = mean * (d0 - 2) / d0
        likely[d0] = stats.f.logpdf(variances, df, d0, scale=scale).sum()
    best = max(likely, key=lambda d0: likely[d0])
    return float(best), mean * (best - 2) / best


@pytest.mark.parametrize(("n", "seeds", "df"), [(60, 5, 8), (61, 3, 4), (25, 20, 16), (9, 4, 8)])
def test_the_prior_against_a_plain_implementation(n: int, seeds: int, df: int) -> None:
    rng = np.random.default_rng(n)
    true = spread_variances(rng, n, df)
    values = rng.normal(size=(n, seeds)) * np.sqrt(true)[:, None]
    order = rng.permutation(n).astype(float)
    found = prior(values, ["a"] * n, np.zeros(n), order)
    worth, scale = plain_prior(values.var(axis=1, ddof=1), seeds - 1.0, order)
    assert set(found.df) == {worth}
    assert found.scale == pytest.approx(scale)


@pytest.mark.parametrize("df", [4, 8, 16])
@pytest.mark.parametrize("seeds", [5, 20])
def test_the_prior_is_recovered_and_shrinking_helps(df: int, seeds: int) -> None:
    """The most likely degrees of freedom are the true ones or the next on the grid; the scale is
    within three tenths: at 4 degrees of freedom the variances have a heavy tail.
    """
    rng = np.random.default_rng(df)
    n = 500
    true = spread_variances(rng, n, df)
    values = rng.normal(size=(n, seeds)) * np.sqrt(true)[:, None]
    raw = values.var(axis=1, ddof=1)
    fitted = prior(values, ["a"] * n, np.zeros(n), np.arange(n, dtype=float))
    (worth,) = set(fitted.df)
    assert abs(GRID.index(int(worth)) - GRID.index(df)) <= 1
    assert fitted.scale.mean() == pytest.approx(2.0, rel=0.3)

    def error(estimate: np.ndarray) -> float:
        return float(np.mean(np.log(estimate / true) ** 2))

    shrunk = error(fitted.shrink(raw, seeds - 1.0))
    assert shrunk < error(raw)
    assert shrunk < error(np.full(n, raw.mean()))


def test_kinds_have_priors_of_their_own_and_few_quantities_have_none() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(60 + FEW - 1, 8)) * np.r_[np.ones(30), np.full(33 + 1, 10.0)][:, None]
    kinds = ["a"] * 30 + ["b"] * 30 + ["c"] * (FEW - 1)
    fitted = prior(values, kinds, np.zeros(len(values)), np.zeros(len(values)))
    assert fitted.scale[30] / fitted.scale[0] == pytest.approx(100, rel=0.5)
    assert set(fitted.df[60:]) == {0.0}
    alone = prior(values[:30], kinds[:30], np.zeros(30), np.zeros(30))
    assert alone.scale.tolist() == fitted.scale[:30].tolist()
    own = values[60:].var(axis=1, ddof=1)
    assert fitted.shrink(values.var(axis=1, ddof=1), 7.0)[60:] == pytest.approx(own)


def test_without_an_order_all_quantities_of_a_kind_have_the_same_prior() -> None:
    rng = np.random.default_rng(2)
    for n in (5, 24, 25, 90):
        fitted = prior(rng.normal(size=(n, 6)), ["a"] * n, np.zeros(n), np.zeros(n))
        assert len(set(fitted.scale)) == 1


def test_quantities_near_in_order_share_their_variance() -> None:
    rng = np.random.default_rng(3)
    order = np.sort(rng.uniform(size=200))
    values = rng.normal(size=(200, 20)) * (0.1 + order)[:, None]
    fitted = prior(values, ["a"] * 200, np.zeros(200), order)
    middle = slice(30, -30)
    expected = (0.1 + order[middle]) ** 2
    assert fitted.scale[middle] == pytest.approx(expected, rel=0.35)


def draw(rng: Rng, owners: int, per: int, seeds: int, heavy: bool, sd: np.ndarray) -> np.ndarray:
    """Quantities that share a part of their luck within an owner [quantities, seeds]."""

    def luck(*shape: int) -> np.ndarray:
        if heavy:
            return np.asarray(rng.standard_t(5, shape) * math.sqrt(3 / 5))
        return rng.normal(size=shape)

    both = math.sqrt(0.3) * luck(owners, 1, seeds) + math.sqrt(0.7) * luck(owners, per, seeds)
    return np.asarray(sd[:, None] * both.reshape(owners * per, seeds))


OWNERS, PER = 25, 4


def faithful(
    rng: Rng, seeds: int, runs: int, heavy: bool, worth: float = 8
) -> tuple[Family, np.ndarray]:
    """A fitted reference, and new runs of the same process [quantities, runs]."""
    n = OWNERS * PER
    sd = np.sqrt(spread_variances(rng, n, worth))
    stored = draw(rng, OWNERS, PER, seeds, heavy, sd)
    fitted = family(
        stored,
        ["a"] * n,
        [i // PER for i in range(n)],
        floor=np.full(n, 1e-3),
        order=rng.uniform(size=n),
    )
    return fitted, draw(rng, OWNERS, PER, runs, heavy, sd)


def deviations(fitted: Family, new: np.ndarray) -> np.ndarray:
    """[runs, quantities]"""
    return np.stack([fitted.deviations(one, 1) for one in new.T])


@pytest.mark.parametrize(
    ("seeds", "heavy"),
    [
        (3, False),
        (3, True),
        (5, False),
        (5, True),
        (10, False),
        (10, True),
        (20, False),
        (20, True),
    ],
)
def test_false_alarms_of_faithful_runs_stay_at_the_nominal_rate(seeds: int, heavy: bool) -> None:
    """The largest of 100 deviations beyond the threshold, in 120 references with 20 runs each.

    Tails are normal, or those of Student's t with 5 degrees of freedom.
    """
    rng = np.random.default_rng(100 + seeds)
    alpha, references = 0.01, 120
    found = []
    for _ in range(references):
        fitted, new = faithful(rng, seeds, 20, heavy)
        bar = fitted.extreme.threshold(alpha)
        found.append(float((deviations(fitted, new).max(axis=1) > bar).mean()))
    assert np.mean(found) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / references)


@pytest.mark.parametrize("seeds", [5, 20])
def test_single_deviations_are_normal(seeds: int) -> None:
    """Before any threshold: a share of 5 % beyond 1.96, within a tenth of a point a quantity."""
    rng = np.random.default_rng(seeds)
    beyond = []
    for _ in range(40):
        fitted, new = faithful(rng, seeds, 10, False)
        beyond.append(float((deviations(fitted, new) > stats.norm.isf(0.025)).mean()))
    error = np.std(beyond, ddof=1) / math.sqrt(len(beyond))
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.006 + 3 * error)


@pytest.mark.parametrize("seeds", [5, 20])
@pytest.mark.parametrize("power", [0.9, 0.5])
def test_what_would_be_noticed_is_noticed_that_often(seeds: int, power: float) -> None:
    """Runs damaged by that much in a quantity raise an alarm there in nine of ten, on average over
    quantities. 40 references of 100 quantities and 10 runs: the quantities of a reference are
    nearly independent, so .05 is more than three standard errors.
    """
    rng = np.random.default_rng(7 * seeds)
    alpha, found = 0.01, []
    for _ in range(40):
        fitted, new = faithful(rng, seeds, 10, False)
        size = fitted.noticed(1, alpha, power)
        bar = fitted.extreme.threshold(alpha)
        for sign in (-1, 1):
            found.append(float((deviations(fitted, new + sign * size[:, None]) > bar).mean()))
    assert np.mean(found) == pytest.approx(power, abs=0.05)


def test_more_new_seeds_are_averaged() -> None:
    """The mean of m runs lies in sqrt(1 / m + 1 / k) of the spread of one."""
    rng = np.random.default_rng(5)
    fitted, _ = faithful(rng, 8, 1, False)
    one, four = fitted.error(1), fitted.error(4)
    assert four / one == pytest.approx(np.full(len(one), math.sqrt((1 / 4 + 1 / 8) / (1 + 1 / 8))))
    assert (fitted.noticed(4, 0.01) < fitted.noticed(1, 0.01)).all()


@given(
    st.floats(0, 6), st.floats(0.05, 2), st.floats(0, 9), st.integers(1, 60), st.integers(1, 20),
    st.floats(0, 40), st.floats(0.001, 0.2),
)  # fmt: skip
def test_a_threshold_and_its_chance_agree(
    start: float, scale: float, most: float, owners: int, each: int, x: float, alpha: float
) -> None:
    """Against scipy's exponential distribution, over independent owners."""
    count = owners * each
    one = Tail(start, scale, most, owners, count)
    bar = one.threshold(alpha)
    own = 1 - (1 - alpha) ** (1 / owners)
    # An own chance above the share that the tail is fitted to lies before its start.
    far = start + scale * math.log(0.25 / own)
    assert bar == pytest.approx(max(most, far, stats.norm.isf(alpha / (2 * count))))
    if x > start:
        beyond = 1 - (1 - 0.25 * stats.expon.sf(x, start, scale)) ** owners
        expected = max(beyond, min(1, 2 * count * stats.norm.sf(x)))
        assert one.p(x) == pytest.approx(expected, abs=1e-12)
    if x > max(bar, start):
        assert one.p(x) <= alpha * (1 + 1e-9)
    assert one.threshold(alpha / 2) >= bar
    assert one.p(x + 1) <= one.p(x)


def test_no_stored_seed_is_an_alarm_among_the_others() -> None:
    rng = np.random.default_rng(9)
    scores = np.abs(rng.normal(size=(40, 6)))
    found = largest(scores, [i // 4 for i in range(40)])
    assert found.most == scores.max()
    assert found.threshold(0.2) >= scores.max()
    assert (found.owners, found.quantities) == (10, 40)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 8))
def test_neither_the_order_of_quantities_nor_that_of_seeds_matters(state: int, seeds: int) -> None:
    rng = np.random.default_rng(state)
    n = 30
    values = rng.normal(size=(n, seeds)) * rng.uniform(0.1, 3, n)[:, None]
    kinds = [("a", "b")[i % 2] for i in range(n)]
    owners = [i // 5 for i in range(n)]
    order = rng.uniform(size=n)
    one_sided = [i % 3 == 0 for i in range(n)]
    new = rng.normal(size=n)

    def fit(rows: np.ndarray, columns: np.ndarray, trend: bool) -> tuple[np.ndarray, float]:
        fitted = family(
            values[rows][:, columns],
            [kinds[i] for i in rows],
            [owners[i] for i in rows],
            floor=np.full(n, 0.01),
            order=order[rows] if trend else None,
            one_sided=[one_sided[i] for i in rows],
        )
        back = np.empty(n)
        back[rows] = fitted.deviations(new[rows], 1)
        return back, fitted.extreme.threshold(0.01)

    for trend in (True, False):
        plain = fit(np.arange(n), np.arange(seeds), trend)
        mixed = fit(rng.permutation(n), rng.permutation(seeds), trend)
        assert mixed[0] == pytest.approx(plain[0], rel=1e-6, abs=1e-9)
        assert mixed[1] == pytest.approx(plain[1], rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 3))
@settings(max_examples=50, deadline=None)
def test_more_of_the_same_damage_is_never_less_of_a_deviation(
    state: int, damage: float, more: float
) -> None:
    """Once a quantity is as far off as the damage, on the damage's side."""
    rng = np.random.default_rng(state)
    values = rng.normal(size=(12, 5))
    fitted = family(
        values, ["a"] * 12, list(range(12)), floor=np.full(12, 0.01), one_sided=[False] * 12,
    )  # fmt: skip
    below = fitted.mean - damage
    assert (fitted.deviations(below - more, 1) >= fitted.deviations(below, 1) - 1e-12).all()
    one_sided = Family(
        fitted.values, fitted.variance, fitted.df, np.ones(12, dtype=bool), fitted.extreme
    )
    above = fitted.mean + damage
    assert (one_sided.deviations(above + more, 1) >= one_sided.deviations(above, 1) - 1e-12).all()
    assert (one_sided.deviations(below, 1) <= 0).all()
