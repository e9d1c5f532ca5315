"""Curves and matrices of a study file: which differences of scores each place averages."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from repro.spec.cells import BASE, Variant
from repro.spec.claims import Pair, ShotsOf, Summary, Term, Where
from repro.spec.points import Point
from repro.spec.study import Study
from repro.spec.tasks import Role
from repro.studies.schema import CurveTable, MatrixTable, spelt_out

_SHOTS: dict[ShotsOf, str] = {"0": "0-shot", "few": "with examples"}


def curves(study: Study, told: CurveTable) -> Iterator[Summary]:
    """The curves of a table: a panel for each place of test sets and each kind of prompts.

    A single line makes a single panel, with a line for each of them.

    Raises:
        ValueError: a line has another number of levels, or nothing was asked for at one.
    """
    levels = tuple(map(str, told.levels))
    panels: dict[str, dict[tuple[str, str], tuple[Pair, ...]]] = {}
    for where, shots in product(told.where, told.shots):
        place = f"{where}, {_SHOTS[shots]}"
        for name, texts in told.lines.items():
            variants = _spelt_out(texts)
            if len(variants) != len(levels):
                raise ValueError(f"{name} has {len(variants)} variants, not {len(levels)}")
            alone = len(told.lines) == 1
            title = told.title if alone else f"{told.title}, {place}"
            own = panels.setdefault(title, {})
            for level, template in zip(levels, variants, strict=True):
                if template:
                    found = _of_level(study, told, template, where, shots)
                    own[level, place if alone else name] = found
    for title, pairs in panels.items():
        lines = tuple(dict.fromkeys(line for _, line in pairs))
        yield Summary("curve", title, told.axis, levels, lines, pairs, _against(told.minus))


def _spelt_out(texts: Sequence[str]) -> list[str]:
    """Texts with their braces written out, but for those of the training set."""
    train, mark = "{train}", "\0"
    spelt = spelt_out([text.replace(train, mark) for text in texts])
    return [text.replace(mark, train) for text in spelt]


def _of_level(
    study: Study, told: CurveTable, template: str, where: Where, shots: ShotsOf
) -> tuple[Pair, ...]:
    """The differences of one level, over all training sets."""
    if template == BASE.name:
        raise ValueError("the base is no line: lines are of fine-tunes, held against `minus`")
    found = tuple(
        pair
        for train in told.train
        for pair in _pairs(study, told.minus, template, train)
        if _shots_of(pair) == shots
        and where_of(study, pair.left.points[0].variant, pair.left.dataset) == where
    )
    if not found:
        raise ValueError(f"no cell of {template} is {where} at {_SHOTS[shots]}")
    return found


def matrices(study: Study, told: MatrixTable) -> Iterator[Summary]:
    """The matrices of a table, one for each kind of prompts; raises ValueError without cells."""
    several = len({panel.prompt for panel in study.panels}) > 1
    for shots in told.shots:
        pairs: dict[tuple[str, str], tuple[Pair, ...]] = {}
        for name, variant in told.models.items():
            own = [p for p in _pairs(study, told.minus, variant) if _shots_of(p) == shots]
            if not own:
                raise ValueError(f"{name}: no cell of {variant}")
            for pair in own:
                printed = study.datasets[pair.left.dataset].printed
                row = f"{printed}, {pair.left.prompt}" if several else printed
                pairs[row, name] = (*pairs.get((row, name), ()), pair)
        rows = tuple(dict.fromkeys(row for row, _ in pairs))
        title, models = f"{told.title}, {_SHOTS[shots]}", tuple(told.models)
        yield Summary("matrix", title, "test set", rows, models, pairs, _against(told.minus))


def where_of(study: Study, variant: Variant, dataset: str) -> Where:
    """Where a test set stands towards the training set of a fine-tune."""
    training, tested = study.training[variant.train], study.datasets[dataset]
    if tested.task != training.task:
        return "other tasks"
    home = dataset == training.dataset or tested.role is Role.IN_DOMAIN
    return "in domain" if home else "out of domain"


def _against(minus: str) -> str:
    return "the base" if minus == "base" else minus.removeprefix("{train}-")


def _shots_of(pair: Pair) -> ShotsOf:
    return "0" if pair.left.shots == 0 else "few"


def _pairs(study: Study, minus: str, variant: str, train: str = "") -> Iterable[Pair]:
    """A variant's cells, each with that of another on the same rows with the same prompt."""
    own = _points(study, variant.replace("{train}", train))
    other = _points(study, minus.replace("{train}", train))
    return [Pair(_term(own[place]), _term(other[place])) for place in own if place in other]


def _points(study: Study, variant: str) -> dict[tuple[str, str, str], Point]:
    return {
        (point.dataset, point.prompt, cell.demonstrations.name): point
        for point in study.points()
        for cell in point.cells
        if point.variant.name == variant
    }


def _term(point: Point) -> Term:
    return Term(point.dataset, point.variant.name, point.shots, "each", (point,))
