"""Which cells a command asks for: figures, claims, variants, test sets, single cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from repro.errors import ReproError, unknown
from repro.spec.cells import Cell
from repro.spec.study import Grid, Study


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a user asked for; empty means everything of the grid.

    Attributes:
        grid: "figures" (574 cells), "every-shot" (616: bars over all shot counts) or "full"
            (3,744: the cross product).
        figures, claims: cells of these figures and of these claims, together.
        variants, tests: then only cells of these.
        cells: exactly these cells, whatever the rest says.
    """

    grid: Grid = "figures"
    figures: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


def split_names(text: str | None) -> tuple[str, ...]:
    """The names of a comma-separated option; none where it is not given.

    Raises:
        ReproError: it is given and names nothing, as by a shell variable that is not set (2).
    """
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise ReproError(
            f"an option that takes a list of names got none: '{text}'",
            hint="leave the option out to take all",
        )
    return names


def claim_names(text: str | None) -> tuple[str, ...]:
    """The same for ids of claims and findings, which are upper case whatever is typed."""
    return tuple(name.upper() for name in split_names(text))


def _known(what: str, names: Sequence[str], valid: Sequence[str]) -> None:
    for name in names:
        if name not in valid:
            raise unknown(what, name, valid)


def select(selection: Selection, study: Study) -> tuple[Cell, ...]:
    """The distinct cells asked for, in the study's order.

    Raises:
        ReproError: a name does not exist (with the nearest ones), or nothing is left (2).
    """
    every_shot = selection.grid == "every-shot"
    known = [variant.name for variant in study.variants]
    _known("figure", selection.figures, list(study.figures))
    _known("claim", selection.claims, list(study.claims))
    _known("dataset", selection.tests, list(study.datasets))
    if selection.cells:
        return tuple(
            dict.fromkeys(cell for name in selection.cells for cell in _cells(name, study))
        )
    _known("variant", selection.variants, known)
    if selection.figures or selection.claims:
        chosen = list(study.cells(selection.figures, every_shot=every_shot))
        for name in selection.claims:
            chosen += study.claim_cells(study.claims[name], every_shot=every_shot)
    elif selection.grid == "full":
        chosen = list(study.everything)
    else:
        chosen = list(study.cells(every_shot=every_shot))
    kept = [
        cell
        for cell in dict.fromkeys(chosen)
        if (not selection.variants or cell.variant.name in selection.variants)
        and (not selection.tests or cell.dataset in selection.tests)
    ]
    if not kept:
        raise ReproError(
            "no cell is left by this selection",
            hint="the options --figures, --claims, --variants and --tests narrow each other; "
            "drop one, or use --grid full",
        )
    return tuple(kept)


def _cells(name: str, study: Study) -> list[Cell]:
    """The cells of a name, which may be a pattern over the study's, or one beyond them."""
    if any(sign in name for sign in "*?["):
        found = [cell for cell in study.everything if fnmatchcase(cell.name, name)]
        if not found:
            raise ReproError(f"no cell is like '{name}'", hint="for example base.*.*.0")
        return found
    try:
        cell = Cell.parse(name)
        study.evaluation(cell)
    except ValueError as error:
        wrong = unknown("cell", name, [cell.name for cell in study.everything])
        raise ReproError(f"{wrong}: {error}", hint=wrong.hint) from None
    return [cell]
