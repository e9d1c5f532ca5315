"""A contrast of a claim on measured values: effects, intervals, tests, and a verdict."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.paper.cells import Variant
from repro.paper.claims import FACTS, Contrast, Direction, Pair, Term
from repro.paper.figures import Point
from repro.paper.tasks import DATASETS, METRICS
from repro.verify.margins import margins
from repro.verify.measured import Measured, Source
from repro.verify.statistics import (
    ALPHA,
    Floats,
    Interval,
    above_p,
    detection_power,
    holm,
    satterthwaite,
    t_quantile,
    tost_power,
)
from repro.verify.verdicts import ContrastVerdict, Effect, Verdict

Facts = Mapping[Variant, Mapping[int | None, float]]
"""A fact of fine-tunes by variant and seed; seed None for the paper's."""


@dataclass(frozen=True)
class Region:
    """Where an effect must lie for a claim to hold; open, and perhaps unbounded."""

    low: float
    high: float

    def p_shown(self, effect: float, se: float, df: float) -> float:
        """P of "it lies outside": both bounds must be cleared."""
        above = above_p(effect, self.low, se, df) if math.isfinite(self.low) else 0.0
        below = above_p(-effect, -self.high, se, df) if math.isfinite(self.high) else 0.0
        return max(above, below)

    def p_against(self, effect: float, se: float, df: float) -> float:
        """P of "it lies inside": one bound must be clearly missed."""
        under = above_p(-effect, -self.low, se, df) if math.isfinite(self.low) else 1.0
        over = above_p(effect, self.high, se, df) if math.isfinite(self.high) else 1.0
        both = math.isfinite(self.low) and math.isfinite(self.high)
        return min(1.0, min(under, over) * (2 if both else 1))


def region(direction: Direction, margin: float) -> Region:
    """The region of a direction."""
    return {
        "greater": Region(0.0, math.inf),
        "less": Region(-math.inf, 0.0),
        "equal": Region(-margin, margin),
        "at most": Region(-math.inf, margin),
        "at least": Region(-margin, math.inf),
    }[direction]


@dataclass(frozen=True)
class _Compared:
    """Left, right and effect for each seed, and the effect's draws [seeds, draws]."""

    name: str
    dataset: str
    left: Floats
    right: Floats
    effect: Floats
    draws: Floats
    n: int


def _term(term: Term, measured: Mapping[Point, Measured], seeds: tuple[int, ...]) -> tuple:
    both = [measured[point].of(seeds) for point in term.points]
    values = np.stack([value for value, _ in both])
    draws = np.stack([draw for _, draw in both])
    if term.take == "range":
        return np.ptp(values, axis=0), np.ptp(draws, axis=0)
    return values.max(axis=0), draws.max(axis=0)


def _compare(pair: Pair, measured: Mapping[Point, Measured], seeds: tuple[int, ...]) -> _Compared:
    left, left_draws = _term(pair.left, measured, seeds)
    right, right_draws = np.zeros_like(left), np.zeros_like(left_draws)
    if pair.right is not None:
        right, right_draws = _term(pair.right, measured, seeds)
    n = min(measured[point].n for point in pair.left.points)
    difference = left_draws - right_draws
    return _Compared(pair.name, pair.left.dataset, left, right, left - right, difference, n)


def _mean(name: str, items: Sequence[_Compared]) -> _Compared:
    return _Compared(
        name,
        items[0].dataset,
        np.mean([item.left for item in items], axis=0),
        np.mean([item.right for item in items], axis=0),
        np.mean([item.effect for item in items], axis=0),
        np.mean([item.draws for item in items], axis=0),
        min(item.n for item in items),
    )


def _spread(item: _Compared, count: int = 1) -> tuple[float, float]:
    """Standard error over rows and seeds, and its degrees of freedom.

    Floored at one row of n per comparison: rows that all agree still leave the next in doubt.
    """
    rows = max(float(np.var(item.draws.mean(axis=0))), 1 / (item.n**2 * count))
    parts = [(rows, item.n - 1.0)]
    k = len(item.effect)
    if k > 1:
        parts.append((float(np.var(item.effect, ddof=1)) / k, k - 1.0))
    return satterthwaite(parts)


def _effect(item: _Compared, where: Region, holding: Sequence[bool] = ()) -> Effect:
    effect = float(item.effect.mean())
    se, df = _spread(item, max(1, len(holding)))
    half = t_quantile(1 - ALPHA / 2, df) * se
    holds = where.low < effect < where.high
    return Effect(
        item.name,
        float(item.left.mean()),
        float(item.right.mean()),
        effect,
        Interval(effect - half, effect + half),
        holds,
        where.p_shown(effect, se, df),
        where.p_against(effect, se, df),
        sum(holding) if holding else int(holds),
        len(holding) or 1,
    )


def _change(name: str, items: Sequence[_Compared], dataset: str) -> _Compared:
    """Root mean square change, with the part that sampling rows adds taken off.

    A change measured on n rows is squared too large by its own variance, and draws by twice that.
    """
    noise = np.mean([item.draws.var(axis=1) for item in items], axis=0)
    values = np.mean([item.effect**2 for item in items], axis=0) - noise
    draws = np.mean([item.draws**2 for item in items], axis=0) - 2 * noise[:, None]
    size, size_draws = np.sqrt(np.maximum(values, 0)), np.sqrt(np.maximum(draws, 0))
    n = min(item.n for item in items)
    return _Compared(name, dataset, size, np.zeros_like(size), size, size_draws, n)


def _less(a: _Compared, b: _Compared, name: str) -> _Compared:
    return replace(
        a, name=name, right=b.effect, effect=a.effect - b.effect, draws=a.draws - b.draws
    )


def _common_seeds(measured: Mapping[Point, Measured]) -> tuple[int, ...] | None:
    """Seeds that every fine-tune of the contrast has; None if there are none in common."""
    sets = [set(item.seeds) for item in measured.values() if item.seeds]
    if not sets:
        return ()
    common = set.intersection(*sets)
    return tuple(sorted(common)) if common else None


def judge(
    contrast: Contrast,
    source: Source,
    facts: Mapping[str, Facts],
    *,
    every_shot: bool = False,
    paper_effect: float | None = None,
    widen: float = 1.0,
) -> ContrastVerdict:
    """A contrast on measured values.

    Args:
        facts: by kind of contrast, for those that compare facts of fine-tunes.
        every_shot: bars are the best over all shot counts.
        paper_effect: the mean effect in the published numbers, for ratio and power.
        widen: factor on the registered margin; for tests of monotonicity.
    """
    if contrast.kind in FACTS:
        return _judge_facts(contrast, facts.get(contrast.kind, {}), paper_effect)
    pairs = contrast.pairs(every_shot=every_shot)
    others = contrast.other_pairs(every_shot=every_shot)
    terms = [t for pair in (*pairs, *others) for t in (pair.left, pair.right) if t is not None]
    found = {p: source(p) for p in dict.fromkeys(p for term in terms for p in term.points)}
    measured = {point: value for point, value in found.items() if value is not None}

    def runnable(pair: Pair) -> bool:
        sides = (pair.left,) if pair.right is None else (pair.left, pair.right)
        return all(point in measured for side in sides for point in side.points)

    kept = [pair for pair in pairs if runnable(pair)]
    kept_others = [pair for pair in others if runnable(pair)]
    expected = len(pairs) + len(others)
    used = {p for pair in (*kept, *kept_others) for p in pair.left.points} | {
        p for pair in (*kept, *kept_others) if pair.right for p in pair.right.points
    }
    seeds = _common_seeds({p: measured[p] for p in used})
    if not kept or (others and not kept_others) or seeds is None:
        reason = "no seed in common" if seeds is None else "none of its comparisons was run"
        return ContrastVerdict(
            contrast=contrast, verdict=Verdict.NOT_RUN, expected=expected, reason=reason
        )

    def place(datasets: Iterable[str]) -> Region:
        return region(contrast.direction, widen * _margin(datasets))

    compared = [_compare(pair, measured, seeds) for pair in kept]
    if contrast.kind == "change":
        rest = [_compare(pair, measured, seeds) for pair in kept_others]
        compared = [
            _less(
                _change("first group", compared, compared[0].dataset),
                _change("second group", rest, rest[0].dataset),
                "size of the change",
            )
        ]
    effects = tuple(_effect(item, place([item.dataset])) for item in compared)
    by_dataset = []
    for dataset in dict.fromkeys(item.dataset for item in compared):
        own = [i for i, item in enumerate(compared) if item.dataset == dataset]
        averaged = _mean(DATASETS[dataset].printed, [compared[i] for i in own])
        by_dataset.append(_effect(averaged, place([dataset]), [effects[i].holds for i in own]))
    overall = _mean("all", compared)
    where = place(item.dataset for item in compared)
    mean = _effect(overall, where, [effect.holds for effect in effects])
    se, df = _spread(overall, len(effects))
    return _decide(
        contrast,
        effects,
        tuple(by_dataset),
        mean,
        expected=expected,
        run=len(kept) + len(kept_others),
        power=_power(contrast, se, df, where, paper_effect),
        seeds=seeds,
        paper_effect=paper_effect,
    )


def _margin(datasets: Iterable[str]) -> float:
    """The registered margin of claims, averaged over metrics where a mean spans both."""
    metrics = [METRICS[DATASETS[dataset].task.kind] for dataset in datasets]
    return float(np.mean([margins().claims[metric] for metric in metrics]))


def _power(
    contrast: Contrast, se: float, df: float, where: Region, paper_effect: float | None
) -> float | None:
    if contrast.direction in ("greater", "less"):
        # One-sided at 5% is two-sided at 10%, the other side being negligible.
        return detection_power(paper_effect, se, df, alpha=2 * ALPHA) if paper_effect else None
    margin = min(abs(where.low), abs(where.high))
    if contrast.direction == "equal":
        return tost_power(se, df, margin)
    return detection_power(margin, se, df, alpha=2 * ALPHA)


def _decide(
    contrast: Contrast,
    effects: tuple[Effect, ...],
    by_dataset: tuple[Effect, ...],
    mean: Effect,
    *,
    expected: int,
    run: int,
    power: float | None,
    seeds: tuple[int, ...],
    paper_effect: float | None,
) -> ContrastVerdict:
    """The rule that turns tests into a verdict; see the README of this folder."""
    right = sum(effect.holds for effect in effects)
    if contrast.quantifier == "all":
        agrees = right == len(effects)
        p_shown = max(effect.p_shown for effect in by_dataset)
        p_against = min(
            min(holm([effect.p_against for effect in effects])),
            min(holm([effect.p_against for effect in by_dataset])),
        )
    else:
        agrees = 2 * right > len(effects)
        p_shown, p_against = mean.p_shown, mean.p_against
    if not agrees:
        p_shown = 1.0
    count = f"{right} of {len(effects)} comparisons hold"
    if run < expected:
        count += f"; {run} of {expected} were run"
        p_shown = 1.0
    if 2 * run < expected:
        # A few comparisons speak for none of the others, but one counterexample refutes "all".
        agrees = False
        p_against = p_against if contrast.quantifier == "all" else 1.0
    return ContrastVerdict(
        contrast=contrast,
        verdict=verdict_of(agrees, p_shown, p_against),
        pairs=effects,
        by_dataset=by_dataset,
        mean=mean,
        expected=expected,
        p_shown=p_shown,
        p_against=p_against,
        power=power,
        seeds=seeds,
        paper_effect=paper_effect,
        reason=count,
    )


def verdict_of(agrees: bool, p_shown: float, p_against: float) -> Verdict:
    """Shown, agreeing but not shown, not agreeing, or shown to be otherwise."""
    if p_against < ALPHA:
        return Verdict.NOT_REPRODUCED
    if not agrees:
        return Verdict.INCONCLUSIVE
    return Verdict.REPRODUCED if p_shown < ALPHA else Verdict.CONSISTENT


def _judge_facts(contrast: Contrast, facts: Facts, paper_effect: float | None) -> ContrastVerdict:
    """Facts of fine-tunes: relative differences over seeds; rows play no part."""
    wanted = contrast.fact_pairs()
    where = region(contrast.direction, 0.0)
    effects, used = [], set()
    for left, right in wanted:
        seeds = sorted(
            set(facts.get(left, {})) & set(facts.get(right, {})), key=lambda seed: seed or 0
        )
        if not seeds:
            continue
        used |= {seed for seed in seeds if seed is not None}
        a = np.array([facts[left][seed] for seed in seeds])
        b = np.array([facts[right][seed] for seed in seeds])
        effects.append(_fact_effect(f"{left.name} / {right.name} - 1", a, b, where))
    if not effects:
        return ContrastVerdict(
            contrast=contrast,
            verdict=Verdict.NOT_RUN,
            expected=len(wanted),
            reason="the fine-tunes were not run, or nothing is published",
        )
    mean = Effect(
        "all",
        float(np.mean([effect.left for effect in effects])),
        float(np.mean([effect.right for effect in effects])),
        float(np.mean([effect.effect for effect in effects])),
        None,
        all(effect.holds for effect in effects),
        max(effect.p_shown for effect in effects),
        min(holm([effect.p_against for effect in effects])),
        sum(effect.holds for effect in effects),
        len(effects),
    )
    decided = _decide(
        contrast,
        tuple(effects),
        tuple(effects),
        mean,
        expected=len(wanted),
        run=len(effects),
        power=None,
        seeds=tuple(sorted(used)),
        paper_effect=paper_effect,
    )
    if len(used) < 2:
        return replace(decided, reason=decided.reason + "; one run, so no test over seeds")
    return decided


def _fact_effect(name: str, left: Floats, right: Floats, where: Region) -> Effect:
    relative = left / right - 1
    effect, k = float(relative.mean()), len(relative)
    holds = where.low < effect < where.high
    interval, shown, against = None, 1.0, 1.0
    if k > 1:
        se = float(relative.std(ddof=1)) / math.sqrt(k)
        half = t_quantile(1 - ALPHA / 2, k - 1) * se
        interval = Interval(effect - half, effect + half)
        shown, against = where.p_shown(effect, se, k - 1), where.p_against(effect, se, k - 1)
    return Effect(
        name, float(left.mean()), float(right.mean()), effect, interval, holds, shown, against
    )
