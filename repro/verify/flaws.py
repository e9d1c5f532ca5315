"""What each flaw does: cells of the published protocol held against those with a switch mended.

A run with a switch mended holds only the cells that the switch touches; all others are those of the
published protocol.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from repro.results.outcomes import Outcomes
from repro.results.runs import CellResult, Key, Run
from repro.spec.protocol import Protocol, typed
from repro.studies.paper.protocols import switches
from repro.verify.claimverdicts import ClaimVerdict
from repro.verify.published import default_folder
from repro.verify.reference import find_reference
from repro.verify.seedspread import SeedSpread, spread_of
from repro.verify.statistics import Floats, Interval, percentile_interval, resampling_weights
from repro.verify.survival import DRAWS, Condition, merged, trained_anew
from repro.verify.verification import claims_of

CORRECTED = "corrected"


class Change(NamedTuple):
    """A score before and after."""

    cell: str
    seed: int | None
    before: float
    after: float

    @property
    def difference(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Flaw:
    """What mending a flaw changes.

    Attributes:
        name: the switch with its value, or a whole protocol.
        audit: the sections on it; empty for a whole protocol.
        changes: of all cells that it touches, each seed for itself.
        anew: fine-tunes that are made anew, each seed for itself.
        mean: of the changes; None without any.
        interval: 95 % of it, over rows, and over seeds where fine-tunes are made anew.
        claims: by id, before and after.
    """

    name: str
    audit: str
    changes: tuple[Change, ...]
    anew: int
    mean: float | None
    interval: Interval | None
    claims: Mapping[str, tuple[ClaimVerdict, ClaimVerdict]]

    @property
    def cells(self) -> int:
        return len({change.cell for change in self.changes})

    @property
    def largest(self) -> Change | None:
        """The largest change; None if there is none."""
        found = max(self.changes, key=lambda change: abs(change.difference), default=None)
        return found if found and found.difference else None


def mended(published: Protocol, corrected: Protocol) -> dict[str, Any]:
    """The switches in which two protocols differ, with their values in the second."""
    values = vars(corrected)
    return {name: values[name] for name, value in vars(published).items() if values[name] != value}


def flaws(published: Run, runs: Mapping[str, Run], *, draws: int = DRAWS) -> tuple[Flaw, ...]:
    """Each switch that `corrected` sets, alone, then all of them.

    Args:
        published: all cells under the published protocol.
        runs: by switch, and `corrected`: the cells that are touched; none where none is.
        draws: of the bootstrap over rows.
    """
    study = published.study
    spread = _spread(published)
    before = claims_of(published, spread, draws)
    values = mended(study.protocols[published.protocol], study.protocols[CORRECTED])
    found = []
    for key in (*values, CORRECTED):
        whole = key == CORRECTED
        changed = values if whole else {key: values[key]}
        run = runs.get(key)
        after = claims_of(merged(published, run, changed), spread, draws)
        name, audit = (
            (key, "") if whole else (f"{key} = {typed(values[key])}", switches()[key].audit)
        )
        found.append(_flaw(name, audit, (published, run), (before, after), spread, draws))
    return tuple(found)


def stored_flaws(conditions: Sequence[Condition], *, draws: int = DRAWS) -> tuple[Flaw, ...]:
    """What changes under each condition that was run, of one model, the published code's first."""
    first = conditions[0]
    return tuple(
        _flaw(
            condition.name,
            condition.audit,
            (first.run, _touched(first.run, condition.anew)),
            (first.claims, condition.claims),
            _spread(first.run),
            draws,
        )
        for condition in conditions[1:]
        if condition.anew
    )


def _touched(published: Run, run: Run) -> Run:
    """A run without the cells that came out as in the published one, to the last prompt."""

    def same(one: Outcomes | None, other: Outcomes | None) -> bool:
        if one is None or other is None:
            return False
        pairs = zip(vars(one).values(), vars(other).values(), strict=True)
        return all(np.array_equal(before, after) for before, after in pairs)

    kept = {
        key: cell
        for key, cell in run.cells.items()
        if key not in published.cells or not same(published.cells[key].outcomes, cell.outcomes)
    }
    return replace(run, cells=kept)


def _spread(published: Run) -> SeedSpread:
    reference = find_reference(default_folder(), published)
    return spread_of(reference.run if reference else None, published.study)


def _flaw(
    name: str,
    audit: str,
    runs: tuple[Run, Run | None],
    claims: tuple[Mapping[str, ClaimVerdict], Mapping[str, ClaimVerdict]],
    spread: SeedSpread,
    draws: int,
) -> Flaw:
    """What changes from one run to another, over the cells that both have."""
    published, run = runs
    before, after = claims
    cells = {k: own for k, own in (run.cells if run else {}).items() if k in published.cells}
    compared = {(cell.variant.name, seed) for cell, seed in cells}
    anew = trained_anew(published, run) & compared if run else frozenset()
    changes = tuple(
        Change(cell.name, seed, published.cells[cell, seed].value, result.value)
        for (cell, seed), result in cells.items()
    )
    drawn = _drawn(published, cells, anew, spread, draws)
    return Flaw(
        name,
        audit,
        changes,
        len(anew),
        float(np.mean([change.difference for change in changes])) if changes else None,
        percentile_interval(drawn) if changes else None,
        {claim: (before[claim], after[claim]) for claim in before},
    )


def _drawn(
    published: Run,
    cells: Mapping[Key, CellResult],
    anew: frozenset[tuple[str, int]],
    spread: SeedSpread,
    draws: int,
) -> Floats:
    """Draws of the mean change: rows of each test set drawn again, and the luck of other seeds.

    Rows that one side leaves out are left out of its mean when they are drawn. A fine-tune that is
    made anew is as lucky as another seed would be, and so was the one in its place.
    """
    seeds = max(1, len({seed for _, seed in anew}))
    total = np.zeros(draws)
    # By test set, since only a few matrices of weights are kept.
    for (cell, seed), after in sorted(cells.items(), key=lambda item: item[0][0].dataset):
        before = published.cells[cell, seed]
        own = [one.outcomes.rows.tolist() for one in (before, after) if one.outcomes]
        rows = sorted(set().union(*own))
        total += _resampled(after, cell.dataset, draws, rows)
        total -= _resampled(before, cell.dataset, draws, rows)
        if (cell.variant.name, seed) in anew:
            luck = spread.luck(cell, after.value, after.n, draws)
            total += math.sqrt(2 / seeds) * luck
    return total / max(1, len(cells))


def _resampled(result: CellResult, dataset: str, draws: int, rows: Sequence[int]) -> Floats:
    """The mean score of rows that are drawn again, of those that the result has."""
    if result.outcomes is None:
        return np.full(draws, result.value)
    weights = resampling_weights(len(rows), f"rows/{dataset}", draws)
    if len(result.outcomes.rows) < len(rows):
        weights = weights[:, np.searchsorted(rows, result.outcomes.rows)]
    drawn = np.maximum(weights.sum(axis=1), 1)
    return np.asarray(weights @ result.outcomes.scores / drawn, dtype=np.float64)
