"""What a results folder holds, as data: cells, fine-tunes, runs. `reading` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.results.outcomes import Outcomes
from repro.spec.cells import Cell, Variant
from repro.spec.study import Study

AUTHORS_SCRIPTS = "the authors' scripts"
"""The origin in run.json of imported results, whose seeds, logits and prompts are unknown."""

Key = tuple[Cell, int | None]
"""A cell and the seed of its fine-tune; None for the base, which has none, and where unknown."""


@dataclass(frozen=True)
class CellResult:
    """A line of results.jsonl.

    Attributes:
        key: content key of the artefact; model_key: of the weights behind it.
        samples_sha256: of the samples file, which holds outputs and logits to the last bit.
        outcomes: of the single rows; None where the samples file is missing.
        raw: the line as it stands, for reference folders.
    """

    cell: Cell
    seed: int | None
    metric: str
    value: float
    stderr: float
    n: int
    key: str
    model_key: str
    samples_sha256: str
    outcomes: Outcomes | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def constant(self) -> str | None:
        """The label that every row got, if so."""
        if self.outcomes is None or self.metric != "accuracy":
            return None
        return self.outcomes.outputs[0] if len(set(self.outcomes.outputs)) == 1 else None


@dataclass(frozen=True)
class Tuned:
    """A line of finetunes.jsonl: a fine-tune and the facts that claims and levels use."""

    variant: Variant
    seed: int
    key: str
    losses: tuple[float | None, ...]
    weight_change: float | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def final_loss(self) -> float | None:
        """Mean training loss of the last tenth of the steps; None if no step had a label."""
        tail = self.losses[-max(1, len(self.losses) // 10) :] if self.losses else ()
        known = [loss for loss in tail if loss is not None]
        return sum(known) / len(known) if known else None


def is_imported(record: Mapping[str, Any]) -> bool:
    """Whether run.json is that of imported results."""
    return record.get("origin") == AUTHORS_SCRIPTS


@dataclass(frozen=True)
class Run:
    """Results of one profile, protocol and machine kind.

    Attributes:
        record: run.json; empty where it is missing.
        cells: by cell and seed; tuned: by variant and seed.
        study: what its names stand for.
    """

    folder: Path
    profile: str
    protocol: str
    overrides: Mapping[str, Any]
    record: Mapping[str, Any]
    cells: Mapping[Key, CellResult]
    tuned: Mapping[tuple[Variant, int], Tuned]
    study: Study

    @property
    def name(self) -> str:
        changed = ", ".join(f"{name}={value}" for name, value in self.overrides.items())
        name = f"{self.profile} / {self.protocol}" + (f" ({changed})" if changed else "")
        return name + (f", by {AUTHORS_SCRIPTS}" if is_imported(self.record) else "")

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({seed for _, seed in self.cells if seed is not None}))

    @cached_property
    def by_cell(self) -> Mapping[Cell, Mapping[int | None, CellResult]]:
        """The results by cell, then by seed."""
        found: dict[Cell, dict[int | None, CellResult]] = {}
        for (cell, seed), result in self.cells.items():
            found.setdefault(cell, {})[seed] = result
        return found

    def of(self, cell: Cell) -> Mapping[int | None, CellResult]:
        """The results of a cell by seed."""
        return self.by_cell.get(cell, {})

    @property
    def asked(self) -> frozenset[Cell] | None:
        """The cells that the run was asked for, or has; None where it does not tell."""
        asked = self.record.get("asked")
        names = asked.get("cells") if isinstance(asked, dict) else None
        if not isinstance(names, list):
            return None
        return frozenset((*(Cell.parse(name) for name in names), *self.by_cell))

    @property
    def identity(self) -> Mapping[str, Any]:
        found = self.record.get("identity")
        return found if isinstance(found, dict) else {}

    @property
    def best_of(self) -> str:
        """How bars were chosen: smallest, all or split-half."""
        switches = self.record.get("switches")
        return (
            str(switches.get("best_of", "smallest")) if isinstance(switches, dict) else "smallest"
        )

    @property
    def every_shot(self) -> bool:
        """Bars are chosen among all shot counts."""
        return self.best_of != "smallest"


@dataclass(frozen=True)
class Results:
    """All runs found under a folder, and what a reader must know about them."""

    runs: tuple[Run, ...]
    warnings: tuple[str, ...]
