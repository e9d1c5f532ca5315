"""Cells held against stored ones: bit-exact (L0), same weights (L1), retrained (L2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from repro.results.machines import (
    elsewhere,
    parts_of,
    record_of,
)
from repro.results.outcomes import changed_inputs, common_rows
from repro.results.runs import CellResult, Key, Run
from repro.spec.cells import BASE, Cell
from repro.verify.copies import copies
from repro.verify.fingerprint import same_training
from repro.verify.margins import Margins, margins_of
from repro.verify.retrained import Models, Pair, against_seeds
from repro.verify.rowverdicts import (
    CellPair,
    in_all,
    rounding_reason,
    same_weights_verdict,
    without_spread,
)
from repro.verify.spread import LEAST
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict


class Held(NamedTuple):
    """Verdicts on cells, and on the fine-tunes, figures and run that retrained cells belong to."""

    numbers: tuple[NumberVerdict, ...]
    groups: tuple[GroupVerdict, ...]


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


def compare_runs(
    ours: Run,
    reference: Run,
    *,
    wanted: Sequence[Cell] | None = None,
    level: Level | None = None,
    limits: Margins | None = None,
    recorded: Sequence[Mapping[str, Any]] | None = None,
    groups: Mapping[str, Sequence[Cell]] | None = None,
    models: Models | None = None,
) -> Held:
    """Every cell of the reference, at the strongest level that it allows.

    Args:
        wanted: cells asked for; all of the reference by default.
        level: ask for this level: L0 takes nothing but equal bits, L1 and L2 leave the stronger
            ones aside.
        limits: instead of the registered margins, for tests.
        recorded: run.json of all that the reference was made from; its own by default.
        groups: cells that are also judged together, by name, such as those of a figure.
        models: what was fitted to this reference before, kept by who asks again and again.

    Returns:
        A verdict a cell, and those of all that retrained cells belong to.
    """
    limits = limits or margins_of(reference)
    cells = list(reference.by_cell if wanted is None else wanted)
    own, theirs = ours.by_cell, reference.by_cell
    known, copied = owners(reference), copies(ours)
    seeds = set(ours.seeds)
    stored = [part for r in recorded or (reference.record,) for part in parts_of(r)]

    @cache
    def place(cell: Cell) -> str:
        stems = (cell.name if s is None else f"{cell.name}.seed{s}" for s in own[cell])
        told = (elsewhere(record_of(ours.record, stem), stored) for stem in stems)
        return "; ".join(dict.fromkeys(filter(None, told)))

    found: dict[Cell, NumberVerdict] = {}
    retrained: dict[Cell, CellPair] = {}
    for cell in cells:
        if cell not in own:
            found[cell] = NumberVerdict(cell=cell, reason="not among the results")
            continue
        if cell not in theirs:
            found[cell] = NumberVerdict(
                cell=cell, verdict=Verdict.INCONCLUSIVE, reason="not in the reference"
            )
            continue
        pair = CellPair(cell, own[cell], theirs[cell], ours, reference, limits, place(cell))
        found[cell] = (
            _forged(pair, known)
            or _copied(pair, copied)
            or _lacking(pair, seeds)
            or _other_data(pair)
            or _judge(pair, level)
        )
        if found[cell].level is Level.L2:
            retrained[cell] = pair
    enough = [
        Pair(cell, pair.ours, pair.theirs, found[cell])
        for cell, pair in retrained.items()
        if len(set(pair.theirs) - {None}) >= LEAST
    ]
    judged, grouped = against_seeds(
        enough, ours, reference, groups or {}, limits, {} if models is None else models
    )
    found |= judged
    found |= {
        cell: without_spread(pair, found[cell])
        for cell, pair in retrained.items()
        if cell not in judged
    }
    numbers = tuple(found.values())
    return Held(numbers, (*in_all(numbers, limits), *grouped))


def _basis(pair: CellPair) -> NumberVerdict:
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


def _forged(pair: CellPair, known: _Owners) -> NumberVerdict | None:
    """What content keys give away: the same key, but another cell or another outcome."""
    for seed, result in pair.ours.items():
        stranger = known.other(result)
        stored = pair.theirs.get(seed)
        reason = ""
        if stranger:
            reason = f"its content key is that of {stranger} in the reference: swapped"
        elif (
            stored
            and stored.key == result.key
            and stored.samples_sha256 != result.samples_sha256
            and not rounding_reason(pair, seed)
        ):
            reason = "same content key as in the reference, other outcome: altered, or not exact"
        if reason:
            return replace(
                _basis(pair), level=Level.L0, verdict=Verdict.NOT_REPRODUCED, reason=reason
            )
    return None


def _copied(pair: CellPair, copied: Mapping[Key, str]) -> NumberVerdict | None:
    """A fine-tuned cell that was computed with another model's weights."""
    for seed in pair.ours:
        if pair.cell.variant != BASE and (pair.cell, seed) in copied:
            return replace(
                _basis(pair),
                verdict=Verdict.NOT_REPRODUCED,
                reason=f"its outputs are those of {copied[pair.cell, seed]}: the same weights "
                "under two names",
            )
    return None


def _lacking(pair: CellPair, seeds: set[int]) -> NumberVerdict | None:
    """A fine-tuned cell without a seed that other cells have."""
    lost = sorted(seeds - set(pair.ours))
    if not lost or None in pair.ours:
        return None
    shown = ", ".join(str(seed) for seed in lost)
    return replace(_basis(pair), verdict=Verdict.NOT_RUN, reason=f"seed {shown} is missing")


def _other_data(pair: CellPair) -> NumberVerdict | None:
    """Common rows by number, but not by content: results of other data are not compared."""
    runs = (pair.our_run, pair.their_run)
    if runs[0].protocol != runs[1].protocol or runs[0].overrides != runs[1].overrides:
        return None  # other prompts are then what is compared
    # Stored seeds have the same prompts and golds, which recording has checked.
    stored = next(iter(pair.theirs.values()))
    strange = max((_strange_rows(result, stored) for result in pair.ours.values()), default=0)
    if strange:
        return replace(
            _basis(pair),
            verdict=Verdict.NOT_REPRODUCED,
            reason=f"{strange} of {next(iter(pair.ours.values())).n} rows are not among the "
            "reference's, and some of the reference's are missing: other test rows",
        )
    everything = (*pair.ours.values(), stored)
    changed = changed_inputs([r.outcomes for r in everything if r.outcomes])
    if not changed.any():
        return None
    return replace(
        _basis(pair),
        verdict=Verdict.NOT_REPRODUCED,
        reason=f"prompts or golds of {changed.sum()} of {len(changed)} common rows differ from the "
        "reference's: other data or other prompts",
    )


def _strange_rows(ours: CellResult, stored: CellResult) -> int:
    """How many rows the reference lacks, where neither side has all rows of the other."""
    if ours.outcomes is None or stored.outcomes is None:
        return 0
    common = len(common_rows([ours.outcomes, stored.outcomes]))
    return ours.n - common if common < min(ours.n, stored.n) else 0


def _judge(pair: CellPair, level: Level | None) -> NumberVerdict:
    """The verdict at L0 or L1, or a basis of level L2 for `against_seeds`."""
    basis = _basis(pair)
    alike = {seed: _alike(pair, seed) for seed in pair.ours}
    exact = all(
        _same_bits(result, pair.theirs.get(seed)) and alike[seed] == "bits"
        for seed, result in pair.ours.items()
    )
    note = f"; {pair.elsewhere}" if pair.elsewhere else ""
    if exact and level in (None, Level.L0):
        return replace(
            basis,
            theirs=float(np.mean([pair.theirs[seed].value for seed in pair.ours])),
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
    complete = all(
        seed in pair.theirs and result.outcomes is not None and pair.theirs[seed].outcomes
        for seed, result in pair.ours.items()
    )
    same = all(kind in ("bits", "rounding", "same key") for kind in alike.values())
    if complete and (same if level is None else level is Level.L1):
        return same_weights_verdict(pair, basis, set(alike.values()))
    if level is Level.L1:
        return replace(
            basis,
            verdict=Verdict.INCONCLUSIVE,
            reason="rows cannot be paired: samples, or the same seeds, are missing on one side",
        )
    return replace(basis, level=Level.L2)


def _same_bits(result: CellResult, stored: CellResult | None) -> bool:
    return (
        stored is not None
        and result.outcomes is not None
        and result.outcomes.inputs is not None  # imported: logits and prompts are unknown
        and result.samples_sha256 == stored.samples_sha256
    )


def _alike(pair: CellPair, seed: int | None) -> str:
    """How alike the weights behind a seed are: bits, rounding, same key, or other.

    Equal keys with other losses are not the same weights: the training was not deterministic, or
    one of them was changed.
    """
    ours, theirs = pair.ours[seed], pair.theirs.get(seed)
    if theirs is None:
        return "other"
    if seed is None:
        same = pair.cell.variant == BASE and ours.model_key == theirs.model_key
        return "bits" if same else "other"
    place = (pair.cell.variant, seed)
    kind = same_training(
        pair.our_run.tuned.get(place), pair.their_run.tuned.get(place), pair.limits
    )
    if kind == "unknown":
        return "same key" if ours.model_key == theirs.model_key else "other"
    return kind
