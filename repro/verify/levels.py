"""Cells held against stored ones: bit-exact (L0), same weights (L1), retrained (L2)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repro.paper.cells import BASE, Cell
from repro.verify.decide import WEAK, adjusted, decided
from repro.verify.flips import flips
from repro.verify.margins import Margins, margins
from repro.verify.outcomes import Outcomes, changed_inputs, common_rows
from repro.verify.places import elsewhere
from repro.verify.results import CellResult, Run
from repro.verify.statistics import (
    ALPHA,
    Floats,
    Interval,
    clopper_pearson,
    difference_p,
    paired_bootstrap,
    prediction,
    smoothed_share_variance,
    t_quantile,
    tost_p,
    tost_power,
)
from repro.verify.verdicts import Level, NumberVerdict, Verdict

BySeed = Mapping[int | None, CellResult]


@dataclass(frozen=True)
class _Owners:
    """Which cell and seed a content key belongs to in the reference."""

    of: Mapping[str, tuple[tuple[Cell, int | None], ...]]

    def other(self, result: CellResult) -> str:
        """The name of another owner of the result's key, if it is not its own; else empty."""
        owners = self.of.get(result.key, ())
        if not owners or (result.cell, result.seed) in owners:
            return ""
        cell, seed = owners[0]
        return cell.name + ("" if seed is None else f" seed {seed}")


def owners(reference: Run) -> _Owners:
    """The content keys of a reference."""
    found: dict[str, tuple[tuple[Cell, int | None], ...]] = {}
    for place, result in reference.cells.items():
        found[result.key] = (*found.get(result.key, ()), place)
    return _Owners(found)


def hold_against(
    ours: Run,
    reference: Run,
    *,
    wanted: Sequence[Cell] | None = None,
    level: Level | None = None,
    limits: Margins | None = None,
    recorded: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[NumberVerdict, ...]:
    """Every cell of the reference, at the strongest level that it allows.

    Args:
        wanted: cells asked for; all of the reference by default.
        level: ask for this level: L0 takes nothing but equal bits, L1 and L2 leave the stronger
            ones aside.
        limits: instead of the registered margins, for tests.
        recorded: run.json of all that the reference was made from; its own by default.

    Returns:
        A verdict a cell, with p values adjusted over all of them.
    """
    limits = limits or margins()
    cells = list(dict.fromkeys(cell for cell, _ in reference.cells) if wanted is None else wanted)
    theirs: dict[Cell, dict[int | None, CellResult]] = {}
    own: dict[Cell, dict[int | None, CellResult]] = {}
    for table, run in ((theirs, reference), (own, ours)):
        for (cell, seed), result in run.cells.items():
            table.setdefault(cell, {})[seed] = result
    known = owners(reference)
    seeds = set(ours.seeds)
    place = elsewhere(ours.record, recorded or (reference.record,))
    found = []
    for cell in cells:
        if cell not in own:
            found.append(NumberVerdict(cell=cell, reason="not among the results"))
        elif cell not in theirs:
            found.append(
                NumberVerdict(
                    cell=cell, verdict=Verdict.INCONCLUSIVE, reason="not in the reference"
                )
            )
        else:
            pair = _Pair(cell, own[cell], theirs[cell], ours, reference, limits, place)
            found.append(
                _forged(pair, known)
                or _lacking(pair, seeds)
                or _other_data(pair)
                or _judge(pair, level)
            )
    return adjusted(found)


@dataclass(frozen=True)
class _Pair:
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


def _basis(pair: _Pair) -> NumberVerdict:
    first = next(iter(pair.ours.values()))
    return NumberVerdict(
        cell=pair.cell,
        seeds=pair.seeds,
        ours=float(np.mean([result.value for result in pair.ours.values()])),
        theirs=float(np.mean([result.value for result in pair.theirs.values()])),
        n=first.n,
        stored=len(pair.theirs),
        constant=first.constant,
    )


def _forged(pair: _Pair, known: _Owners) -> NumberVerdict | None:
    """What content keys give away: the same key, but another cell or another outcome."""
    for seed, result in pair.ours.items():
        stranger = known.other(result)
        stored = pair.theirs.get(seed)
        reason = ""
        if stranger:
            reason = f"its content key is that of {stranger} in the reference: swapped"
        elif stored and stored.key == result.key and stored.samples_sha256 != result.samples_sha256:
            reason = "same content key as in the reference, other outcome: altered, or not exact"
        if reason:
            return replace(
                _basis(pair), level=Level.L0, verdict=Verdict.NOT_REPRODUCED, reason=reason
            )
    return None


def _lacking(pair: _Pair, seeds: set[int]) -> NumberVerdict | None:
    """A fine-tuned cell without a seed that other cells have."""
    lost = sorted(seeds - set(pair.ours))
    if not lost or None in pair.ours:
        return None
    shown = ", ".join(str(seed) for seed in lost)
    return replace(_basis(pair), verdict=Verdict.NOT_RUN, reason=f"seed {shown} is missing")


def _other_data(pair: _Pair) -> NumberVerdict | None:
    """Common rows by number, but not by content: results of other data are not compared."""
    runs = (pair.our_run, pair.their_run)
    if runs[0].protocol != runs[1].protocol or runs[0].overrides != runs[1].overrides:
        return None  # other prompts are then what is compared
    everything = (*pair.ours.values(), *pair.theirs.values())
    changed = changed_inputs([r.outcomes for r in everything if r.outcomes])
    if not changed.any():
        return None
    return replace(
        _basis(pair),
        verdict=Verdict.INCONCLUSIVE,
        reason=f"prompts or golds of {changed.sum()} of {len(changed)} common rows differ from the "
        "reference's: another data version",
    )


def _judge(pair: _Pair, level: Level | None) -> NumberVerdict:
    basis = _basis(pair)
    exact = all(
        _same_bits(result, pair.theirs.get(seed))
        and (pair.cell.variant == BASE or _same_training(pair, seed) is True)
        for seed, result in pair.ours.items()
    )
    note = f"; {pair.elsewhere}" if pair.elsewhere else ""
    if exact and level in (None, Level.L0):
        same = [pair.theirs[seed].value for seed in pair.ours]
        return replace(
            basis,
            theirs=float(np.mean(same)),
            level=Level.L0,
            verdict=Verdict.REPRODUCED,
            reason="losses, logits and outputs equal to the last bit" + note,
        )
    if level is Level.L0:
        return replace(
            basis,
            level=Level.L0,
            verdict=Verdict.NOT_REPRODUCED,
            reason="samples or losses missing, or losses, logits or outputs differ in some bit"
            + note,
        )
    pairs = [(result, pair.theirs.get(seed)) for seed, result in pair.ours.items()]
    complete = all(
        stored is not None and result.outcomes is not None and stored.outcomes is not None
        for result, stored in pairs
    )
    same_weights = all(_same_weights(pair, seed) for seed in pair.ours)
    if complete and (same_weights if level is None else level is Level.L1):
        return _same_weights_verdict(pair, basis)
    if level is Level.L1:
        return replace(
            basis,
            verdict=Verdict.INCONCLUSIVE,
            reason="rows cannot be paired: samples, or the same seeds, are missing on one side",
        )
    return _retrained_verdict(pair, basis)


def _same_bits(result: CellResult, stored: CellResult | None) -> bool:
    return (
        stored is not None
        and result.outcomes is not None
        and result.outcomes.inputs is not None  # imported: logits and prompts are unknown
        and result.samples_sha256 == stored.samples_sha256
    )


def _same_weights(pair: _Pair, seed: int | None) -> bool:
    """The same base, the same fine-tune, or one whose every loss is equal to the last bit.

    Equal keys with other losses are not the same weights: the training was not deterministic, or
    one of them was changed.
    """
    ours, theirs = pair.ours[seed], pair.theirs.get(seed)
    if theirs is None:
        return False
    trained = _same_training(pair, seed)
    return ours.model_key == theirs.model_key if trained is None else trained


def _same_training(pair: _Pair, seed: int | None) -> bool | None:
    """Whether every loss and the weight change are equal; None where they are not known."""
    if seed is None:
        return None
    a = pair.our_run.tuned.get((pair.cell.variant, seed))
    b = pair.their_run.tuned.get((pair.cell.variant, seed))
    if a is None or b is None or not a.losses or not b.losses:
        return None
    return a.losses == b.losses and a.weight_change == b.weight_change


def _paired(
    pair: _Pair, seeds: Sequence[tuple[CellResult, CellResult]]
) -> tuple[list[tuple[Outcomes, Outcomes]], Floats]:
    """Both outcomes on common rows, and the difference of each row, averaged over seeds."""
    both = [(a.outcomes, b.outcomes) for a, b in seeds if a.outcomes and b.outcomes]
    rows = common_rows([outcomes for couple in both for outcomes in couple])
    aligned = [(a.at(rows), b.at(rows)) for a, b in both]
    return aligned, np.mean([a.scores - b.scores for a, b in aligned], axis=0)


def _same_weights_verdict(pair: _Pair, basis: NumberVerdict) -> NumberVerdict:
    aligned, difference = _paired(
        pair, [(result, pair.theirs[seed]) for seed, result in pair.ours.items()]
    )
    n = len(difference)
    if n < 2:
        return replace(
            basis,
            level=Level.L1,
            verdict=Verdict.INCONCLUSIVE,
            reason=f"{n} rows in common with the reference: too few to compare",
        )
    margin = pair.limits.same_weights[pair.metric]
    mean = float(difference.mean())
    # One more row in two of those that differ keeps the variance away from zero. Where no score
    # differs, but outputs do, such a row could have changed by anything.
    changed, largest = float(np.mean(difference**2)), float(np.abs(difference).max()) or 1.0
    variance = max((changed * n + largest) / (n + 2) - mean**2, 0.0) / n
    se, df = math.sqrt(variance), n - 1.0
    same = sum(a.outputs == b.outputs for a, b in aligned) == len(aligned)
    p = difference_p(mean, se, df)
    agreement = np.mean(
        [np.mean([x == y for x, y in zip(a.outputs, b.outputs, strict=True)]) for a, b in aligned]
    )
    reason = f"{agreement:.1%} of outputs agree"
    if pair.metric == "accuracy":
        counted = [flips(a, b, pair.limits.logit_tie) for a, b in aligned]
        outside = sum(item.gained + item.lost for item in counted)
        high = clopper_pearson(outside, n * len(counted)).high
        reason += f", {outside} flips outside ties (at most {high:.1%} of rows)"
        if len(counted) == 1:
            p = counted[0].p
    if n < basis.n:
        reason += f"; on the {n} rows in common"
    return decided(
        replace(
            basis,
            level=Level.L1,
            interval=paired_bootstrap(difference),
            p=1.0 if same else p,
            equivalence_p=0.0 if same else tost_p(mean, se, df, margin),
            margin=margin,
            power=tost_power(se, df, margin),
            n=n,
            reason=reason,
        )
    )


def _values(results: BySeed, rows: np.ndarray | None) -> list[float]:
    if rows is None:
        return [result.value for result in results.values()]
    return [float(r.outcomes.at(rows).scores.mean()) for r in results.values() if r.outcomes]


def _retrained_verdict(pair: _Pair, basis: NumberVerdict) -> NumberVerdict:
    everything = [*pair.ours.values(), *pair.theirs.values()]
    outcomes = [result.outcomes for result in everything if result.outcomes is not None]
    rows = common_rows(outcomes) if len(outcomes) == len(everything) else None
    n = min(result.n for result in everything) if rows is None else len(rows)
    ours, theirs = _values(pair.ours, rows), _values(pair.theirs, rows)
    mean = float(np.mean(theirs))
    floor = smoothed_share_variance(mean, n)
    if pair.metric != "accuracy":
        # stderr is over all rows of a cell; fewer of them vary more.
        floor = float(np.mean([r.stderr**2 * r.n / n for r in pair.theirs.values()]))
    basis = replace(
        basis, level=Level.L2, ours=float(np.mean(ours)), theirs=mean, n=n, stored=len(theirs)
    )
    notes = [] if rows is not None else ["by means only: samples are missing"]
    if rows is not None and n < next(iter(pair.ours.values())).n:
        notes.append(f"on the {n} rows in common")
    predicted = prediction(theirs, floor=floor, new=len(ours))
    if predicted is None:
        return _single_reference(pair, basis, notes, rows is not None)
    notes.insert(0, f"k = {predicted.k}" + (", weak" if predicted.k < WEAK else ""))
    margin = pair.limits.retrained[pair.metric]
    difference = float(np.mean(ours)) - mean
    half = t_quantile(1 - ALPHA / 2, predicted.df) * predicted.se
    return decided(
        replace(
            basis,
            interval=Interval(difference - half, difference + half),
            p=difference_p(difference, predicted.se, predicted.df),
            equivalence_p=tost_p(difference, predicted.se, predicted.df, margin),
            margin=margin,
            power=tost_power(predicted.se, predicted.df, margin),
            reason="; ".join(notes),
        )
    )


def _single_reference(
    pair: _Pair, basis: NumberVerdict, notes: list[str], paired: bool
) -> NumberVerdict:
    """One stored run: rows alone can tell a difference, but not whether a seed explains it."""
    if paired:
        stored = next(iter(pair.theirs.values()))
        _, difference = _paired(pair, [(result, stored) for result in pair.ours.values()])
        se = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if basis.n > 1 else 0.0
        interval = paired_bootstrap(difference)
    else:
        sides = (pair.ours, pair.theirs)
        se = math.sqrt(sum(r.stderr**2 for side in sides for r in side.values()))
        half = t_quantile(1 - ALPHA / 2, math.inf) * se
        interval = Interval(basis.difference - half, basis.difference + half)  # type: ignore[operator]
    p = difference_p(basis.difference or 0.0, se, max(1.0, basis.n - 1))
    notes.insert(0, "k = 1: rows only, the spread over seeds is unknown")
    number = replace(basis, interval=interval, p=p, reason="; ".join(notes))
    return decided(number, spread_known=False)
