"""The paper's numbers beside ours, a row a figure, as all short faces show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from repro.report.model import Plotted, RunReport
from repro.spec.cells import Cell


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """A figure's points: the paper's values beside ours.

    Attributes:
        paper, ours: means over the points that were run; None where none was.
        largest: the point that is farthest from the paper's.
    """

    figure: str
    points: int
    run: int
    paper: float | None
    ours: float | None
    largest: Plotted | None

    @property
    def difference(self) -> float | None:
        return None if self.ours is None or self.paper is None else self.ours - self.paper

    @property
    def largest_text(self) -> str:
        """The farthest point in words."""
        if self.largest is None or self.largest.difference is None:
            return ""
        point = self.largest.point
        return (
            f"{self.largest.difference:+.3f} at {point.figure}{point.panel} {self.largest.series}, "
            f"{self.largest.shots_text}"
        )


def figure_rows(run: RunReport, cells: Sequence[Cell] | None = None) -> tuple[FigureRow, ...]:
    """A row a figure.

    Args:
        cells: count only points that rest on one of these.
    """
    return tuple(_figure_row(run, figure, cells) for figure in run.verified.run.study.figures)


def _figure_row(run: RunReport, figure: str, cells: Sequence[Cell] | None) -> FigureRow:
    wanted = None if cells is None else set(cells)
    own = [
        point
        for panel in run.of_figure(figure)
        for point in panel.points
        if wanted is None or not wanted.isdisjoint(point.point.cells)
    ]
    known = [point for point in own if point.ours is not None]
    paper = [point.paper for point in known if point.paper is not None]
    return FigureRow(
        figure=figure,
        points=len(own),
        run=len(known),
        paper=fmean(paper) if known and len(paper) == len(known) else None,
        ours=fmean(p.ours for p in known if p.ours is not None) if known else None,
        largest=max(known, key=lambda p: abs(p.difference or 0.0), default=None),
    )
