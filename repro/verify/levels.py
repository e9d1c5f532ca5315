"""Cells held against stored ones: bit-exact (L0), same weights (L1), retrained (L2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from repro.results.machines import elsewhere, parts_of, record_of
from repro.results.outcomes import changed_inputs, common_rows
from repro.results.runs import CellResult, Key, Run, named
from repro.results.schema import stem_of
from repro.spec.cells import BASE, Cell
from repro.verify.fingerprint import copies, same_training
from repro.verify.margins import margins_of
from repro.verify.retrained import Models, against_seeds
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


def compare_runs(
    ours: Run,
    reference: Run,
    *,
    wanted: Sequence[Cell] | None = None,
    level: Level | None = None,
    recorded: Sequence[Mapping[str, Any]] | None = None,
    groups: Mapping[str, Sequence[Cell]] | None = None,
    models: Models | None = None,
) -> Held:
    """Every cell of the reference, at the strongest level that it allows.

    Args:
        wanted: cells asked for; all of the reference by default.
        level: ask for this level: L0 takes nothing but equal bits, L1 and L2 leave the stronger
            ones aside.
        recorded: run.json of all that the reference was made from; its own by default.
        groups: cells that are also judged together, by name, such as those of a figure.
        models: what was fitted to this reference before, kept by who asks again and again.

    Returns:
        A verdict a cell, and those of all that retrained cells belong to.
    """
    limits = margins_of(reference)
    own, theirs = ours.by_cell, reference.by_cell
    owners: dict[str, list[Key]] = {}
    for key, result in reference.cells.items():
        owners.setdefault(result.key, []).append(key)
    copied, seeds = copies(ours), set(ours.seeds)
    stored = [part for r in recorded or (reference.record,) for part in parts_of(r)]

    @cache
    def place(cell: Cell) -> str:
        records = (record_of(ours.record, stem_of(cell, seed)) for seed in own[cell])
        told = (elsewhere(record, stored) for record in records)
        return "; ".join(dict.fromkeys(filter(None, told)))

    found: dict[Cell, NumberVerdict] = {}
    retrained: dict[Cell, CellPair] = {}
    for cell in theirs if wanted is None else wanted:
        if cell not in own:
            found[cell] = NumberVerdict(cell=cell, reason="not among the results")
            continue
        if cell not in theirs:
            found[cell] = NumberVerdict(
                cell=cell, verdict=Verdict.INCONCLUSIVE, reason="not in the reference"
            )
            continue
        pair = CellPair(cell, own[cell], theirs[cell], ours, reference, limits, place(cell))
        found[cell] = _refused(pair, owners, copied, seeds) or _judge(pair, level)
        if found[cell].level is Level.L2:
            retrained[cell] = pair
    enough = [p for p in retrained.values() if len(set(p.theirs) - {None}) >= LEAST]
    judged, grouped = against_seeds(enough, groups or {}, {} if models is None else models)
    for cell, pair in retrained.items():
        found[cell] = judged[cell] if cell in judged else without_spread(pair)
    numbers = tuple(found.values())
    return Held(numbers, (*in_all(numbers, limits), *grouped))


def _refused(
    pair: CellPair, owners: Mapping[str, Sequence[Key]], copied: Mapping[Key, str], seeds: set[int]
) -> NumberVerdict | None:
    """The verdict on a cell whose scores need no look; None if they do.

    Args:
        owners: cells and seeds of the reference by their content keys.
        copied: of `copies`; seeds: all that the run has.
    """
    basis = replace(pair.basis, verdict=Verdict.NOT_REPRODUCED)
    if reason := _forged(pair, owners):
        return replace(basis, level=Level.L0, reason=reason)
    twins = [copied[pair.cell, seed] for seed in pair.ours if (pair.cell, seed) in copied]
    if twins and pair.cell.variant != BASE:
        reason = f"its outputs are those of {twins[0]}: the same weights under two names"
        return replace(basis, reason=reason)
    lost = sorted(seeds.difference(pair.ours))
    if lost and None not in pair.ours:
        reason = f"seed {', '.join(map(str, lost))} is missing"
        return replace(basis, verdict=Verdict.NOT_RUN, reason=reason)
    reason = _other_data(pair)
    return replace(basis, reason=reason) if reason else None


def _forged(pair: CellPair, owners: Mapping[str, Sequence[Key]]) -> str:
    """What content keys give away: the same key, but another cell or another outcome."""
    for seed, result in pair.ours.items():
        known, stored = owners.get(result.key, ()), pair.theirs.get(seed)
        if known and (result.cell, seed) not in known:
            other = named(known[0][0].name, known[0][1])
            return f"its content key is that of {other} in the reference: swapped"
        if (
            stored
            and stored.key == result.key
            and stored.samples_sha256 != result.samples_sha256
            and not rounding_reason(pair, seed)
        ):
            return "same content key as in the reference, other outcome: altered, or not exact"
    return ""


def _other_data(pair: CellPair) -> str:
    """Common rows by number, but not by content: results of other data are not compared."""
    ours, theirs = pair.our_run, pair.their_run
    if ours.protocol != theirs.protocol or ours.overrides != theirs.overrides:
        return ""  # other prompts are then what is compared
    # Stored seeds have the same prompts and golds, which recording has checked.
    stored = next(iter(pair.theirs.values()))
    strange = max((_strange_rows(result, stored) for result in pair.ours.values()), default=0)
    if strange:
        return (
            f"{strange} of {pair.basis.n} rows are not among the reference's, and some of the "
            "reference's are missing: other test rows"
        )
    everything = (*pair.ours.values(), stored)
    changed = changed_inputs([r.outcomes for r in everything if r.outcomes])
    if not changed.any():
        return ""
    return (
        f"prompts or golds of {changed.sum()} of {len(changed)} common rows differ from the "
        "reference's: other data or other prompts"
    )


def _strange_rows(ours: CellResult, stored: CellResult) -> int:
    """How many rows the reference lacks, where neither side has all rows of the other."""
    if ours.outcomes is None or stored.outcomes is None:
        return 0
    common = len(common_rows([ours.outcomes, stored.outcomes]))
    return ours.n - common if common < min(ours.n, stored.n) else 0


def _judge(pair: CellPair, level: Level | None) -> NumberVerdict:
    """The verdict at L0 or L1, or values at L2 that are yet to be held against all seeds."""
    alike = {seed: _alike(pair, seed) for seed in pair.ours}
    exact = all(
        _same_bits(result, pair.theirs.get(seed)) and alike[seed] == "bits"
        for seed, result in pair.ours.items()
    )
    note = f"; {pair.elsewhere}" if pair.elsewhere else ""
    if exact and level in (None, Level.L0):
        return replace(
            pair.basis,
            theirs=float(np.mean([pair.theirs[seed].value for seed in pair.ours])),
            level=Level.L0,
            verdict=Verdict.REPRODUCED,
            reason="losses, logits and outputs equal to the last bit" + note,
        )
    if level is Level.L0:
        reason = "samples or losses missing, or losses, logits or outputs differ in some bit"
        return replace(
            pair.basis, level=level, verdict=Verdict.NOT_REPRODUCED, reason=reason + note
        )
    complete = all(
        seed in pair.theirs and result.outcomes is not None and pair.theirs[seed].outcomes
        for seed, result in pair.ours.items()
    )
    same = "other" not in alike.values()
    if complete and (same if level is None else level is Level.L1):
        return same_weights_verdict(pair, set(alike.values()))
    if level is Level.L1:
        reason = "rows cannot be paired: samples, or the same seeds, are missing on one side"
        return replace(pair.basis, verdict=Verdict.INCONCLUSIVE, reason=reason)
    return replace(pair.basis, level=Level.L2)


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
    trained = pair.our_run.tuned.get(place), pair.their_run.tuned.get(place)
    kind = same_training(*trained, pair.limits)
    if kind == "unknown":
        return "same key" if ours.model_key == theirs.model_key else "other"
    return kind
