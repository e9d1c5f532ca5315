"""Points, and figures as wholes, held against the published numbers (L3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.printable import counted
from repro.results.runs import Run
from repro.spec.cells import BASE
from repro.spec.points import Point
from repro.verify.effects import Compared, mean_of
from repro.verify.margins import margins
from repro.verify.measured import Measured, Source, common_seeds, row_variance
from repro.verify.published import Published
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import (
    ALPHA,
    Interval,
    detection_power,
    difference_p,
    holm,
    pooled,
    satterthwaite,
    t_interval,
    tost_p,
    tost_power,
)
from repro.verify.verdicts import Level, NumberVerdict, Verdict

POWER = 0.9


def against_paper(
    run: Run,
    points: Sequence[Point],
    published: Mapping[Point, Published],
    source: Source,
    *,
    spread: SeedSpread | None = None,
) -> tuple[NumberVerdict, ...]:
    """Every plotted point against its published number (L3).

    The paper has one run of unknown seed: its error is that of sampling its rows, of reading the
    figure, and the spread over our seeds, which stands for its own.

    Args:
        spread: over seeds; the whole of it for a run of a single seed, and pooled with the run's
            own for more. The registered one by default.
    """
    prior, found = spread or registered_spread(run.study), []
    for point in points:
        number, measured = published[point], source(point)
        unrun = NumberVerdict(
            cell=point.cells[0], point=point, theirs=number.value, reason="not run"
        )
        if measured is None:
            found.append(unrun)
            continue
        k = len(measured.values)
        ours = float(measured.values.mean())
        # Both variances are those of a truth equal to the published number: at 1.0 our own rows
        # and seeds would seem not to vary at all.
        assumed = row_variance(number) - number.reading_variance
        ours_rows = max(float(np.var(measured.draws.mean(axis=0))), assumed * number.n / measured.n)
        rows = ours_rows + row_variance(number)
        parts = [(rows, measured.n - 1.0)]
        reason = "the base has no seed"
        # Imported runs have fine-tunes of unknown seed, so that the seeds do not tell the base.
        if point.variant != BASE:
            sds = [prior.sd(cell, number.value, number.n) for cell in point.cells]
            variance, free = pooled(max(sds) ** 2, prior.df, measured.values)
            parts.append((variance * (1 + 1 / k), free))
            known = "pooled with" if k > 1 else "from"
            reason = f"{counted(k, 'seed')}, spread over seeds {known} {prior.source}"
        se, df = satterthwaite(parts)
        if measured.optimism:
            best = f"the best of {len(point.cells)} cells, which reads up to "
            reason += f"; {best}{measured.optimism:.3f} too high, as the paper's does"
        margin = margins().paper[number.metric]
        difference = ours - number.value
        p, equal = difference_p(difference, se, df), tost_p(difference, se, df, margin)
        verdict = Verdict.NOT_REPRODUCED if p < ALPHA else Verdict.CONSISTENT
        results = [
            run.cells.get((cell, s)) for cell in point.cells for s in measured.seeds or [None]
        ]
        labels = {result.constant for result in results if result is not None}
        found.append(
            replace(
                unrun,
                seeds=measured.seeds,
                level=Level.L3,
                verdict=Verdict.REPRODUCED if equal < ALPHA else verdict,
                ours=ours,
                interval=t_interval(difference, se, df),
                p=p,
                equivalence_p=equal,
                margin=margin,
                power=tost_power(se, df, margin),
                n=measured.n,
                stored=1,
                constant=labels.pop() if len(labels) == 1 else None,
                reason=reason,
            )
        )
    return adjusted(found)


def adjusted(numbers: Sequence[NumberVerdict]) -> tuple[NumberVerdict, ...]:
    """Take back, by Benjamini-Hochberg, differences that a grid of this size brings by chance."""
    tested = [i for i, number in enumerate(numbers) if number.p is not None]
    if not tested:
        return tuple(numbers)
    result = list(numbers)
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


@dataclass(frozen=True, kw_only=True)
class FigureVerdict:
    """The mean difference to the paper over a figure's points of one metric.

    Attributes:
        figure: "1" to "7"; metric: "accuracy" or "rougeL"; models: "base" or "fine-tunes".
        points: how many were run.
        difference: ours - paper, averaged; interval: 95 %, of it.
        p, p_adjusted: that there is none; adjusted by Holm over all of them.
        noticed: the smallest mean difference that this test finds in 90 of 100 runs, unadjusted.
        verdict: NOT REPRODUCED if the difference is shown; else CONSISTENT.
    """

    figure: str
    metric: str
    models: str
    points: int
    difference: float
    interval: Interval
    p: float
    p_adjusted: float = 1.0
    noticed: float
    verdict: Verdict = Verdict.CONSISTENT

    @property
    def name(self) -> str:
        return f"Figure {self.figure}, {self.metric} of {self.models}"

    @property
    def reason(self) -> str:
        low, high = self.interval
        return (
            f"mean difference to the paper {self.difference:+.3f} [{low:+.3f}, {high:+.3f}] over "
            f"{counted(self.points, 'point')}; {self.noticed:.3f} would be noticed"
        )


def figures_against_paper(
    published: Mapping[Point, Published], source: Source
) -> tuple[FigureVerdict, ...]:
    """Each figure's base and fine-tunes, accuracies and ROUGE-L apart."""
    groups: dict[tuple[str, str, str], list[tuple[Point, Measured]]] = {}
    for point, number in published.items():
        measured = source(point)
        if measured is None:
            continue
        models = "base" if point.variant == BASE else "fine-tunes"
        groups.setdefault((point.figure, number.metric, models), []).append((point, measured))
    found = [_judged(key, own, published) for key, own in groups.items()]
    adjusted = holm([item.p for item in found])
    return tuple(
        replace(
            item, p_adjusted=p, verdict=Verdict.NOT_REPRODUCED if p < ALPHA else Verdict.CONSISTENT
        )
        for item, p in zip(found, adjusted, strict=True)
    )


def _judged(
    key: tuple[str, str, str],
    own: Sequence[tuple[Point, Measured]],
    published: Mapping[Point, Published],
) -> FigureVerdict:
    """The paper's rows are those of the same test sets: they vary together as ours do."""
    seeds = common_seeds(measured for _, measured in own)
    if seeds is None:
        # No seed that all have: each point's mean over its own seeds, as if it were one.
        own, seeds = [(point, _averaged(measured)) for point, measured in own], ()
    items = []
    for point, measured in own:
        left = measured.of(seeds)
        right = left.like(published[point].value)
        items.append(Compared(point.dataset, point.dataset, left, right, measured.n, measured.df))
    mean = mean_of("all", items)
    se, df = mean.spread()
    # Of one run: rows of several seeds are the same, and vary less when averaged over seeds.
    rows = float(np.mean(np.var(mean.left.draws, axis=1))) * mean.n / published[own[0][0]].n
    luck = float(np.var(mean.left.luck))
    reading = sum(published[point].reading_variance for point, _ in own) / len(own) ** 2
    theirs = rows + reading
    se, df = satterthwaite([(se**2, df), (theirs, mean.n - 1.0), (luck, mean.df)])
    difference = float(mean.effect.values.mean())
    figure, metric, models = key
    return FigureVerdict(
        figure=figure,
        metric=metric,
        models=models,
        points=len(own),
        difference=difference,
        interval=t_interval(difference, se, df),
        p=difference_p(difference, se, df),
        noticed=_noticed(se, df),
    )


def _averaged(measured: Measured) -> Measured:
    return replace(
        measured,
        seeds=(),
        values=measured.values.mean(keepdims=True),
        draws=measured.draws.mean(axis=0, keepdims=True),
    )


def _noticed(se: float, df: float) -> float:
    """The difference that a two-sided test finds with a chance of 90 %, by bisection."""
    low, high = 0.0, max(1.0, 50 * se)
    while high - low > 1e-4 * max(high, 1e-3) and not math.isclose(low, high):
        middle = (low + high) / 2
        if detection_power(middle, se, df) < POWER:
            low = middle
        else:
            high = middle
    return high
