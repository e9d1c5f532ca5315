"""Cells held against stored ones: bit-exact (L0), same weights (L1), retrained (L2)."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from repro.printable import counted
from repro.results.machines import (
    computed,
    computed_otherwise,
    elsewhere,
    parts_of,
    record_of,
)
from repro.results.outcomes import Outcomes, changed_inputs, common_rows, differing_rows
from repro.results.runs import CellResult, Key, Run
from repro.spec.cells import BASE, Cell
from repro.verify.copies import copies
from repro.verify.fingerprint import same_training
from repro.verify.margins import Margins, margins
from repro.verify.retrained import Models, Pair, against_seeds
from repro.verify.spread import LEAST
from repro.verify.statistics import (
    ALPHA,
    Floats,
    Interval,
    clopper_pearson,
    difference_p,
    paired_bootstrap,
    t_quantile,
)
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict

BySeed = Mapping[int | None, CellResult]
_FEW_ROWS = 20


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
    limits = limits or margins()
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
    retrained: dict[Cell, _Pair] = {}
    for cell in cells:
        if cell not in own:
            found[cell] = NumberVerdict(cell=cell, reason="not among the results")
            continue
        if cell not in theirs:
            found[cell] = NumberVerdict(
                cell=cell, verdict=Verdict.INCONCLUSIVE, reason="not in the reference"
            )
            continue
        pair = _Pair(cell, own[cell], theirs[cell], ours, reference, limits, place(cell))
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
        cell: _without_spread(pair, found[cell])
        for cell, pair in retrained.items()
        if cell not in judged
    }
    numbers = tuple(found.values())
    return Held(numbers, (*_in_all(numbers, limits), *grouped))


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
        elif (
            stored
            and stored.key == result.key
            and stored.samples_sha256 != result.samples_sha256
            and not _computed_otherwise(pair, seed)
        ):
            reason = "same content key as in the reference, other outcome: altered, or not exact"
        if reason:
            return replace(
                _basis(pair), level=Level.L0, verdict=Verdict.NOT_REPRODUCED, reason=reason
            )
    return None


def _computed_otherwise(pair: _Pair, seed: int | None) -> str:
    """Why a seed may differ by rounding at equal content keys; empty if it may not."""
    stem = pair.cell.name if seed is None else f"{pair.cell.name}.seed{seed}"
    told = []
    for run in (pair.our_run, pair.their_run):
        tuned = None if seed is None else run.tuned.get((pair.cell.variant, seed))
        told.append(computed(run.record, stem, tuned.raw if tuned else None))
    return computed_otherwise(*told)


def _copied(pair: _Pair, copied: Mapping[Key, str]) -> NumberVerdict | None:
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


def _judge(pair: _Pair, level: Level | None) -> NumberVerdict:
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
        return _same_weights_verdict(pair, basis, set(alike.values()))
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


def _alike(pair: _Pair, seed: int | None) -> str:
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


def _paired(
    pair: _Pair, seeds: Sequence[tuple[CellResult, CellResult]]
) -> tuple[list[tuple[Outcomes, Outcomes]], Floats]:
    """Both outcomes on common rows, and the difference of each row, averaged over seeds."""
    both = [(a.outcomes, b.outcomes) for a, b in seeds if a.outcomes and b.outcomes]
    rows = common_rows([outcomes for couple in both for outcomes in couple])
    aligned = [(a.at(rows), b.at(rows)) for a, b in both]
    return aligned, np.mean([a.scores - b.scores for a, b in aligned], axis=0)


def _same_weights_verdict(pair: _Pair, basis: NumberVerdict, kinds: set[str]) -> NumberVerdict:
    """Rows decide: no more of them may differ beyond ties than between other machine kinds."""
    aligned, difference = _paired(
        pair, [(result, pair.theirs[seed]) for seed, result in pair.ours.items()]
    )
    n = len(difference)
    if n == 0:
        return replace(
            basis,
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
    otherwise = (_computed_otherwise(pair, seed) for seed in pair.ours)
    reason += "".join(f"; {text}" for text in dict.fromkeys(otherwise) if text)
    if n < max(basis.n, next(iter(pair.theirs.values())).n):
        reason += f"; on the {counted(n, 'row')} in common"
    return replace(
        basis,
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


def _in_all(numbers: Iterable[NumberVerdict], limits: Margins) -> Iterator[GroupVerdict]:
    """Rows that differ at equal weights, over the whole run: few, though each cell may have one."""
    held = [number for number in numbers if number.level is Level.L1 and number.n]
    rows = sum(number.n * max(1, len(number.seeds)) for number in held)
    if not held:
        return
    count = sum(number.differing or 0 for number in held)
    allowed = max(1, math.floor(limits.all_rows * rows))
    share = count / rows
    yield GroupVerdict(
        level="run",
        name="the run",
        what="share of rows that differ at equal weights",
        ours=share,
        theirs=0.0,
        interval=clopper_pearson(count, rows),
        logarithmic=False,
        p_adjusted=None,
        noticed=(allowed + 1) / rows,
        verdict=Verdict.NOT_REPRODUCED if count > allowed else Verdict.REPRODUCED,
        stored=1,
    )


def _without_spread(pair: _Pair, basis: NumberVerdict) -> NumberVerdict:
    """Too few stored seeds: rows can tell a difference, but not whether a seed explains it."""
    everything = [*pair.ours.values(), *pair.theirs.values()]
    outcomes = [result.outcomes for result in everything if result.outcomes is not None]
    rows = common_rows(outcomes) if len(outcomes) == len(everything) else np.zeros(0, dtype=int)
    notes: list[str] = []
    if len(rows):
        basis = replace(basis, n=len(rows))
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
    k = len(pair.theirs)
    notes.insert(0, f"{k} stored seed{'s' * (k > 1)}: the spread over seeds is unknown")
    verdict = Verdict.INCONCLUSIVE if p < ALPHA else Verdict.CONSISTENT
    return replace(basis, interval=interval, p=p, verdict=verdict, reason="; ".join(notes))
