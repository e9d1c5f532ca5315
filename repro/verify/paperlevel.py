"""Plotted points held against the published numbers (L3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from repro.printable import counted
from repro.results.runs import Run
from repro.spec.cells import BASE
from repro.spec.points import Point
from repro.verify.margins import margins
from repro.verify.measured import Source, row_variance
from repro.verify.published import Published
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import (
    ALPHA,
    difference_p,
    pooled,
    satterthwaite,
    t_interval,
    tost_p,
    tost_power,
)
from repro.verify.verdicts import Level, NumberVerdict, Verdict


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
