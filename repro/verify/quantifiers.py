"""The rule for "all" and "most": from tests of single comparisons to a verdict on a contrast.

The README beside this file has the rule, and how many comparisons chance may turn. What is shown to
be otherwise is so in at most 5 % of the samples from any truth in which every comparison holds,
however many estimates fall on the wrong side.

Sources: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24
(intersection-union); Holm 1979; Davison and Hinkley 1997, section 4.2 (parametric bootstrap).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from repro.verify.claimverdicts import Answer, ContrastVerdict, Effect
from repro.verify.effects import Compared, Region
from repro.verify.statistics import ALPHA, holm, t_quantile

_NAMED = 3
"""Parts named in a sentence, at most."""


def allowed_wrong(
    pairs: Sequence[tuple[Compared, Region]],
    centres: Sequence[float],
    published: Mapping[str, Effect],
) -> int:
    """How many comparisons sampling may put on the wrong side, in 95 of 100 samples.

    Args:
        pairs: the comparisons, with the regions where they must lie.
        centres: for each the mean of its test set.
        published: the comparisons in the published numbers, by name.
    """
    stated = [
        known.effect if (known := published.get(item.name)) and known.holds else centre
        for (item, _), centre in zip(pairs, centres, strict=True)
    ]
    wrong = (_wrong(pairs, truth) for truth in (centres, stated))
    return max(int(np.quantile(counts, 1 - ALPHA, method="higher")) for counts in wrong)


def _wrong(pairs: Sequence[tuple[Compared, Region]], truth: Sequence[float]) -> NDArray[np.int64]:
    """How many comparisons lie on the wrong side if they have these effects, [draws]."""
    wrong = np.zeros(len(pairs[0][0].noise()), dtype=np.int64)
    for (item, where), effect in zip(pairs, truth, strict=True):
        drawn = effect + item.noise()
        wrong += ~((where.low < drawn) & (drawn < where.high))
    return wrong


def power_to_show(
    every: bool,
    pairs: Sequence[tuple[Compared, Region]],
    by_dataset: Sequence[tuple[Compared, Region]],
    mean: tuple[Compared, Region],
    truth: Sequence[float],
    allowed: int,
) -> float:
    """Chance to show the contrast, at 5 %, if its comparisons had the given effects.

    Args:
        every: the quantifier is "all".
        pairs, by_dataset, mean: with the regions where they must lie.
        truth: the effect of each pair.
        allowed: pairs that may fall on the wrong side, for "all".
    """

    def cleared(item: Compared, where: Region, effects: Sequence[float]) -> np.ndarray:
        se, df = item.spread()
        bar = t_quantile(1 - ALPHA, df) * se
        drawn = float(np.mean(effects)) + item.noise()
        low, high = drawn - max(item.effect.optimism, 0), drawn - min(item.effect.optimism, 0)
        return np.asarray((low > where.low + bar) & (high < where.high - bar))

    wrong = _wrong(pairs, truth)
    ok = wrong < len(pairs) / 2
    if not every:
        return float(np.mean(ok & cleared(*mean, truth)))
    ok &= wrong <= allowed
    for item, where in by_dataset:
        own = [t for t, (p, _) in zip(truth, pairs, strict=True) if p.dataset == item.dataset]
        ok &= cleared(item, where, own)
    return float(ok.mean())


def decided(
    judged: ContrastVerdict,
    *,
    run: int,
    published: ContrastVerdict | None = None,
    notes: Sequence[str] = (),
) -> ContrastVerdict:
    """Fill in the p-values, the named parts and the sentence of a contrast.

    The verdict itself follows from the correction for many contrasts, see `answered`.

    Args:
        judged: with all of its effects.
        run: how many of the expected comparisons were run.
        published: the same contrast on the published numbers.
        notes: what the sentence must also say.
    """
    judged = replace(judged, compared=run)
    assert judged.mean is not None
    every = judged.contrast.quantifier == "all"
    right, total = sum(effect.holds for effect in judged.pairs), len(judged.pairs)
    tests = [effect for effect in judged.by_dataset if effect.total > 1 or not every]
    if judged.mean.interval is not None and len(judged.by_dataset) > 1:
        tests.append(judged.mean)
    parts = [*judged.pairs, *tests] if every or not tests else tests
    against = dict(zip((e.name for e in parts), holm([e.p_against for e in parts]), strict=True))
    sets = judged.by_dataset or judged.pairs
    showing = dict(zip((e.name for e in sets), holm([e.p_shown for e in sets]), strict=True))
    p_otherwise = min(against.values())
    if every:
        agrees = all(effect.holds for effect in sets) and right > total / 2
        agrees &= total - right <= (0 if judged.allowed is None else judged.allowed)
        p_shown = max(effect.p_shown for effect in sets) if agrees else 1.0
    else:
        agrees = judged.mean.holds and right > total / 2
        p_shown = judged.mean.p_shown if right > total / 2 else 1.0
    if run < judged.expected:
        p_shown = 1.0
    if judged.few:
        # A few comparisons speak for none of the others, but one counterexample refutes "all".
        agrees, p_otherwise = False, p_otherwise if every else 1.0
    otherwise = tuple(name for name, p in against.items() if p < ALPHA and p_otherwise < ALPHA)
    held = {effect.name: effect.holds for effect in published.parts} if published else {}
    return replace(
        judged,
        p_shown=p_shown,
        p_otherwise=p_otherwise,
        agrees=agrees,
        shown=tuple(name for name, p in showing.items() if p < ALPHA),
        otherwise=otherwise,
        contradicts=tuple(name for name in otherwise if held.get(name, bool(held))),
        reason=_sentence(judged, right, total, notes),
    )


def _sentence(judged: ContrastVerdict, right: int, total: int, notes: Sequence[str]) -> str:
    text = f"{right} of {total} hold"
    short = [e for e in judged.by_dataset if e.right_count < e.total]
    if short and len(judged.by_dataset) > 1:
        text += " (" + ", ".join(f"{e.name} {e.right_count} of {e.total}" for e in short) + ")"
    if total / 2 < right < total and judged.allowed is not None:
        text += f"; chance may turn {judged.allowed}"
    if judged.compared < judged.expected:
        text += f"; {judged.compared} of {judged.expected} comparisons were run"
        text += ", too few to speak for the rest" if judged.few else ""
    text = "; ".join([text, *notes])
    return text + (f"; constant: {_list(judged.constant)}" if judged.constant else "")


def answered(judged: ContrastVerdict, p_shown: float, p_otherwise: float) -> ContrastVerdict:
    """The verdict, given p-values corrected for the number of contrasts."""
    if not judged.ran:
        return judged
    verdict = Answer.AGREES if judged.agrees else Answer.CANNOT_TELL
    if p_shown < ALPHA:
        verdict = Answer.HOLDS
    sets = judged.by_dataset or judged.pairs
    name = sets[0].name if len(sets) == 1 else "all"
    whole = judged.contrast.quantifier == "all" or (not judged.agrees and name in judged.otherwise)
    if p_otherwise < ALPHA:
        if whole:
            verdict = Answer.PARTLY if judged.shown else Answer.FAILS
        elif verdict is not Answer.HOLDS and judged.shown:
            verdict = Answer.PARTLY
    reason = judged.reason
    if p_otherwise < ALPHA and judged.otherwise:
        reason += f"; shown otherwise: {_list(judged.otherwise)}"
    if verdict is Answer.PARTLY:
        reason += f"; shown to hold: {_list(judged.shown)}"
    return replace(
        judged,
        verdict=verdict,
        contradicts=judged.contradicts if verdict.otherwise else (),
        reason=reason,
    )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
