"""Which cells a command asks for: figures, claims, variants, test sets, single cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from repro.errors import ReproError, unknown
from repro.paper import figures
from repro.paper.cells import VARIANTS, Cell, all_cells
from repro.paper.claims import claims
from repro.paper.tasks import DATASETS

Grid = Literal["figures", "every-shot", "full"]


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
    """The names of a comma-separated option."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def claim_names(text: str | None) -> tuple[str, ...]:
    """The same for ids of claims and findings, which are upper case whatever is typed."""
    return tuple(name.upper() for name in split_names(text))


def _known(what: str, names: Sequence[str], valid: Sequence[str]) -> None:
    for name in names:
        if name not in valid:
            raise unknown(what, name, valid)


def select(selection: Selection) -> tuple[Cell, ...]:
    """The distinct cells asked for, in the paper's order.

    Raises:
        ReproError: a name does not exist (with the nearest ones), or nothing is left (2).
    """
    every_shot = selection.grid == "every-shot"
    _known("figure", selection.figures, figures.FIGURES)
    _known("claim", selection.claims, list(claims()))
    _known("variant", selection.variants, list(VARIANTS))
    _known("dataset", selection.tests, list(DATASETS))
    if selection.cells:
        by_name = {cell.name: cell for cell in all_cells()}
        _known("cell", selection.cells, list(by_name))
        return tuple(dict.fromkeys(by_name[name] for name in selection.cells))
    if selection.figures or selection.claims:
        chosen = list(figures.cells(selection.figures, every_shot=every_shot))
        for name in selection.claims:
            chosen += claims()[name].cells(every_shot=every_shot)
    elif selection.grid == "full":
        chosen = list(all_cells())
    else:
        chosen = list(figures.cells(every_shot=every_shot))
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
