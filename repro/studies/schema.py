"""The tables of study files and of claims: types, allowed words, no unknown fields."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from repro.spec.claims import (
    Claim,
    Contrast,
    ContrastKind,
    Direction,
    Quantifier,
    Same,
    Shots,
    ShotsOf,
    Side,
    Take,
    Where,
)
from repro.spec.filters import RowFilter

Names = Annotated[list[str], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TaskTable(Table):
    """[tasks.NAME]: what is asked of a model."""

    fields: Names
    labels: list[str] = []
    shots: list[int] = []


class HubTable(Table):
    """Rows of a data set of the Hugging Face hub."""

    repo: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    split: str
    config: str = ""
    columns: dict[str, str] = {}
    labels: dict[str, str] = {}
    files: dict[str, Sha256] = {}
    max_words: int = 0


class LargerTable(HubTable):
    """[larger.NAME]: the original of a training set, for more rows than the profile's data has."""

    files: Annotated[dict[str, Sha256], Field(min_length=1)]


class DatasetTable(Table):
    """[datasets.NAME]: where rows are; paths are relative to the study file."""

    task: str
    printed: str = ""
    role: Literal["in-domain", "out-of-domain"] | None = None
    test: str | HubTable
    demonstrations: str | HubTable | None = None
    train: str | HubTable | None = None


class TargetTable(Table):
    """[targets.NAME]: what a fine-tune writes; a text alone stands for its `texts`."""

    texts: Names = ["{output}"]
    strings: int = 0
    names: list[str] = []


class CellsTable(Table):
    """[[cells]]: every combination of these, shown as one figure."""

    title: str = ""
    variants: Names
    datasets: Names
    prompts: list[str] = []
    shots: Annotated[list[int | str], Field(min_length=1)] = [0]


class SideTable(Table):
    """One side of a contrast."""

    models: Names
    shots: Shots = "any"
    take: Take = "each"
    datasets: list[str] = []
    prompts: list[str] = []
    panels: list[str] = []


class ContrastTable(Table):
    """[[claims.NAME.contrasts]]: one comparison."""

    name: str
    direction: Direction
    quantifier: Quantifier = "all"
    kind: ContrastKind = "scores"
    left: SideTable | None = None
    right: SideTable | None = None
    same: list[Same] | None = None
    panels: list[str] = []
    beyond: bool = False
    than: list[list[str]] = []
    train: list[str] = []
    threshold: float = 0.0
    note: str = ""


class ClaimTable(Table):
    """[claims.NAME]: a sentence and what bears it out."""

    finding: str
    title: str = ""
    source: str = ""
    panels: list[str] = []
    contrasts: Annotated[list[ContrastTable], Field(min_length=1)]


class CurveTable(Table):
    """[[curves]]: differences over a factor's levels, a panel each `where` and `shots`."""

    title: str
    axis: str
    levels: Annotated[list[int | float | str], Field(min_length=1)]
    lines: Annotated[dict[str, Names], Field(min_length=1)]
    train: Names
    minus: str = "base"
    where: Annotated[list[Where], Field(min_length=1)] = ["other tasks"]
    shots: Annotated[list[ShotsOf], Field(min_length=1)] = ["0"]


class MatrixTable(Table):
    """[[matrices]]: mean differences by test set and model."""

    title: str
    models: Annotated[dict[str, str], Field(min_length=1)]
    minus: str = "base"
    shots: Annotated[list[ShotsOf], Field(min_length=1)] = ["0"]


class StudyTable(Table):
    """A study file."""

    question: str
    extends: Literal["paper"] | None = None
    tasks: dict[str, TaskTable] = {}
    prompts: dict[str, dict[str, str]] = {}
    datasets: dict[str, DatasetTable] = {}
    larger: dict[str, LargerTable] = {}
    filters: dict[str, RowFilter] = {}
    targets: dict[str, str | TargetTable] = {}
    cells: Annotated[list[CellsTable], Field(min_length=1)]
    curves: list[CurveTable] = []
    matrices: list[MatrixTable] = []
    claims: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], ClaimTable] = {}


def spelt_out(names: Sequence[str]) -> list[str]:
    """Names with their braces written out: `a-{1,2}` is a-1 and a-2."""
    found = []
    for name in names:
        match = re.search(r"\{([^{}]*)\}", name)
        if match is None:
            found.append(name)
            continue
        before, after = name[: match.start()], name[match.end() :]
        found += spelt_out([before + part.strip() + after for part in match[1].split(",")])
    return found


def sets_of(names: Sequence[str], by_task: Mapping[str, Sequence[str]]) -> list[str]:
    """Data sets with the names of tasks replaced by all of a task's sets."""
    return [one for name in names for one in by_task.get(name, (name,))]


def claim_of(
    name: str, told: ClaimTable, by_task: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Claim:
    """The claim that a table tells; `by_task` has the data sets that a task's name stands for."""
    contrasts = tuple(_contrast(one, told.panels, by_task) for one in told.contrasts)
    title = told.title or told.finding
    return Claim(name, told.finding, told.source, tuple(told.panels), contrasts, title)


def _contrast(
    told: ContrastTable, panels: Sequence[str], by_task: Mapping[str, Sequence[str]]
) -> Contrast:
    panels, same = told.panels or panels, told.same
    if same is None:  # other prompts are compared only where the sides say so
        sides = [side for side in (told.left, told.right) if side is not None]
        narrowed = panels or any(side.prompts or side.panels for side in sides)
        same = [] if narrowed else ["prompt"]
    found = {name: value for name, value in told if name != "panels"} | {
        "left": _side(told.left, panels, by_task),
        "right": _side(told.right, panels, by_task),
        "same": tuple(same),
        "than": tuple(map(tuple, told.than)),
        "train": tuple(told.train),
    }
    return Contrast(**found)


def _side(
    told: SideTable | None, panels: Sequence[str], by_task: Mapping[str, Sequence[str]]
) -> Side | None:
    if told is None:
        return None
    return Side(
        tuple(told.panels or panels),
        tuple(spelt_out(told.models)),
        told.shots,
        told.take,
        tuple(sets_of(told.datasets, by_task)),
        tuple(told.prompts),
    )
