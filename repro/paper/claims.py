"""The paper's findings as data: what each compares, and the cells it rests on."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from repro.paper.cells import Cell, Variant
from repro.paper.figures import Point, points
from repro.paper.tasks import SIZES, TRAIN_SETS

Shots = Literal["any", "0", "few", "fewest", "most"]
Take = Literal["each", "best", "range"]
Direction = Literal["greater", "less", "equal", "at most", "at least"]
Quantifier = Literal["all", "most"]
ContrastKind = Literal["scores", "change", "gain", "labels", "weight change", "final loss"]
Same = Literal["model", "shots", "train"]

FACTS: tuple[ContrastKind, ...] = ("weight change", "final loss")
"""Kinds that compare facts of fine-tunes, not scores."""


@dataclass(frozen=True)
class Side:
    """One side of a contrast: a selection of plotted points.

    Attributes:
        panels: such as "1a".
        models: "base", "ft", "fticl", or series names as the legend prints them.
        shots: which shot counts of those plotted.
        take: each point for itself, the best of a model group, or a model's range over shots.
    """

    panels: tuple[str, ...]
    models: tuple[str, ...]
    shots: Shots = "any"
    take: Take = "each"


@dataclass(frozen=True)
class Term:
    """One number of a comparison: a point, or the largest or the range of several.

    Attributes:
        model: name of the variant; empty where the best is taken over several.
        shots: of a single point; None otherwise.
    """

    dataset: str
    model: str
    shots: int | str | None
    take: Take
    points: tuple[Point, ...]

    @property
    def train(self) -> str:
        """The training set of its model."""
        return self.points[0].variant.train

    @property
    def name(self) -> str:
        first = self.points[0]
        place = f"{first.dataset} {first.prompt}"
        if self.take == "each":
            return f"{self.model} {place} {self.shots}"
        return f"{self.take} of {self.model or 'all'} {place}"


@dataclass(frozen=True)
class Pair:
    """Left against right; without a right side, against zero."""

    left: Term
    right: Term | None

    @property
    def name(self) -> str:
        return self.left.name + (f" - {self.right.name}" if self.right else "")


@dataclass(frozen=True)
class Contrast:
    """One comparison of a claim. The fields are explained at the head of `claims.toml`."""

    name: str
    direction: Direction
    quantifier: Quantifier
    kind: ContrastKind = "scores"
    left: Side | None = None
    right: Side | None = None
    same: tuple[Same, ...] = ()
    beyond: bool = False
    than: tuple[tuple[str, ...], ...] = ()
    train: tuple[str, ...] = ()
    threshold: float = 0.0
    note: str = ""

    def pairs(self, *, every_shot: bool = False) -> tuple[Pair, ...]:
        """All pairs that it compares; none for facts of fine-tunes."""
        return _pairs(self, self.left, self.right, every_shot)

    def other_pairs(self, *, every_shot: bool = False) -> tuple[Pair, ...]:
        """For a change or a gain: the pairs of the group that it is held against."""
        if not self.than or self.left is None or self.right is None:
            return ()
        groups = self.than if len(self.than) == 2 else self.than * 2
        left, right = (
            Side(panels, side.models, side.shots, side.take)
            for panels, side in zip(groups, (self.left, self.right), strict=True)
        )
        return _pairs(self, left, right, every_shot)

    def fact_pairs(self) -> tuple[tuple[Variant, Variant], ...]:
        """For facts of fine-tunes: each FTICL variant with its plain fine-tune."""
        return tuple(
            (Variant(train, SIZES[0], shots), Variant(train, SIZES[0]))
            for train in self.train
            for shots in TRAIN_SETS[train].fticl_shots
        )


@dataclass(frozen=True)
class Claim:
    """A finding of the paper.

    Attributes:
        finding: the sentence in our words; title: the same in 28 characters.
        source: where the paper states it.
        panels: the panels it rests on, such as "1a".
        contrasts: what is compared.
    """

    id: str
    finding: str
    source: str
    panels: tuple[str, ...]
    contrasts: tuple[Contrast, ...] = field(default=(), repr=False)
    title: str = ""

    def cells(self, *, every_shot: bool = False) -> tuple[Cell, ...]:
        """The distinct cells that its contrasts need.

        Contrasts of facts need their fine-tunes only, through the claim's panels.
        """
        terms: list[Term] = []
        for contrast in self.contrasts:
            if not contrast.beyond:
                pairs = contrast.pairs(every_shot=every_shot)
                pairs += contrast.other_pairs(every_shot=every_shot)
                terms += [t for pair in pairs for t in (pair.left, pair.right) if t is not None]
        used = [point for term in terms for point in term.points]
        if not used:
            used = list(_in_panels(self.panels, every_shot))
        return tuple(dict.fromkeys(cell for point in used for cell in point.cells))


@cache
def _in_panels(panels: tuple[str, ...], every_shot: bool) -> tuple[Point, ...]:
    figures = {panel[0] for panel in panels}
    return tuple(
        point
        for point in points(figures, every_shot=every_shot)
        if point.figure + point.panel in panels
    )


def _selected(side: Side, every_shot: bool) -> list[Point]:
    wanted = [
        point
        for point in _in_panels(side.panels, every_shot)
        if point.variant.method in side.models or point.series in side.models
    ]
    # A best-of bar has no shot count of its own, and is left alone by all but "0" and "few".
    if side.shots == "any":
        return wanted
    if side.shots in ("0", "few"):
        return [p for p in wanted if (p.shots == 0) == (side.shots == "0")]
    pick = min if side.shots == "fewest" else max
    ends: dict[tuple[str, str], int] = {}
    for p in wanted:
        assert isinstance(p.shots, int), "fewest and most are for line panels"
        key = (p.figure + p.panel, p.series)
        ends[key] = pick(ends.get(key, p.shots), p.shots)
    return [p for p in wanted if p.shots == ends[p.figure + p.panel, p.series]]


def _terms(side: Side, every_shot: bool) -> list[Term]:
    groups: dict[tuple[str, str, int | str | None], list[Point]] = {}
    for p in _selected(side, every_shot):
        model = "" if side.take == "best" else p.variant.name
        shots = p.shots if side.take == "each" else None
        own = groups.setdefault((p.dataset, model, shots), [])
        own.append(p)
    return [Term(*key, side.take, tuple(own)) for key, own in groups.items()]


def _pairs(
    contrast: Contrast, left: Side | None, right: Side | None, every_shot: bool
) -> tuple[Pair, ...]:
    if left is None:
        return ()
    lefts = _terms(left, every_shot)
    if right is None:
        return tuple(Pair(term, None) for term in lefts)
    rights = _terms(right, every_shot)
    return tuple(
        Pair(a, b)
        for a in lefts
        for b in rights
        if a.dataset == b.dataset
        and ("model" not in contrast.same or a.model == b.model)
        and ("shots" not in contrast.same or a.shots == b.shots)
        and ("train" not in contrast.same or a.train == b.train)
    )


def _side(table: Mapping[str, Any] | None, panels: Iterable[str]) -> Side | None:
    if table is None:
        return None
    return Side(
        tuple(table.get("panels", panels)),
        tuple(table["models"]),
        table.get("shots", "any"),
        table.get("take", "each"),
    )


def _contrast(table: Mapping[str, Any], panels: tuple[str, ...]) -> Contrast:
    own = table.get("panels", panels)
    made = Contrast(
        table["name"],
        table["direction"],
        table["quantifier"],
        table.get("kind", "scores"),
        _side(table.get("left"), own),
        _side(table.get("right"), own),
        tuple(table.get("same", ())),
        table.get("beyond", False),
        tuple(tuple(group) for group in table.get("than", ())),
        tuple(table.get("train", ())),
        float(table.get("threshold", 0.0)),
        table.get("note", ""),
    )
    # The file comes with the kit, so that a wrong word in it is a bug and not a user's mistake.
    assert made.direction in get_args(Direction), made
    assert made.quantifier in get_args(Quantifier), made
    assert made.kind in get_args(ContrastKind), made
    assert made.fact_pairs() if made.kind in FACTS else made.pairs(), made
    return made


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    text = files("repro.paper").joinpath("claims.toml").read_text(encoding="utf-8")
    found = {}
    for name, table in tomllib.loads(text).items():
        panels = tuple(table["panels"])
        contrasts = tuple(_contrast(item, panels) for item in table["contrasts"])
        found[name] = Claim(
            name, table["finding"], table["source"], panels, contrasts, table["title"]
        )
    return found


@cache
def unclaimed() -> dict[Point, str]:
    """The plotted points that no finding rests on, with the reason."""
    text = files("repro.paper").joinpath("unclaimed.toml").read_text(encoding="utf-8")
    return {
        point: table["reason"]
        for table in tomllib.loads(text)["unclaimed"]
        for point in _in_panels(tuple(table["panels"]), False)
        if point.series in table["series"]
    }
