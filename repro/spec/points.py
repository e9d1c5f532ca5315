"""Figures, panels and plotted points: which cells stand behind every number that is shown."""

from dataclasses import dataclass

from repro.spec.cells import Cell, Variant

BEST = "best"


@dataclass(frozen=True)
class Figure:
    """A figure: panels that belong together."""

    name: str
    title: str
    columns: int


@dataclass(frozen=True)
class Panel:
    """A panel of a figure, one data set with one prompt format.

    Attributes:
        title: what stands above it, without its letter.
        train: the training set of bar panels; empty in line panels.
    """

    figure: str
    letter: str
    dataset: str
    prompt: str
    title: str
    metric: str
    train: str = ""


@dataclass(frozen=True)
class Point:
    """A plotted point: one cell, or the best of a group of cells (FT and FC bars).

    Attributes:
        shots: the shot count of its cell, or "best".
        cells: one cell, or the candidates among which the best is shown.
    """

    figure: str
    panel: str
    series: str
    variant: Variant
    dataset: str
    prompt: str
    shots: int | str
    cells: tuple[Cell, ...]
