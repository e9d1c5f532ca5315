"""From tests to verdicts on points that are held against the paper (L3)."""

from collections.abc import Sequence
from dataclasses import replace

from repro.verify.statistics import ALPHA, benjamini_hochberg
from repro.verify.verdicts import NumberVerdict, Verdict


def decided(number: NumberVerdict) -> NumberVerdict:
    """The verdict of a test, before the correction for many points."""
    p, equal = number.p, number.equivalence_p
    assert p is not None
    verdict = Verdict.CONSISTENT
    if equal is not None and equal < ALPHA:
        verdict = Verdict.REPRODUCED
    elif p < ALPHA:
        verdict = Verdict.NOT_REPRODUCED
    return replace(number, verdict=verdict)


def adjusted(numbers: Sequence[NumberVerdict]) -> tuple[NumberVerdict, ...]:
    """Take back, by Benjamini-Hochberg, differences that a grid of this size brings by chance."""
    tested = [i for i, number in enumerate(numbers) if number.p is not None]
    values = benjamini_hochberg([numbers[i].p for i in tested])  # type: ignore[misc]
    result = list(numbers)
    for i, p in zip(tested, values, strict=True):
        number = replace(numbers[i], p_adjusted=p)
        if number.verdict is Verdict.NOT_REPRODUCED and p >= ALPHA:
            number = replace(
                number,
                verdict=Verdict.CONSISTENT,
                reason=number.reason + "; outside its interval, as chance puts some cells",
            )
        result[i] = number
    return tuple(result)
