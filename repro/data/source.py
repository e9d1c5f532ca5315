"""What a source of rows is: parts, one schema per task, and the `Source` protocol."""

import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import datasets

from repro.errors import ReproError
from repro.paper.tasks import DATASETS, TRAIN_SETS, Task

Split = Literal["train", "test", "demonstrations"]


@dataclass(frozen=True, order=True)
class Part:
    """One file of rows. Printed `train/xsum/2000`, `test/xsum`, `demonstrations/xsum`.

    Attributes:
        split: what the rows are for.
        name: the test set for "test" and "demonstrations", the training set for "train".
        size: training rows as the paper counts them (2000, 4000, 6000), else 0.

    Raises:
        ValueError: no such data set or training set, or a size where none belongs.
    """

    split: Split
    name: str
    size: int = 0

    def __post_init__(self) -> None:
        if self.split not in typing.get_args(Split):
            raise ValueError(f"no such split: {self.split}")
        if self.name not in (TRAIN_SETS if self.split == "train" else DATASETS):
            raise ValueError(f"no such set of {self.split} rows: {self.name}")
        if (self.size > 0) != (self.split == "train") or self.size < 0:
            raise ValueError(f"{self.split} rows of {self.name} cannot have size {self.size}")

    def __str__(self) -> str:
        return f"{self.split}/{self.name}" + (f"/{self.size}" if self.size else "")

    @property
    def task(self) -> Task:
        """The task its rows belong to."""
        return TRAIN_SETS[self.name] if self.split == "train" else DATASETS[self.name].task


def features(task: Task) -> datasets.Features:
    """The schema of a task's rows.

    "row" (int64) is the position in the part's file, counted from 0; the task's input fields
    and "output" are strings.
    """
    text = {field: datasets.Value("string") for field in (*task.fields, "output")}
    return datasets.Features({"row": datasets.Value("int64"), **text})


class Source(typing.Protocol):
    """Where rows come from: the authors' files, or the kit's own made-up world."""

    @property
    def name(self) -> str:
        """Either "upstream" or "embedded"."""

    def rows(self, part: Part) -> datasets.Dataset:
        """All rows of a part in file order, with the columns of `features(part.task)`.

        Raises:
            ReproError: the part is not there, does not match its hash, or is malformed.
        """

    def digest(self, part: Part) -> str:
        """A hash that changes if and only if the rows can change; no path goes into it."""

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """What of these is not there or does not match, each with its remedy; [] if all is well."""
