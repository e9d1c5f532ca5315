"""Plotted points held against the published numbers (L3)."""

from collections.abc import Mapping, Sequence

import numpy as np

from repro.results.runs import Run
from repro.spec.cells import BASE
from repro.spec.points import Point
from repro.verify.equivalence import adjusted, decided
from repro.verify.margins import Margins, margins
from repro.verify.measured import Source, row_variance
from repro.verify.published import Published
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import (
    ALPHA,
    Interval,
    difference_p,
    satterthwaite,
    t_quantile,
    tost_p,
    tost_power,
)
from repro.verify.verdicts import Level, NumberVerdict


def against_paper(
    run: Run,
    points: Sequence[Point],
    published: Mapping[Point, Published],
    source: Source,
    *,
    limits: Margins | None = None,
    spread: SeedSpread | None = None,
) -> tuple[NumberVerdict, ...]:
    """Every plotted point against its published number (L3).

    The paper has one run of unknown seed: its error is that of sampling its rows, of reading the
    figure, and the spread over our seeds, which stands for its own.

    Args:
        spread: over seeds; the whole of it for a run of a single seed, and pooled with the run's
            own for more. The registered one by default.
    """
    limits, prior = limits or margins(), spread or registered_spread(run.study)
    found = []
    for point in points:
        number, measured = published[point], source(point)
        if measured is None:
            found.append(
                NumberVerdict(
                    cell=point.cells[0], point=point, theirs=number.value, reason="not run"
                )
            )
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
            variance, free = max(sds) ** 2, prior.df
            if k > 1:
                own = float(np.var(measured.values, ddof=1))
                variance = (free * variance + (k - 1) * own) / (free + k - 1)
                free += k - 1
            parts.append((variance * (1 + 1 / k), free))
            known = "pooled with" if k > 1 else "from"
            reason = f"{k} seed{'s' * (k > 1)}, spread over seeds {known} {prior.source}"
        se, df = satterthwaite(parts)
        if measured.optimism:
            best = f"the best of {len(point.cells)} cells, which reads up to "
            reason += f"; {best}{measured.optimism:.3f} too high, as the paper's does"
        margin = limits.paper[number.metric]
        difference = ours - number.value
        half = t_quantile(1 - ALPHA / 2, df) * se
        results = [
            run.cells.get((cell, s)) for cell in point.cells for s in measured.seeds or [None]
        ]
        labels = {result.constant for result in results if result is not None}
        found.append(
            decided(
                NumberVerdict(
                    cell=point.cells[0],
                    point=point,
                    seeds=measured.seeds,
                    level=Level.L3,
                    ours=ours,
                    theirs=number.value,
                    interval=Interval(difference - half, difference + half),
                    p=difference_p(difference, se, df),
                    equivalence_p=tost_p(difference, se, df, margin),
                    margin=margin,
                    power=tost_power(se, df, margin),
                    n=measured.n,
                    stored=1,
                    constant=labels.pop() if len(labels) == 1 else None,
                    reason=reason,
                )
            )
        )
    return adjusted(found)
