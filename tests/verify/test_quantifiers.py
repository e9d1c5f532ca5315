"""The rule for "all" and "most", against truths that are known because they are made."""

from collections.abc import Sequence
from dataclasses import replace
from math import erf

import numpy as np
import pytest

from repro.spec.claims import Contrast
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.claimverdicts import Answer, ContrastVerdict
from repro.verify.contrasts import Evidence, judge
from repro.verify.measured import Measured
from repro.verify.quantifiers import answered

ALL = claims()["C7"].contrasts[0]
"""48 comparisons on four test sets, greater; all are of accuracies."""
MOST = replace(ALL, quantifier="most")
Z = np.random.default_rng(5).standard_normal((48, 600))
Z = (Z - Z.mean(axis=1)[:, None]) / Z.std(axis=1)[:, None]
SE = 0.03


def verdict(
    contrast: Contrast,
    effects: Sequence[float],
    noise: np.random.Generator | None = None,
    published: ContrastVerdict | None = None,
) -> ContrastVerdict:
    """The contrast on measurements with these true effects, corrected for itself only."""
    drawn = {}
    for index, (pair, effect) in enumerate(zip(study().pairs(contrast), effects, strict=True)):
        assert pair.right is not None
        left, right = pair.left.points[0], pair.right.points[0]
        error = SE * noise.standard_normal() if noise else 0.0
        value = 0.5 + effect + error
        drawn[left] = Measured((), np.array([value]), value + SE * Z[index][None, :], 250)
        drawn[right] = Measured((), np.array([0.5]), 0.5 + 0 * Z[:1], 250)
    found = judge(contrast, Evidence(study(), drawn.get), published=published)
    return answered(found, found.p_shown, found.p_otherwise)


def on(dataset: str, effect: float, other: float) -> list[float]:
    """An effect on one test set, and another on the rest."""
    return [effect if pair.left.dataset == dataset else other for pair in study().pairs(ALL)]


@pytest.mark.parametrize(
    ("effects", "every", "most"),
    [
        ([0.1] * 48, Answer.HOLDS, Answer.HOLDS),
        ([0.002] * 48, Answer.AGREES, Answer.AGREES),
        ([-0.002] * 48, Answer.CANNOT_TELL, Answer.CANNOT_TELL),
        ([-0.1] * 48, Answer.FAILS, Answer.FAILS),
        (on("qqp", -0.2, 0.2), Answer.PARTLY, Answer.HOLDS),
        (on("qqp", 0.0001, 0.2), Answer.AGREES, Answer.HOLDS),
        (on("qqp", -0.0001, 0.2), Answer.CANNOT_TELL, Answer.HOLDS),
        (on("qqp", 0.2, -0.2), Answer.PARTLY, Answer.PARTLY),
        ([-0.2, *[0.2] * 47], Answer.PARTLY, Answer.HOLDS),
        ([*[-0.01] * 30, *[0.4] * 18], Answer.CANNOT_TELL, Answer.CANNOT_TELL),
    ],
)
def test_verdicts_on_plain_patterns(effects: list[float], every: Answer, most: Answer) -> None:
    assert verdict(ALL, effects).verdict is every
    assert verdict(MOST, effects).verdict is most


def test_both_sides_of_a_claim_that_holds_in_part_are_named() -> None:
    found = verdict(ALL, on("qqp", -0.2, 0.2))
    assert "QQP" in found.otherwise
    assert set(found.shown) == {"STS-B", "RTE", "GPTNLI"}
    assert found.reason.startswith("36 of 48 hold (QQP 0 of 12)")
    assert "shown otherwise" in found.reason
    assert "shown to hold: STS-B, RTE, GPTNLI" in found.reason


def test_what_the_published_figures_have_on_the_wrong_side_too_fails_no_run() -> None:
    """And what they have on the claimed side does."""
    here = on("qqp", -0.2, 0.2)
    published = verdict(ALL, here)
    assert verdict(ALL, here, published=published).contradicts == ()
    everywhere = verdict(ALL, [-0.2] * 48, published=published).contradicts
    assert "RTE" in everywhere
    assert "QQP" not in everywhere
    assert set(verdict(ALL, here, published=verdict(ALL, [0.2] * 48)).contradicts) >= {"QQP"}


def test_a_wrong_side_by_chance_is_allowed_as_often_as_a_binomial_puts_there() -> None:
    """Independent comparisons of equal error: the number on the wrong side is binomial."""
    effect = 0.045
    found = verdict(ALL, [effect] * 48)
    p = 0.5 * (1 - erf(effect / SE / 2**0.5))
    counts = np.random.default_rng(0).binomial(48, p, size=100_000)
    wanted = int(np.quantile(counts, 0.95, method="higher"))
    assert found.allowed is not None
    assert abs(found.allowed - wanted) <= 1


def test_the_allowed_number_is_that_of_the_published_effects_where_it_is_larger() -> None:
    """Small published effects on some comparisons: a run at that truth must not fall out."""
    uneven = [0.005 if index % 3 == 0 else 0.15 for index in range(48)]
    published = verdict(ALL, uneven)
    alone = verdict(ALL, uneven)
    along = verdict(ALL, uneven, published=published)
    assert alone.allowed is not None
    assert along.allowed is not None
    assert alone.allowed <= 2 < along.allowed
    rng = np.random.default_rng(2)
    within = [verdict(ALL, uneven, rng, published).agrees for _ in range(60)]
    assert np.mean(within) >= 0.9


@pytest.mark.parametrize("contrast", [ALL, MOST])
def test_a_truth_in_which_it_holds_is_rarely_shown_otherwise(contrast: Contrast) -> None:
    """The hardest such truth: every effect is zero. At most 5 %, within sampling error of 200."""
    rng = np.random.default_rng(1)
    found = [verdict(contrast, [0.0] * 48, rng) for _ in range(200)]
    alarms = sum(item.verdict.otherwise for item in found)
    assert alarms <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5
    shown = sum(item.verdict is Answer.HOLDS for item in found)
    assert shown <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_all_is_not_shown_if_one_test_set_has_no_effect() -> None:
    """The error rate of the intersection-union test: at most 5 % with one true zero."""
    rng = np.random.default_rng(3)
    truth = on("rte", 0.0, 0.3)
    shown = sum(verdict(ALL, truth, rng).verdict is Answer.HOLDS for _ in range(200))
    assert shown <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_power_is_the_share_of_draws_that_show_the_contrast() -> None:
    """At the published truth, by simulation of the whole verdict."""
    truth = on("rte", 0.022, 0.1)
    published = verdict(ALL, truth)
    rng = np.random.default_rng(4)
    found = [verdict(ALL, truth, rng, published) for _ in range(200)]
    share = np.mean([item.p_shown < 0.05 for item in found])
    power = found[0].power
    assert power is not None
    assert power == pytest.approx(share, abs=4 * (0.25 / 200) ** 0.5)
    assert found[0].power_of == (
        "to show this comparison at 5 %, if the truth were the published numbers"
    )
