"""The published numbers: read from `expected_results/paper`, checked, and matched to points."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import file_sha256
from repro.printable import counted
from repro.resources import expected_results
from repro.results.schema import Checked
from repro.spec.points import Point
from repro.studies.paper.figures import FIGURES, points
from repro.studies.paper.tasks import DATASETS
from repro.tables import checked

SUMS = "SHA256SUMS"
PointKey = tuple[str, str, str, int | str]
"""Figure, panel, series, shots: names one plotted point."""

_CHECKS = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Published:
    """A plotted number as read off its figure.

    Attributes:
        value: accuracy or ROUGE-L F1, between 0 and 1.
        error: bound on the reading error.
        exact: an accuracy snapped to a multiple of 1/n, so that no reading error is left.
        occluded: the marker is mostly covered by others.
        n: test rows behind it.
    """

    __pydantic_config__ = _CHECKS

    figure: str
    panel: str
    series: str
    shots: int | str
    metric: str
    value: Annotated[float, Field(ge=0, le=1)]
    error: Annotated[float, Field(ge=0, le=0.01)]
    exact: bool
    occluded: bool
    n: int
    note: str = ""

    @property
    def key(self) -> PointKey:
        return self.figure, self.panel, self.series, self.shots

    @property
    def reading_variance(self) -> float:
        """Variance of a uniform error within the bound; 0 for exact values."""
        return 0.0 if self.exact else self.error**2 / 3


@dataclass(frozen=True)
class Stated:
    """A number that the paper's text states.

    Attributes:
        quantity: "accuracy" or "weight change".
        rounding: half a unit of its last digit.
        point: the plotted point it should equal; None for other quantities.
        train, method: of the fine-tune; empty when `point` is given.
    """

    __pydantic_config__ = _CHECKS

    id: str
    quantity: str
    value: PositiveFloat
    rounding: NonNegativeFloat
    source: str
    point: PointKey | None = None
    train: str = ""
    method: str = ""


class _Figure(Checked):
    """A file of plotted points."""

    format: Literal[1]
    figure: str
    n: PositiveInt
    points: list[dict[str, Any]]


class _Text(Checked):
    """The file of what the text states."""

    format: Literal[1]
    numbers: list[dict[str, Any]]


@dataclass(frozen=True)
class Paper:
    """All published numbers."""

    plotted: Mapping[PointKey, Published]
    stated: tuple[Stated, ...]

    def of(self, point: Point) -> Published:
        return self.plotted[point_key(point)]

    @cached_property
    def text_conflicts(self) -> tuple[tuple[Stated, Published, PointKey | None], ...]:
        """Stated numbers that differ from their point, with the neighbour they do equal."""
        found = []
        for number in self.stated:
            if number.point is None:
                continue
            shown = self.plotted[number.point]
            if abs(shown.value - number.value) <= number.rounding + shown.error:
                continue
            figure, panel, _, shots = number.point
            same = [
                key
                for key, other in self.plotted.items()
                if (key[0], key[1], key[3]) == (figure, panel, shots)
                and abs(other.value - number.value) <= number.rounding
            ]
            found.append((number, shown, same[0] if same else None))
        return tuple(found)


def point_key(point: Point) -> PointKey:
    """The key under which a point's published number is stored."""
    return (point.figure, point.panel, point.series, point.shots)


def default_folder() -> Path:
    """`expected_results` of this copy of the kit."""
    return expected_results()


def _fail(path: Path, what: str) -> ReproError:
    return ReproError(
        f"{path}: {what}",
        hint=f"restore the file from the repository: git checkout -- {path}",
        exit_code=EXIT_FAILED,
    )


def check_sums(folder: Path, wanted: set[str]) -> None:
    """Check the files of a folder against its SHA256SUMS.

    Raises:
        ReproError: the folder or a file is missing (3), or a file was changed (1).
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise ReproError(
            f"{folder}: no {SUMS}, so this is not a folder of expected results",
            hint="name one of the folders in the repository's expected_results/, or fetch these",
            exit_code=EXIT_MISSING,
        )
    listed: dict[str, str] = {}
    for number, line in enumerate(sums.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or "/" in name:
            raise _fail(sums, f"line {number}: expected '<sha256>  <file name>'")
        listed[name] = digest
    for name in sorted(wanted | set(listed)):
        path = folder / name
        if name not in listed:
            raise _fail(sums, f"{name} is not listed")
        if not path.is_file():
            raise ReproError(
                f"{path}: missing", hint="fetch the folder again", exit_code=EXIT_MISSING
            )
        if file_sha256(path) != listed[name]:
            raise _fail(path, f"its hash is not the one in {SUMS}: it was changed")


def _checked(kind: Any, path: Path, table: Any, where: str = "") -> Any:
    """A table of a file as a value of a type; ReproError (1) with file and field if it is none."""
    hint = _fail(path, "").hint
    return checked(kind, table, f"{path}{where}", hint=hint, exit_code=EXIT_FAILED)


def _table(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _fail(path, f"not JSON: {error}") from None


def _read_figure(path: Path, figure: str) -> dict[PointKey, Published]:
    table = _checked(_Figure, path, _table(path))
    if table.figure != figure:
        raise _fail(path, f"field 'figure' must be \"{figure}\"")
    wanted = {point_key(point): point for point in points((figure,))}
    found: dict[PointKey, Published] = {}
    for index, raw in enumerate(table.points):
        where = f"points[{index}]"
        item = _checked(Published, path, raw | {"figure": figure, "n": table.n}, f": {where}")
        if item.key not in wanted:
            raise _fail(path, f"{where}: the paper has no such point: {item.key}")
        if item.key in found:
            raise _fail(path, f"{where}: the same point a second time: {item.key}")
        if item.metric != DATASETS[wanted[item.key].dataset].task.metric:
            raise _fail(path, f"{where}: field 'metric' is {item.metric}")
        if item.exact and abs(item.value * item.n - round(item.value * item.n)) > 1e-6:
            raise _fail(path, f"{where}: field 'value' is exact, yet no multiple of 1/{item.n}")
        found[item.key] = item
    if missing := set(wanted) - set(found):
        raise _fail(
            path, f"field 'points' lacks {counted(len(missing), 'point')}, such as {min(missing)}"
        )
    return found


def _read_text(path: Path, plotted: Mapping[PointKey, Published]) -> tuple[Stated, ...]:
    found = []
    for index, raw in enumerate(_checked(_Text, path, _table(path)).numbers):
        where = f"numbers[{index}]"
        item = _checked(Stated, path, raw, f": {where}")
        if item.point is not None and item.point not in plotted:
            raise _fail(path, f"{where}: field 'point' names no plotted point")
        if item.point is None and not (item.train and item.method):
            raise _fail(path, f"{where}: needs 'point', or 'train' and 'method'")
        found.append(item)
    return tuple(found)


def load_paper(folder: Path | None = None) -> Paper:
    """The published numbers.

    Args:
        folder: holds figure1.json to figure7.json, text.json and SHA256SUMS; the repository's
            own by default.

    Raises:
        ReproError: a file is missing (3), or malformed or changed, with file and field (1).
    """
    folder = folder or default_folder() / "paper"
    check_sums(folder, {*(f"figure{figure}.json" for figure in FIGURES), "text.json"})
    plotted: dict[PointKey, Published] = {}
    for figure in FIGURES:
        plotted |= _read_figure(folder / f"figure{figure}.json", figure)
    return Paper(plotted, _read_text(folder / "text.json", plotted))
