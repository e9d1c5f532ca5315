"""Regions of claims, against normal tails by hand."""

import pytest

from repro.verify.effects import Region


def test_regions_by_hand() -> None:
    equal = Region(-0.02, 0.02)
    assert equal.p_shown(0.0, 0.01, float("inf")) == pytest.approx(0.02275, abs=1e-4)
    assert equal.p_against(0.04, 0.01, float("inf")) == pytest.approx(2 * 0.02275, abs=1e-4)
    greater = Region(0.0, float("inf"))
    assert greater.p_shown(0.0196, 0.01, float("inf")) == pytest.approx(0.025, abs=1e-3)
    assert greater.p_against(-0.0196, 0.01, float("inf")) == pytest.approx(0.025, abs=1e-3)
    assert greater.p_shown(0.0, 0.0, 9) == 1.0, "a tie is not greater"


def test_an_estimate_that_may_be_too_high_is_tested_as_if_it_were() -> None:
    greater, less = Region(0.0, float("inf")), Region(-float("inf"), 0.0)
    args = (0.01, float("inf"))
    assert greater.p_shown(0.03, *args, optimism=0.02) == greater.p_shown(0.01, *args)
    assert greater.p_against(-0.03, *args, optimism=0.02) == greater.p_against(-0.03, *args)
    assert less.p_shown(-0.03, *args, optimism=0.02) == less.p_shown(-0.03, *args)
    assert less.p_against(0.03, *args, optimism=0.02) == less.p_against(0.01, *args)
