"""Model variants and cells: what is trained, and what one evaluation is.

Their printed names carry what differs from the paper's defaults and nothing else, and parse back
without any study: `xsum-ft-2000`, `socialqa-fticl2-2000`, `xsum-ft-2000-epochs=4-prompt=p2`,
`base.xsum.p1.2`, `base.xsum.p1.2-random7-of=xlsum`.
"""

import re
from dataclasses import dataclass, fields
from typing import Literal, Self

from repro.spec.tasks import NAME, check_name

Method = Literal["base", "ft", "fticl"]

FIRST = "first"
"""Demonstrations in the order of their file."""
EXCHANGED = "exchanged"
"""The same with outputs that are not their own."""

_CHOICE = re.compile(r"first|exchanged|(?P<kind>random|each|diverse)(?P<seed>\d{1,9})")
_SHOWN = re.compile(
    rf"(?P<number>\d+)(-(?P<choice>exchanged|[a-z]+\d+))?(-of=(?P<source>{NAME.pattern}))?"
)
_CHECKPOINT = re.compile(r"(epoch)?[1-9]\d{0,8}")
_VARIANT = re.compile(
    rf"(?P<train>{NAME.pattern})-(?P<method>ft|fticl(?P<shots>\d+))-(?P<size>\d+)"
    r"(?P<rest>(-[a-z]+=[A-Za-z0-9_]+)*)"
)


@dataclass(frozen=True, order=True)
class Demonstrations:
    """In-context examples: how many, how chosen, from where.

    Attributes:
        choice: "first" of the file; "exchanged", the same with outputs of others; "random" and a
            seed, the first of a shuffled file. "each" and "diverse", with a seed, are chosen for
            each training row among the others: at random, or spread over labels or texts.
        source: the data set that they are taken from; the cell's or training set's own if empty.
    """

    number: int = 0
    choice: str = FIRST
    source: str = ""

    def __post_init__(self) -> None:
        if self.number < 0 or not _CHOICE.fullmatch(self.choice):
            raise ValueError(f"{self.number} demonstrations, {self.choice}: not a choice")
        if not self.number and (self.choice, self.source) != (FIRST, ""):
            raise ValueError("no demonstrations cannot be chosen from anywhere")
        if self.source:
            check_name("data set", self.source)
            if self.for_each:
                raise ValueError(f"'{self.choice}' takes training rows, not of {self.source}")

    @property
    def seed(self) -> int | None:
        """Of the choice; None for the order of the file."""
        match = _CHOICE.fullmatch(self.choice)
        return int(match["seed"]) if match and match["seed"] else None

    @property
    def for_each(self) -> bool:
        """Whether every training row has its own."""
        return self.choice.startswith(("each", "diverse"))

    @property
    def name(self) -> str:
        choice = "" if self.choice == FIRST else f"-{self.choice}"
        return f"{self.number}{choice}" + (f"-of={self.source}" if self.source else "")

    @classmethod
    def parse(cls, name: str) -> Self:
        """The demonstrations of a printed name such as `2-random7`; raises ValueError."""
        if match := _SHOWN.fullmatch(name):
            found = cls(int(match["number"]), match["choice"] or FIRST, match["source"] or "")
            if found.name == name:  # one name each
                return found
        raise ValueError(f"'{name}' is not a number of demonstrations")


NONE = Demonstrations()

_EXTRAS = ("rows", "target", "prompt", "epochs", "checkpoint", "shown", "of")
"""What a fine-tune's name appends where it differs from the paper's, in this order."""


@dataclass(frozen=True, order=True)
class Variant:
    """A model: the base, or a fine-tune of it with its settings (paper, sections 3 and 5)."""

    train: str = ""  # training set; empty for the base
    size: int = 0  # training samples as the study counts them
    demonstrations: Demonstrations = NONE  # before every training sample; none is plain FT
    rows: str = ""  # the study's filter of training rows; empty for all rows
    target: str = ""  # the study's format of targets; empty for the output as it is
    prompt: str = ""  # the prompt format of training samples; empty for the study's first
    epochs: int = 0  # 0 for the paper's two
    checkpoint: str = ""  # taken after so many steps ("8") or epochs ("epoch2"); empty: at the end

    def __post_init__(self) -> None:
        if not self.train:
            if any(getattr(self, own.name) != own.default for own in fields(self)):
                raise ValueError("the base model has no settings")
            return
        if self.size <= 0 or self.epochs < 0:
            raise ValueError("a fine-tune needs a number of training samples")
        check_name("training set", self.train)
        if self.checkpoint and not _CHECKPOINT.fullmatch(self.checkpoint):
            raise ValueError("a checkpoint is a number of steps such as 8, or epoch2")
        for what in ("rows", "target", "prompt"):
            if getattr(self, what):
                check_name(what, getattr(self, what))

    @property
    def method(self) -> Method:
        if not self.train:
            return "base"
        return "fticl" if self.train_shots else "ft"

    @property
    def train_shots(self) -> int:
        return self.demonstrations.number

    @property
    def name(self) -> str:
        if not self.train:
            return "base"
        own = self.demonstrations
        values = [getattr(self, name) for name in _EXTRAS[:5]]
        values += ["" if own.choice == FIRST else own.choice, own.source]
        method = f"fticl{own.number}" if own.number else "ft"
        pairs = zip(_EXTRAS, values, strict=True)
        extras = "".join(f"-{name}={value}" for name, value in pairs if value)
        return f"{self.train}-{method}-{self.size}{extras}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The variant of a printed name such as `xsum-ft-2000`; raises ValueError."""
        if name == "base":
            return cls()
        match = _VARIANT.fullmatch(name)
        if not match:
            raise ValueError(f"'{name}' is not a model variant")
        extras = dict(item.split("=") for item in match["rest"].split("-")[1:])
        if unknown := set(extras) - set(_EXTRAS):
            raise ValueError(f"'{name}' is not a model variant: no setting {unknown.pop()}")
        try:
            choice, source = extras.pop("shown", FIRST), extras.pop("of", "")
            shown = Demonstrations(int(match["shots"] or 0), choice, source)
            epochs = int(extras.pop("epochs", 0))
            found = cls(match["train"], int(match["size"]), shown, epochs=epochs, **extras)
        except ValueError as error:
            raise ValueError(f"'{name}' is not a model variant: {error}") from None
        if found.name != name:  # one name each
            raise ValueError(f"'{name}' is not a model variant: it is printed {found.name}")
        return found


BASE = Variant()


@dataclass(frozen=True)
class Cell:
    """One evaluation: variant x data set x prompt format x demonstrations.

    Names only: `Study.evaluation` has what they stand for. Printed `xsum-ft-2000.xlsum.p1.2`.
    """

    variant: Variant
    dataset: str
    prompt: str
    demonstrations: Demonstrations = NONE

    def __post_init__(self) -> None:
        check_name("data set", self.dataset)
        check_name("prompt format", self.prompt)

    @property
    def shots(self) -> int:
        return self.demonstrations.number

    @property
    def name(self) -> str:
        return f"{self.variant.name}.{self.dataset}.{self.prompt}.{self.demonstrations.name}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The cell of a printed name; raises ValueError."""
        parts = name.split(".")
        if len(parts) != 4:
            raise ValueError(f"'{name}' is not a cell: expected variant.dataset.prompt.shots")
        variant, dataset, prompt, shots = parts
        return cls(Variant.parse(variant), dataset, prompt, Demonstrations.parse(shots))
