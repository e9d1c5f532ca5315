"""Do findings survive: the claims on one model's runs under several protocols, side by side.

A switch that only leaves rows out, or chooses the shot count of a bar otherwise, needs no run of
its own: the predictions of the published protocol are judged again without those rows. A row's
prediction does not depend on the others, beyond rounding.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repro.errors import EXIT_MISSING, ReproError
from repro.results.runs import CellResult, Run
from repro.spec.claims import FACTS
from repro.studies.paper.protocols import switches
from repro.verify.claimverdicts import ClaimVerdict
from repro.verify.comparisons import Change, change, comparisons
from repro.verify.fingerprint import equal_training
from repro.verify.reference import load_reference, references
from repro.verify.seedspread import spread_of
from repro.verify.verification import bars_over_every_shot, claims_of, evidence

PUBLISHED = "published-code"
DROPPED = "dropped_rows.json"
"""Which rows each switch drops, made by `tools/dropped_rows.py`."""

DRAWS = 2000
"""Of the bootstrap over rows: limits of intervals are then right to about .002."""

Rows = Mapping[str, Mapping[str, Sequence[int] | Mapping[str, Sequence[int]]]]
"""Positions of test rows by switch and test set; of leaked rows by what was trained on."""

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "A3": ("bos_few_shot_classification",),
    "A5": ("label_tokens", "trailing_blank"),
}
"""Switches that change prompts, which a model's tokenizer may have no use for."""

TOUCHED = "touched_cells.json"
"""By key of the base model, how many cells each switch gives other prompts or labels.

Made by `tools/touched_cells.py`.
"""

Source = Literal["run", "rows", "untouched"]

DERIVED: Mapping[str, tuple[str, ...]] = {
    "A4": ("leaked_rows",),
    "A5": ("gold_dash",),
    "A6": ("best_of",),
    "A8": ("repeated_inputs", "empty_inputs"),
    "A9": ("demonstrations_in_test",),
}
"""Switches that need no run of their own, by the section of the audit that measured the flaw."""


@dataclass(frozen=True)
class Condition:
    """The claims on one run.

    Attributes:
        name: the protocol, or the switches that differ from the published code.
        audit: the section on what the switch mends; empty for a whole protocol.
        switches: that differ from the published code's; empty for a whole protocol.
        source: "run"; "rows": the published protocol's predictions, without some of their rows;
            "untouched": those predictions, since the switch changes no prompt of this model.
        run: all cells; under single switches those that no switch touches are the published
            protocol's.
        claims: by id.
        changes: by claim and by its comparisons, how far each effect is from the first
            condition's; without those that have none, or are of facts of fine-tunes.
        anew: what was run under it, where that was the source.
    """

    name: str
    audit: str
    switches: tuple[str, ...]
    source: Source
    run: Run
    claims: Mapping[str, ClaimVerdict]
    changes: Mapping[str, Mapping[str, Change]] = field(default_factory=dict)
    anew: Run | None = None


def runs_of(root: Path, profile: str) -> tuple[Run, ...]:
    """The stored runs of a profile, first that of the published code with the fewest switches set.

    Raises:
        ReproError: there is none under the published code (3).
    """
    stored = [load_reference(folder).run for folder in references(root, profile=profile)]
    found = [run for run in stored if run.study.published]
    found.sort(key=lambda run: (run.protocol != PUBLISHED, len(run.overrides), run.name))
    if not found or found[0].protocol != PUBLISHED:
        raise ReproError(
            f"{root} holds no run of profile {profile} under {PUBLISHED}",
            hint=f"repro run --profile {profile}, then repro expected record",
            exit_code=EXIT_MISSING,
        )
    return tuple(found)


def read_json(path: Path) -> Any:
    """A file that a tool made.

    Raises:
        ReproError: it is missing or not JSON (3).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReproError(
            f"{path}: {error}",
            hint=f"restore it from the repository, or: python -m tools.{path.stem}",
            exit_code=EXIT_MISSING,
        ) from None


def stored_conditions(root: Path, profile: str) -> tuple[Condition, ...]:
    """`conditions` of the stored runs of a profile, with what tools measured on its prompts.

    Raises:
        ReproError: no such run, or no file of a tool, is there (3).
    """
    runs = runs_of(root, profile)
    touched = read_json(root / TOUCHED).get(runs[0].identity.get("model"))
    return conditions(runs, read_json(root / DROPPED), touched=touched)


def conditions(
    runs: Sequence[Run],
    dropped: Rows,
    *,
    touched: Mapping[str, int] | None = None,
    draws: int = DRAWS,
) -> tuple[Condition, ...]:
    """The claims on each run, and on the first without the rows that single switches drop.

    Args:
        runs: as `runs_of` gives them.
        dropped: what `DROPPED` holds.
        touched: cells by switch, of this model's in `TOUCHED`.
    """
    found: list[Condition] = []
    for run in runs:
        values = {k: v for k, v in run.overrides.items() if runs[0].overrides.get(k) != v}
        name = ", ".join(f"{k} = {v}" for k, v in values.items()) or run.protocol
        audit = ", ".join(dict.fromkeys(switches()[switch].audit for switch in values))
        whole = merged(runs[0], run, values) if run.protocol == PUBLISHED and values else run
        judged = claims_of(whole, spread_of(whole, whole.study), draws)
        moved = changes(found[0], whole, draws) if found else {}
        names = tuple(values) if audit else ()
        found.append(Condition(name, audit, names, "run", whole, judged, moved, run))
    for section, names in PROMPTS.items():
        if touched and not any(touched[name] for name in names):
            told = ", ".join(names)
            found.append(Condition(told, section, names, "untouched", runs[0], found[0].claims))
    # Positions of rows are those of the authors' files.
    known = runs[0].record.get("data", "upstream") == "upstream"
    for section, names in DERIVED.items() if known else ():
        run, told = changed(runs[0], names, dropped)
        judged = claims_of(run, spread_of(run, run.study), draws)
        moved = changes(found[0], run, draws)
        found.append(Condition(told, section, names, "rows", run, judged, moved))
    return tuple(found)


def changes(first: Condition, run: Run, draws: int) -> Mapping[str, Mapping[str, Change]]:
    """How far effects move from a condition to a run, by claim and by its own comparisons.

    The same rows are drawn for both; rows that one of them lacks are left out of its means.
    """
    published = first.run
    anew = {name for name, _ in trained_anew(published, run)}
    registered = spread_of(published, published.study)
    luck = replace(
        registered,
        relative=lambda cell: registered.relative(cell) if cell.variant.name in anew else 0.0,
    )

    @cache
    def universe(dataset: str) -> NDArray[np.int64]:
        rows = [
            result.outcomes.rows
            for one in (published, run)
            for (cell, _), result in one.cells.items()
            if cell.dataset == dataset and result.outcomes
        ]
        return np.unique(np.concatenate(rows))

    told = [
        (evidence(one, luck, draws, universe), bars_over_every_shot(one))
        for one in (published, run)
    ]
    found: dict[str, dict[str, Change]] = {}
    for name, claim in first.claims.items():
        for contrast in (item.contrast for item in claim.own):
            if contrast.kind in FACTS:
                continue
            before, after = (
                comparisons(contrast, own.study, own.source(contrast), every_shot=every_shot)
                for own, every_shot in told
            )
            if moved := change(before, after):
                found.setdefault(name, {})[contrast.name] = moved
    return found


def trained_anew(published: Run, run: Run) -> frozenset[tuple[str, int]]:
    """Fine-tunes of a run with other weights than the published protocol's, by variant and seed.

    Keys differ with every switch of training; where each loss and the weight change are equal to
    the last bit, the switch had nothing to change.
    """

    return frozenset(
        (variant.name, seed)
        for (variant, seed), tuned in run.tuned.items()
        if (one := published.tuned.get((variant, seed))) is None
        or (one.key != tuned.key and not equal_training(one, tuned))
    )


def merged(published: Run, run: Run | None, changed: Mapping[str, Any]) -> Run:
    """The published protocol's run with what changed switches touch in its place."""
    own = published.switched(changed)
    if run is None:
        return own
    # Of a cell with fewer seeds than the published one has, none of those may stand beside them.
    kept = {key: cell for key, cell in own.cells.items() if key[0] not in run.by_cell}
    return replace(own, cells=kept | dict(run.cells), tuned={**own.tuned, **run.tuned})


def changed(run: Run, switches: Sequence[str], dropped: Rows) -> tuple[Run, str]:
    """A run of the published code with switches as `corrected` has them, and what changed."""
    values = {name: getattr(run.study.protocols["corrected"], name) for name in switches}
    rows: dict[str, set[int]] = {}
    for name in switches:
        for dataset, positions in dropped.get(name, {}).items():
            if isinstance(positions, Mapping):
                positions = _implied(run, dataset, positions)
            rows.setdefault(dataset, set()).update(positions)
    cells = {
        place: without_rows(result, rows.get(result.cell.dataset, set()))
        for place, result in run.cells.items()
    }
    told = ", ".join(f"{name} = {value}" for name, value in values.items())
    return replace(run.switched(values), cells=cells), told


def _implied(run: Run, dataset: str, by_training: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Rows whose labels follow from what a fine-tune of this run was trained on.

    Args:
        by_training: by `SIZE.ROWS` of the training set; the fewest rows that hold its samples.
    """
    leak = run.study.datasets[dataset].leak
    found: set[int] = set()
    for (variant, _), tuned in run.tuned.items():
        if leak is None or variant.train != leak[0]:
            continue
        limits = [key.split(".")[1] for key in by_training if key.startswith(f"{variant.size}.")]
        enough = [limit for limit in limits if int(limit) >= tuned.raw.get("samples", 0)]
        limit = min(enough or limits, key=int)
        found.update(by_training[f"{variant.size}.{limit}"])
    return sorted(found)


def without_rows(result: CellResult, dropped: set[int]) -> CellResult:
    """A cell without some rows; its `stderr`, for cells without rows, stays that of all."""
    outcomes = result.outcomes
    if outcomes is None or not dropped.intersection(outcomes.rows.tolist()):
        return result
    kept = np.setdiff1d(outcomes.rows, list(dropped))
    left = outcomes.at(kept)
    return replace(result, outcomes=left, value=float(left.scores.mean()), n=len(kept))


Sizes = Sequence[Sequence[Condition]]
"""Conditions by size of a model's runs, the largest first; of each the published protocol first."""


def leads(claims: Sequence[Mapping[str, ClaimVerdict]]) -> Mapping[str, str]:
    """The comparison whose effect stands for a claim everywhere, by claim: its first with numbers.

    Args:
        claims: by id, on several runs: one is asked only where those before it have no numbers.
    """
    every = {name: [item for own in claims for item in own[name].own] for name in claims[0]}
    found = {name: next((item for item in own if item.ran), own[0]) for name, own in every.items()}
    return {name: item.contrast.name for name, item in found.items()}


def common_leads(sizes: Sizes) -> Mapping[str, str]:
    """The same for several sizes together, by their numbers of the published protocol."""
    return leads([own[0].claims for own in sizes])
