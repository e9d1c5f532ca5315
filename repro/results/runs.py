"""What a results folder holds, as data: cells, fine-tunes, runs. `reading` makes them."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

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

    @classmethod
    def of(cls, cell: Cell, line: Mapping[str, Any], outcomes: Outcomes | None) -> Self:
        """A checked line, with the outcomes of its rows."""
        names = ("metric", "n", "key", "model_key", "samples_sha256")
        kept = {name: line[name] for name in names} | {"seed": line.get("seed")}
        value, stderr = float(line["value"]), float(line["stderr"])
        return cls(cell=cell, value=value, stderr=stderr, outcomes=outcomes, raw=line, **kept)

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


def named(name: str, seed: int | None) -> str:
    """A cell or a model with its seed, if it has one, for sentences."""
    return name if seed is None else f"{name} seed {seed}"


def is_imported(record: Mapping[str, Any]) -> bool:
    """Whether run.json is that of imported results."""
    return record.get("origin") == AUTHORS_SCRIPTS


@dataclass(frozen=True)
class Run:
    """Results of one profile and protocol.

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

    @property
    def facts(self) -> Mapping[str, Mapping[Variant, Mapping[int | None, float]]]:
        """Weight changes and final losses of fine-tunes by seed, where they are known and not 0."""
        found: dict[str, dict[Variant, dict[int | None, float]]]
        found = {"weight change": {}, "final loss": {}}
        for (variant, seed), tuned in self.tuned.items():
            for kind, value in zip(found, (tuned.weight_change, tuned.final_loss), strict=True):
                if value:
                    found[kind].setdefault(variant, {})[seed] = value
        return found

    def of(self, cell: Cell) -> Mapping[int | None, CellResult]:
        """The results of a cell by seed."""
        return self.by_cell.get(cell, {})

    @property
    def asked(self) -> Set[Cell] | None:
        """The cells that the run was asked for, or has, in order; None where it does not tell."""
        names = self.record.get("asked", {}).get("cells")
        if names is None:
            return None
        return dict.fromkeys((*map(Cell.parse, names), *self.by_cell)).keys()

    @property
    def identity(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.record.get("identity", {})
        return found

    @property
    def switches(self) -> Mapping[str, Any]:
        """Every switch of the protocol with its value."""
        found = self.record.get("switches")
        return found if isinstance(found, dict) else {}

    def switched(self, values: Mapping[str, Any]) -> Self:
        """The run as one with other values of some switches."""
        record = {**self.record, "switches": {**self.switches, **values}}
        return replace(self, record=record, overrides=values)

    @property
    def best_of(self) -> str:
        """How bars were chosen: smallest, all or split-half."""
        return str(self.switches.get("best_of", "smallest"))

    @property
    def every_shot(self) -> bool:
        """Bars are chosen among all shot counts."""
        return self.best_of != "smallest"


@dataclass(frozen=True)
class Results:
    """All runs found under a folder, and what a reader must know about them."""

    runs: tuple[Run, ...]
    warnings: tuple[str, ...]
