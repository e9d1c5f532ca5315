"""Model variants and cells: what is trained, and what one evaluation is."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from repro.paper.tasks import DATASETS, PROMPTS, SIZES, TRAIN_SETS, Dataset, Task

Method = Literal["base", "ft", "fticl"]

_VARIANT = re.compile(r"(?P<train>[a-z]+)-(?P<method>ft|fticl(?P<shots>\d+))-(?P<size>\d+)")


@dataclass(frozen=True, order=True)
class Variant:
    """A model of the paper: the base, or a fine-tune of it (sections 3 and 5).

    Attributes:
        train: training set name, empty for the base.
        size: training samples as the paper counts them (2000, 4000, 6000), 0 for the base.
        train_shots: in-context examples put before every training sample; 0 is plain FT.
    """

    train: str = ""
    size: int = 0
    train_shots: int = 0

    @property
    def method(self) -> Method:
        if not self.train:
            return "base"
        return "fticl" if self.train_shots else "ft"

    @property
    def task(self) -> Task:
        """The task it is trained on; raises KeyError for the base."""
        return TRAIN_SETS[self.train]

    @property
    def name(self) -> str:
        if not self.train:
            return "base"
        shots = f"fticl{self.train_shots}" if self.train_shots else "ft"
        return f"{self.train}-{shots}-{self.size}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The variant of a printed name such as `xsum-ft-2000`; raises ValueError."""
        if name == "base":
            return cls()
        match = _VARIANT.fullmatch(name)
        if not match or match["train"] not in TRAIN_SETS or int(match["size"]) <= 0:
            raise ValueError(f"'{name}' is not a model variant")
        return cls(match["train"], int(match["size"]), int(match["shots"] or 0))


BASE = Variant()


def _variants() -> tuple[Variant, ...]:
    plain = [Variant(train, size) for train in TRAIN_SETS for size in SIZES]
    with_examples = [
        Variant(train, SIZES[0], shots)
        for train, task in TRAIN_SETS.items()
        for shots in task.fticl_shots
    ]
    return (BASE, *plain, *with_examples)


VARIANTS = {variant.name: variant for variant in _variants()}


@dataclass(frozen=True)
class Cell:
    """One evaluation: variant x dataset x prompt x shots. Named `xsum-ft-2000.xlsum.p1.2`."""

    variant: Variant
    dataset: str
    prompt: str
    shots: int

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS or self.prompt not in PROMPTS:
            raise ValueError(f"no such dataset or prompt: {self.dataset}, {self.prompt}")
        if self.shots not in self.task.shots:
            raise ValueError(f"{self.dataset} is tested with {self.task.shots} shots")

    @property
    def task(self) -> Task:
        """The task of its test set."""
        return DATASETS[self.dataset].task

    @property
    def test(self) -> Dataset:
        return DATASETS[self.dataset]

    @property
    def name(self) -> str:
        return f"{self.variant.name}.{self.dataset}.{self.prompt}.{self.shots}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The cell of a printed name; raises ValueError."""
        parts = name.split(".")
        if len(parts) != 4 or not parts[3].isdigit():
            raise ValueError(f"'{name}' is not a cell: expected variant.dataset.prompt.shots")
        return cls(Variant.parse(parts[0]), parts[1], parts[2], int(parts[3]))


def all_cells() -> tuple[Cell, ...]:
    """The full cross product: 26 variants x 18 test sets x 2 prompts x 4 shot counts."""
    return tuple(
        Cell(variant, dataset.name, prompt, shots)
        for variant in VARIANTS.values()
        for dataset in DATASETS.values()
        for prompt in PROMPTS
        for shots in dataset.task.shots
    )
