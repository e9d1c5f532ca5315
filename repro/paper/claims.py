"""The paper's findings C1 to C16 as data, and the cells each rests on."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from repro.paper.cells import Cell
from repro.paper.figures import points


@dataclass(frozen=True)
class Claim:
    """A finding of the paper.

    Attributes:
        finding: the sentence in our words.
        source: where the paper states it.
        panels: the panels it rests on, such as "1a".
    """

    id: str
    finding: str
    source: str
    panels: tuple[str, ...]

    def cells(self, *, every_shot: bool = False) -> tuple[Cell, ...]:
        """The distinct cells of its panels."""
        wanted = points({panel[0] for panel in self.panels}, every_shot=every_shot)
        needed = (
            cell
            for point in wanted
            if point.figure + point.panel in self.panels
            for cell in point.cells
        )
        return tuple(dict.fromkeys(needed))


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    text = files("repro.paper").joinpath("claims.toml").read_text(encoding="utf-8")
    return {
        name: Claim(name, table["finding"], table["source"], tuple(table["panels"]))
        for name, table in tomllib.loads(text).items()
    }
