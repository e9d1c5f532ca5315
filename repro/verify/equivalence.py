"""From tests to verdicts on points that are held against the paper (L3)."""

from collections.abc import Sequence
from dataclasses import replace

from repro.verify.statistics import ALPHA
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
    result = list(numbers)
    if not tested:
        return tuple(result)
    # Half a second to import, which commands without such points need not wait for.
    from scipy.stats import false_discovery_control  # type: ignore[import-untyped]

    values = false_discovery_control([numbers[i].p for i in tested], method="bh").tolist()
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
