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
    """A panel of a figure, one data set with one prompt format."""

    figure: str
    letter: str
    dataset: str
    prompt: str
    title: str  # what stands above it, without its letter
    metric: str
    train: str = ""  # the training set of bar panels; empty in line panels


@dataclass(frozen=True)
class Point:
    """A plotted point: one cell, or the best of a group of cells (FT and FC bars)."""

    figure: str
    panel: str
    series: str
    variant: Variant
    dataset: str
    prompt: str
    shots: int | str  # of its cell, or "best"
    cells: tuple[Cell, ...]  # one, or the candidates among which the best is shown
