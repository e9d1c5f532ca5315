"""Claims and summaries as data: what each compares. `Study.pairs` has the points behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from repro.spec.points import Point

Shots = Literal["any", "0", "few", "fewest", "most"]
Take = Literal["each", "best", "range"]
Direction = Literal["greater", "less", "equal", "at most", "at least"]
Quantifier = Literal["all", "most"]
ContrastKind = Literal["scores", "change", "gain", "labels", "weight change", "final loss"]
Same = Literal["model", "shots", "train", "prompt"]

Where = Literal["in domain", "out of domain", "other tasks"]
"""Where a test set stands towards the training set of a model."""

ShotsOf = Literal["0", "few"]
"""Test prompts without examples, or with any number of them."""

FACTS: tuple[ContrastKind, ...] = ("weight change", "final loss")
"""Kinds that compare facts of fine-tunes, not scores."""


@dataclass(frozen=True)
class Side:
    """One side of a contrast: a selection of plotted points."""

    panels: tuple[str, ...]  # such as "1a"; all of the study where empty
    models: tuple[str, ...]  # "base", "ft", "fticl", names of variants, or series of the legend
    shots: Shots = "any"  # which of those plotted
    take: Take = "each"  # each point for itself, the best of a group, or a model's range over shots
    datasets: tuple[str, ...] = ()  # only these; all where empty
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Term:
    """One number of a comparison: a point, or the largest or the range of several."""

    dataset: str
    model: str  # name of the variant; empty where the best is taken over several
    shots: int | str | None  # of a single point; None otherwise
    take: Take
    points: tuple[Point, ...]

    @property
    def train(self) -> str:
        return self.points[0].variant.train

    @property
    def prompt(self) -> str:
        return self.points[0].prompt

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
    """One comparison of a claim; the head of the paper's `claims.toml` explains its fields."""

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


@dataclass(frozen=True)
class Claim:
    """A claim of a study: a sentence, and the contrasts that bear it out."""

    id: str
    finding: str  # the sentence in our words
    source: str  # where the paper states it
    panels: tuple[str, ...]  # that it rests on, such as "1a"
    contrasts: tuple[Contrast, ...] = field(default=(), repr=False)
    title: str = ""  # the finding in 28 characters


@dataclass(frozen=True, eq=False)
class Summary:
    """A grid of mean differences of scores, shown as a curve or as a matrix."""

    kind: Literal["curve", "matrix"]
    title: str
    axis: str  # what the rows are: of a curve the levels of a factor, of a matrix test sets
    rows: tuple[str, ...]
    columns: tuple[str, ...]  # of a curve its lines, of a matrix models
    pairs: Mapping[tuple[str, str], tuple[Pair, ...]]  # that are averaged, by row and column
    against: str  # what each score is held against, in words


def pairs_of(
    points: Sequence[Point], left: Side | None, right: Side | None, same: Sequence[Same]
) -> tuple[Pair, ...]:
    """All comparisons of two sides on the same data set, and of the `same` else.

    None without a left side.
    """
    if left is None:
        return ()
    lefts = _terms(points, left)
    if right is None:
        return tuple(Pair(term, None) for term in lefts)
    rights = _terms(points, right)
    return tuple(
        Pair(a, b)
        for a in lefts
        for b in rights
        if a.dataset == b.dataset and all(getattr(a, name) == getattr(b, name) for name in same)
    )


def _selected(points: Sequence[Point], side: Side) -> list[Point]:
    wanted = [
        point
        for point in points
        if not side.panels or point.figure + point.panel in side.panels
        if {point.variant.method, point.variant.name, point.series}.intersection(side.models)
        if not side.datasets or point.dataset in side.datasets
        if not side.prompts or point.prompt in side.prompts
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


def _terms(points: Sequence[Point], side: Side) -> list[Term]:
    groups: dict[tuple[str, str, str, int | str | None], list[Point]] = {}
    for p in _selected(points, side):
        model = "" if side.take == "best" else p.variant.name
        shots = p.shots if side.take == "each" else None
        groups.setdefault((p.prompt, p.dataset, model, shots), []).append(p)
    return [Term(*key[1:], side.take, tuple(own)) for key, own in groups.items()]
