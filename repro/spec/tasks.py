"""Tasks, data sets and training sets, and where a study's own rows are read from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""No dots, hyphens, commas or blanks: these separate names in cells, variants and options."""


def check_name(what: str, name: str) -> None:
    """Raise ValueError unless `name` can stand in the printed name of a cell."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"'{name}' cannot name a {what}: letters, digits and underscores, a letter first"
        )


Split = Literal["train", "test", "demonstrations"]


class Kind(StrEnum):
    """What a model must produce: free text, or one of a few labels."""

    GENERATION = "generation"
    CLASSIFICATION = "classification"


class Role(StrEnum):
    """Where a test set stands towards its task's training set (paper Table 1)."""

    IN_DOMAIN = "in-domain"
    OUT_OF_DOMAIN = "out-of-domain"


NO_MAJORITY = "-"
"""The gold label of rows on which the annotators did not agree (AUDIT A5)."""

METRICS = {Kind.GENERATION: "rougeL", Kind.CLASSIFICATION: "accuracy"}


@dataclass(frozen=True)
class Task:
    """What is asked of a model."""

    name: str
    fields: tuple[str, ...]  # of the input, in prompt order; every row also has "output"
    labels: tuple[str, ...] = ()  # in the order in which ties are broken; empty for generation
    shots: tuple[int, ...] = (0,)  # that contexts are extended over, zero first
    about: tuple[str, ...] = ()  # the fields that tell two rows apart; all of them where empty
    fixed: bool = False  # shipped and tested by the kit, so that content keys name it only

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if not self.fields or "output" in self.fields or "row" in self.fields:
            raise ValueError(f"task {self.name} needs input fields, none called output or row")
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"task {self.name} needs two labels or more, each once, or none")

    @property
    def kind(self) -> Kind:
        return Kind.CLASSIFICATION if self.labels else Kind.GENERATION

    @property
    def metric(self) -> str:
        return METRICS[self.kind]


@dataclass(frozen=True)
class FilePlace:
    """Rows in a JSONL file; its path is absolute, or relative to where the study is run from."""

    path: str


@dataclass(frozen=True)
class HubPlace:
    """Rows of a data set of the Hugging Face hub, at a pinned revision."""

    repo: str
    revision: str
    split: str
    config: str = ""
    columns: tuple[tuple[str, str], ...] = ()  # field of the task -> column, where they differ
    labels: tuple[tuple[str, str], ...] = ()  # its value -> label of the task, where they differ
    # Parquet files of the commit and the sha256 of each, or "" for whatever the commit has; without
    # any, all that the repository declares for the split.
    files: tuple[tuple[str, str], ...] = ()
    max_words: int = 0  # longer rows are left out; 0 for none


DataPlace = FilePlace | HubPlace


@dataclass(frozen=True)
class Dataset:
    """A test set."""

    name: str
    printed: str  # in reports
    task: Task
    role: Role | None = None  # towards its task's training set; None where nothing is said of it
    occurring: tuple[str, ...] = ()  # the labels that its rows have; the task's where empty
    leak: tuple[str, int] | None = None  # training set and size that imply labels (AUDIT A4)
    # Where rows of a split are read from; the profile's data where it has none.
    places: Mapping[Split, DataPlace] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_name("data set", self.name)


@dataclass(frozen=True)
class TrainingSet:
    """Rows to fine-tune on."""

    name: str
    task: Task
    dataset: str  # the test set from the same source, whose demonstrations FTICL uses
    place: DataPlace | None = None  # where its rows are read from; None: the profile's data

    def __post_init__(self) -> None:
        check_name("training set", self.name)


@dataclass(frozen=True, order=True)
class Part:
    """One set of rows. Printed `train/xsum/2000`, `test/xsum`, `demonstrations/xsum`."""

    split: Split
    name: str  # the test set for "test" and "demonstrations", the training set for "train"
    size: int = 0  # training rows as the study counts them

    def __post_init__(self) -> None:
        if self.split not in ("train", "test", "demonstrations"):
            raise ValueError(f"no such split: {self.split}")
        if (self.size > 0) != (self.split == "train") or self.size < 0:
            raise ValueError(f"{self.split} rows of {self.name} cannot have size {self.size}")

    def __str__(self) -> str:
        return f"{self.split}/{self.name}" + (f"/{self.size}" if self.size else "")
