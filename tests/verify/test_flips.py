"""How outputs of the same rows differ."""

import pytest

from repro.verify.flips import Flips
from repro.verify.statistics import mcnemar


@pytest.mark.parametrize("gained", range(4))
@pytest.mark.parametrize("lost", range(8))
def test_ties_count_for_equality_and_more_of_them_never_against_it(gained: int, lost: int) -> None:
    p = [Flips(gained, lost, tied, 0, 0, 100).p for tied in range(12)]
    assert p == sorted(p)
    assert p[0] == mcnemar(gained, lost)
    assert p[-1] >= mcnemar(gained + 11, lost)
