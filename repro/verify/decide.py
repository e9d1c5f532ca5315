"""From tests to verdicts on numbers."""

from collections.abc import Sequence
from dataclasses import replace

from repro.verify.statistics import ALPHA, benjamini_hochberg
from repro.verify.verdicts import NumberVerdict, Verdict

WEAK = 5
"""Fewer runs than this are called weak."""


def decided(number: NumberVerdict, *, spread_known: bool = True) -> NumberVerdict:
    """The verdict of a test, before the correction for many cells.

    Args:
        spread_known: that over seeds is in the error. Where it is not, another seed may explain
            any difference, or undo any equality: neither is claimed.
    """
    p, equal = number.p, number.equivalence_p
    assert p is not None
    verdict = Verdict.CONSISTENT
    if not spread_known:
        verdict = Verdict.INCONCLUSIVE if p < ALPHA else Verdict.CONSISTENT
    elif equal is not None and equal < ALPHA:
        verdict = Verdict.REPRODUCED
    elif p < ALPHA:
        verdict = Verdict.NOT_REPRODUCED
    return replace(number, verdict=verdict, outside=p < ALPHA)


def adjusted(numbers: Sequence[NumberVerdict]) -> tuple[NumberVerdict, ...]:
    """Take back, by Benjamini-Hochberg, differences that a grid of this size brings by chance."""
    tested = [i for i, number in enumerate(numbers) if number.p is not None]
    values = benjamini_hochberg([numbers[i].p for i in tested])  # type: ignore[misc]
    result = list(numbers)
    for i, p in zip(tested, values, strict=True):
        number = replace(numbers[i], p_adjusted=p)
        # INCONCLUSIVE with a p: a difference from a single stored run.
        if number.verdict in (Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE) and p >= ALPHA:
            number = replace(
                number,
                verdict=Verdict.CONSISTENT,
                reason=number.reason + "; outside its interval, as chance puts some cells",
            )
        result[i] = number
    return tuple(result)
