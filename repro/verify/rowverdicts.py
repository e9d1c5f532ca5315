"""A cell against a stored one, row by row: at equal weights (L1), or without stored seeds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from repro.printable import counted
from repro.results.machines import computed, computed_otherwise
from repro.results.outcomes import Outcomes, common_rows, differing_rows
from repro.results.runs import CellResult, Run
from repro.results.schema import stem_of
from repro.spec.cells import Cell
from repro.verify.margins import Margins
from repro.verify.statistics import (
    ALPHA,
    Floats,
    clopper_pearson,
    difference_p,
    paired_bootstrap,
    t_interval,
)
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict

BySeed = Mapping[int | None, CellResult]
_FEW_ROWS = 20


@dataclass(frozen=True)
class CellPair:
    """Both sides of one cell.

    Attributes:
        elsewhere: how lock and machine kind differ; empty if they do not.
    """

    cell: Cell
    ours: BySeed
    theirs: BySeed
    our_run: Run
    their_run: Run
    limits: Margins
    elsewhere: str

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted(seed for seed in self.ours if seed is not None))

    @property
    def metric(self) -> str:
        return next(iter(self.ours.values())).metric

    @cached_property
    def basis(self) -> NumberVerdict:
        """Values and seeds, and no verdict yet."""
        first = next(iter(self.ours.values()))
        return NumberVerdict(
            cell=self.cell,
            seeds=self.seeds,
            ours=float(np.mean([result.value for result in self.ours.values()])),
            theirs=float(np.mean([result.value for result in self.theirs.values()])),
            n=first.n,
            stored=len(self.theirs),
            constant=first.constant,
        )


def rounding_reason(pair: CellPair, seed: int | None) -> str:
    """Why a seed may differ by rounding at equal content keys; empty if it may not."""
    told = []
    for run in (pair.our_run, pair.their_run):
        tuned = None if seed is None else run.tuned.get((pair.cell.variant, seed))
        told.append(computed(run.record, stem_of(pair.cell, seed), tuned.raw if tuned else None))
    return computed_otherwise(*told)


def _paired(
    pair: CellPair, seeds: Sequence[tuple[CellResult, CellResult]]
) -> tuple[list[tuple[Outcomes, Outcomes]], Floats]:
    """Both outcomes on common rows, and the difference of each row, averaged over seeds."""
    both = [(a.outcomes, b.outcomes) for a, b in seeds if a.outcomes and b.outcomes]
    rows = common_rows([outcomes for couple in both for outcomes in couple])
    aligned = [(a.at(rows), b.at(rows)) for a, b in both]
    return aligned, np.mean([a.scores - b.scores for a, b in aligned], axis=0)


def same_weights_verdict(pair: CellPair, kinds: set[str]) -> NumberVerdict:
    """Rows decide: no more of them may differ beyond ties than between other machine kinds."""
    aligned, difference = _paired(
        pair, [(result, pair.theirs[seed]) for seed, result in pair.ours.items()]
    )
    n = len(difference)
    if n == 0:
        return replace(
            pair.basis,
            level=Level.L1,
            verdict=Verdict.INCONCLUSIVE,
            reason="no rows in common with the reference",
        )
    # Of a few rows none may differ: one would be too large a share of them.
    allowed = max(int(n >= _FEW_ROWS), math.floor(pair.limits.same_weights[pair.metric] * n))
    counts = [differing_rows(a, b, pair.limits.logit_tie) for a, b in aligned]
    reason = f"{max(counts)} of {n} rows differ beyond ties, at most {allowed} by rounding"
    if "rounding" in kinds:
        reason += "; the training is the same but for rounding"
    otherwise = (rounding_reason(pair, seed) for seed in pair.ours)
    reason += "".join(f"; {text}" for text in dict.fromkeys(otherwise) if text)
    if n < max(pair.basis.n, next(iter(pair.theirs.values())).n):
        reason += f"; on the {counted(n, 'row')} in common"
    return replace(
        pair.basis,
        level=Level.L1,
        verdict=Verdict.NOT_REPRODUCED if max(counts) > allowed else Verdict.REPRODUCED,
        theirs=float(np.mean([b.scores.mean() for _, b in aligned])),
        ours=float(np.mean([a.scores.mean() for a, _ in aligned])),
        interval=paired_bootstrap(difference),
        noticed=(allowed + 1) / n,
        n=n,
        differing=sum(counts),
        reason=reason,
    )


def in_all(numbers: Iterable[NumberVerdict], limits: Margins) -> Iterator[GroupVerdict]:
    """Rows that differ at equal weights, over the whole run: few, though each cell may have one."""
    held = [number for number in numbers if number.level is Level.L1 and number.n]
    if not held:
        return
    rows = sum(number.n * max(1, len(number.seeds)) for number in held)
    count = sum(number.differing or 0 for number in held)
    allowed = max(1, math.floor(limits.all_rows * rows))
    yield GroupVerdict(
        level="run",
        name="the run",
        what="share of rows that differ at equal weights",
        ours=count / rows,
        theirs=0.0,
        interval=clopper_pearson(count, rows),
        logarithmic=False,
        p_adjusted=None,
        noticed=(allowed + 1) / rows,
        verdict=Verdict.NOT_REPRODUCED if count > allowed else Verdict.REPRODUCED,
        stored=1,
    )


def without_spread(pair: CellPair) -> NumberVerdict:
    """Too few stored seeds: rows can tell a difference, but not whether a seed explains it."""
    basis = replace(pair.basis, level=Level.L2)
    sides = (list(pair.ours.values()), list(pair.theirs.values()))
    known = [[result.outcomes for result in side if result.outcomes] for side in sides]
    whole = [len(own) for own in known] == [len(side) for side in sides]
    rows = common_rows([one for own in known for one in own]) if whole else np.zeros(0, dtype=int)
    if len(rows):
        ours, theirs = (np.mean([one.at(rows).scores for one in own], axis=0) for own in known)
        difference = ours - theirs
        basis = replace(basis, n=len(rows), ours=float(ours.mean()), theirs=float(theirs.mean()))
        apart = float(difference.mean())
        se = float(difference.std(ddof=1)) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
        interval = paired_bootstrap(difference)
    else:
        apart = (basis.ours or 0.0) - (basis.theirs or 0.0)
        se = math.sqrt(sum(sum(r.stderr**2 for r in side) / len(side) ** 2 for side in sides))
        interval = t_interval(apart, se, math.inf)
    p = difference_p(apart, se, max(1.0, basis.n - 1))
    reason = f"{counted(len(pair.theirs), 'stored seed')}: the spread over seeds is unknown"
    verdict = Verdict.INCONCLUSIVE if p < ALPHA else Verdict.CONSISTENT
    return replace(basis, interval=interval, p=p, verdict=verdict, reason=reason)
