"""Each method against scipy as an oracle, and by simulation. All seeds are fixed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from repro.verify import statistics as s

SIMULATIONS = 4000
# Four standard errors of a simulated share near 5%.
NEAR_5 = 4 * math.sqrt(0.05 * 0.95 / SIMULATIONS)


@pytest.mark.parametrize(("hits", "n"), [(0, 250), (1, 250), (125, 250), (249, 250), (250, 250)])
def test_interval_of_a_share_against_scipy(hits: int, n: int) -> None:
    oracle = stats.binomtest(hits, n).proportion_ci(method="exact")
    assert s.clopper_pearson(hits, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize("n", [5, 20, 60])
def test_clopper_pearson_covers_at_least_its_level(n: int) -> None:
    hits = np.arange(n + 1)
    bounds = np.array([s.clopper_pearson(int(h), n) for h in hits])
    for p in np.linspace(0.01, 0.99, 99):
        inside = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
        assert stats.binom.pmf(hits, n, p)[inside].sum() >= 0.95


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_against_its_definition(p_values: list[float]) -> None:
    """Adjusted p of i: over all j with p_j <= p_i, the largest p_j times hypotheses not smaller."""
    n = len(p_values)
    ranks = {i: r for r, i in enumerate(sorted(range(n), key=lambda i: (p_values[i], i)))}
    for i, adjusted in enumerate(s.holm(p_values)):
        steps = [p_values[j] * (n - ranks[j]) for j in range(n) if ranks[j] <= ranks[i]]
        assert adjusted == pytest.approx(min(1.0, max(steps)))


def test_holm_error_rate_by_simulation() -> None:
    p = np.random.default_rng(2).uniform(size=(SIMULATIONS, 16))
    assert np.mean([min(s.holm(list(row))) < 0.05 for row in p]) == pytest.approx(0.05, abs=NEAR_5)


def test_difference_p_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(0.01, 0.1, 100)
    se = d.std(ddof=1) / 10
    oracle = stats.ttest_1samp(d, 0)
    assert s.difference_p(d.mean(), se, 99) == pytest.approx(oracle.pvalue)


def test_tost_against_two_t_tests_of_scipy() -> None:
    rng = np.random.default_rng(4)
    d = rng.normal(0.005, 0.1, 250)
    se = d.std(ddof=1) / math.sqrt(250)
    low = stats.ttest_1samp(d, -0.02, alternative="greater").pvalue
    high = stats.ttest_1samp(d, 0.02, alternative="less").pvalue
    assert s.tost_p(d.mean(), se, 249, 0.02) == pytest.approx(max(low, high))


@pytest.mark.parametrize(
    ("n", "sd", "margin"), [(250, 0.1, 0.02), (8, 0.05, 0.06), (5, 0.05, 0.08)]
)
def test_tost_power_and_size_by_simulation(n: int, sd: float, margin: float) -> None:
    rng = np.random.default_rng(5)

    def shown(true: float) -> float:
        d = rng.normal(true, sd, (SIMULATIONS, n))
        errors = d.std(axis=1, ddof=1) / math.sqrt(n)
        return float(
            np.mean(
                [
                    s.tost_p(m, e, n - 1, margin) < 0.05
                    for m, e in zip(d.mean(axis=1), errors, strict=True)
                ]
            )
        )

    power = s.tost_power(sd / math.sqrt(n), n - 1, margin)
    assert shown(0.0) == pytest.approx(power, abs=4 * math.sqrt(0.25 / SIMULATIONS))
    assert shown(margin) <= 0.05 + NEAR_5


@pytest.mark.parametrize(("n", "effect"), [(250, 0.015), (6, 0.12)])
def test_detection_power_and_false_alarms_by_simulation(n: int, effect: float) -> None:
    rng = np.random.default_rng(6)

    def alarms(true: float) -> float:
        d = rng.normal(true, 0.1, (SIMULATIONS, n))
        errors = d.std(axis=1, ddof=1) / math.sqrt(n)
        return float(
            np.mean(
                [
                    s.difference_p(m, e, n - 1) < 0.05
                    for m, e in zip(d.mean(axis=1), errors, strict=True)
                ]
            )
        )

    power = s.detection_power(effect, 0.1 / math.sqrt(n), n - 1)
    assert alarms(effect) == pytest.approx(power, abs=4 * math.sqrt(0.25 / SIMULATIONS))
    assert alarms(0.0) == pytest.approx(0.05, abs=NEAR_5)


def test_paired_bootstrap_against_scipy_and_coverage() -> None:
    rng = np.random.default_rng(8)
    d = rng.gamma(2, 0.05, 120) - 0.08
    oracle = stats.bootstrap(
        (d,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert s.paired_bootstrap(d) == pytest.approx((oracle.low, oracle.high), abs=0.0015)
    weights = s.resampling_weights(120, "coverage", 1000)
    samples = rng.gamma(2, 0.05, (1000, 120)) - 0.1
    bounds = np.quantile(samples @ weights.T / 120, [0.025, 0.975], axis=1)
    covered = np.mean((bounds[0] <= 0) & (bounds[1] >= 0))
    assert covered == pytest.approx(0.95, abs=0.03)


def test_weights_are_multinomial_and_depend_on_the_name_only() -> None:
    weights = s.resampling_weights(50, "paws", 2000)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.03)
    assert (weights == s.resampling_weights(50, "paws", 2000)).all()
    assert (weights != s.resampling_weights(50, "qqp", 2000)).any()


def test_satterthwaite_of_one_part_and_of_equal_parts() -> None:
    assert s.satterthwaite([(0.04, 9.0), (0.0, 3.0)]) == pytest.approx((0.2, 9.0))
    assert s.satterthwaite([(0.02, 5.0), (0.02, 5.0)]) == pytest.approx((0.2, 10.0))


def test_quantiles_and_tails_against_scipy() -> None:
    for df in (1.0, 4.0, 249.0):
        assert s.t_quantile(0.975, df) == pytest.approx(stats.t.ppf(0.975, df))
        assert s.t_tail(2.5, df) == pytest.approx(stats.t.sf(2.5, df))
    assert s.t_quantile(0.975, math.inf) == pytest.approx(stats.norm.ppf(0.975))


@given(
    st.floats(-0.1, 0.1), st.floats(0.001, 0.1), st.floats(1, 300), st.floats(0.001, 0.1),
    st.floats(0, 0.1),
)  # fmt: skip
def test_a_wider_margin_is_never_harder_to_meet(
    estimate: float, se: float, df: float, margin: float, wider: float
) -> None:
    assert s.tost_p(estimate, se, df, margin + wider) <= s.tost_p(estimate, se, df, margin)
    assert s.tost_power(se, df, margin + wider) >= s.tost_power(se, df, margin)
