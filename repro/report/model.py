"""The data model behind every report: whatever its face, it shows these objects and no others."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from repro.metrics.bestof import Rule, best_of
from repro.printable import counted
from repro.report.summaries import SummaryReport, narrowed
from repro.results.runs import CellResult, Run
from repro.results.spent import Rates, spent_by
from repro.spec.cells import BASE, Cell
from repro.spec.points import BEST, Panel, Point
from repro.spec.study import Study
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.findings import paper_verdicts
from repro.verify.measured import Measured
from repro.verify.published import Published, load_paper
from repro.verify.reading import read_results
from repro.verify.runscores import run_source
from repro.verify.statistics import ALPHA, Interval, satterthwaite, t_quantile
from repro.verify.summaries import summarised
from repro.verify.verdicts import Level, NumberVerdict, Verdict, worst
from repro.verify.verification import RunVerification, Verification, build

FOLLOWS = {
    Answer.HOLDS: "follows",
    Answer.AGREES: "agrees; one seed, n = 250 cannot show it",
    Answer.CANNOT_TELL: "does not follow",
    Answer.PARTLY: "follows in part, contradicted in part",
    Answer.FAILS: "contradicted",
    Answer.NOT_RUN: "no numbers",
}
"""What a verdict on the paper's own numbers says about the finding."""


@dataclass(frozen=True, kw_only=True)
class Plotted:
    """A plotted point: the paper's value and ours.

    Attributes:
        published: the paper's value, its reading error, whether its mark is hidden by others; None
            in studies whose numbers nobody published.
        ours: mean over seeds; None where it was not run, like `interval`.
        interval: 95 % of `ours`, over rows and, with two seeds or more, over seeds.
        seeds: of ours; empty for the base model, which has none.
        n: test rows behind ours.
        numbers: verdicts on its cells against the reference, or on the point against the paper.
        chosen: for bars, the shot counts that were best, over all seeds; none without
            samples.
        optimism: how much too high ours may read because it is the best of several cells.
    """

    point: Point
    published: Published | None = None
    ours: float | None = None
    interval: Interval | None = None
    seeds: tuple[int, ...] = ()
    n: int = 0
    numbers: tuple[NumberVerdict, ...] = ()
    chosen: tuple[int, ...] = ()
    optimism: float = 0.0

    @property
    def series(self) -> str:
        """Its series: the base by its role, whatever the paper's legends call it.

        They say "0" (training samples) or "llama2"; bars of the base keep their names.
        """
        line = self.point.variant == BASE and not self.point.series.startswith("B")
        return "base" if line else self.point.series

    @property
    def chosen_text(self) -> str:
        """The shot counts of a bar: `1 shot, up to 0.021 high`, `0 or 2 shots`."""
        text = " or ".join(map(str, self.chosen)) + " shot" + "s" * (self.chosen != (1,))
        return text + (f", up to {self.optimism:.3f} high" if self.optimism else "")

    @property
    def shots_text(self) -> str:
        """`1 shot`, `4 shots`, `best`."""
        shots = self.point.shots
        return str(shots) if isinstance(shots, str) else counted(shots, "shot")

    def rests_on(self, cells: Set[Cell] | None) -> bool:
        """Whether one of these cells is behind it; None stands for all cells."""
        return cells is None or not cells.isdisjoint(self.point.cells)

    @property
    def levels(self) -> list[Level]:
        """The levels at which its cells, or itself, were compared."""
        return sorted({number.level for number in self.numbers if number.level})

    @property
    def verdict(self) -> Verdict | None:
        """The worst of its numbers' verdicts; None where nothing was there to compare with."""
        return worst(number.verdict for number in self.numbers) if self.numbers else None

    @property
    def difference(self) -> float | None:
        """Ours - paper."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper

    @property
    def paper(self) -> float | None:
        """The paper's value."""
        return None if self.published is None else self.published.value


@dataclass(frozen=True, kw_only=True)
class PanelReport:
    """A panel of a figure with its points by series, in the paper's order."""

    panel: Panel
    series: Mapping[str, tuple[Plotted, ...]]

    @property
    def name(self) -> str:
        """Its figure and letter: `1a`."""
        return self.panel.figure + self.panel.letter

    @property
    def title(self) -> str:
        """Its letter, its test set and, for bars, what the models were tuned on."""
        return f"({self.panel.letter}) {self.panel.title}"

    @property
    def against_paper(self) -> bool:
        """Its verdicts are against the paper's values, not against stored runs."""
        return any(number.point for item in self.points for number in item.numbers)

    @property
    def points(self) -> tuple[Plotted, ...]:
        return tuple(point for series in self.series.values() for point in series)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that is reported on one run.

    Attributes:
        verified: verdicts on numbers and claims, what was not run.
        panels: all panels of all figures, whether run or not.
        cells: results by cell and seed, in the order of the figures.
        by_cell: the verdict on each cell against the reference.
        summaries: the study's curves and matrices of which something was run.
    """

    verified: RunVerification
    panels: tuple[PanelReport, ...]
    cells: Mapping[Cell, Mapping[int | None, CellResult]]
    by_cell: Mapping[Cell, NumberVerdict]
    summaries: tuple[SummaryReport, ...] = ()

    @property
    def name(self) -> str:
        return self.verified.run.name

    @property
    def points(self) -> tuple[Plotted, ...]:
        return tuple(point for panel in self.panels for point in panel.points)

    def of_figure(self, figure: str) -> tuple[PanelReport, ...]:
        """The panels of one figure."""
        return tuple(item for item in self.panels if item.panel.figure == figure)

    def level_of(self, claim: ClaimVerdict) -> Level | None:
        """The weakest level at which the claim's cells were compared; None if none was."""
        run = self.verified.run
        cells = set(run.study.claim_cells(claim.claim, every_shot=run.every_shot))
        numbers = [self.by_cell[cell] for cell in cells if cell in self.by_cell]
        numbers = numbers or [n for n in self.verified.points if n.cell in cells]
        return max((number.level for number in numbers if number.level), default=None)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        paper: each claim on the paper's own numbers.
    """

    verification: Verification
    runs: tuple[RunReport, ...]
    paper: tuple[ClaimVerdict, ...]


def report(
    results: Path,
    *,
    expected: Path | None = None,
    level: Level | None = None,
    asked: Sequence[str] | None = None,
    study: Study | None = None,
    rates: Rates | None = None,
    stage: Callable[[str], None] = lambda name: None,
) -> Report:
    """Verify a results folder and gather all that reports show.

    Args:
        results, expected, level, asked: as of `repro.verify.verification.build`.
        study: instead of the one that the folder tells of.
        rates: what an hour of a device costs, where somebody said.
        stage: called with the name of each of three stages as it begins.

    Raises:
        ReproError: something cannot be read, contradicts itself, or does not exist.
    """
    stage("reading results")
    found = read_results(results, study)
    stage("verifying")
    built = build(found, expected=expected, level=level, asked=asked)
    told = (replace(one, spent=spent_by(one.run, rates or Rates())) for one in built.runs)
    verification = replace(built, runs=tuple(told))
    stage("gathering figures")
    return Report(
        verification=verification,
        runs=tuple(map(run_report, verification.runs)),
        paper=paper_verdicts() if any(run.study.published for run in found.runs) else (),
    )


def run_report(verified: RunVerification) -> RunReport:
    """Points, panels and cells of one verified run."""
    run = verified.run
    study, source = run.study, run_source(run)
    paper = load_paper() if study.published else None
    by_cell = {number.cell: number for number in verified.numbers}
    by_point = {number.point: number for number in verified.points}

    def plotted(point: Point) -> Plotted:
        own = by_point.get(point)
        numbers = [own] if own else [by_cell[cell] for cell in point.cells if cell in by_cell]
        known, measured = paper.of(point) if paper else None, source(point)
        if measured is None:
            return Plotted(point=point, published=known, numbers=tuple(numbers))
        return Plotted(
            point=point,
            published=known,
            ours=float(measured.values.mean()),
            interval=interval_of(measured),
            seeds=measured.seeds,
            n=measured.n,
            numbers=tuple(numbers),
            chosen=_chosen(run, point, measured.seeds or (None,)) if point.shots == BEST else (),
            optimism=measured.optimism,
        )

    every = [plotted(point) for point in study.points(every_shot=run.every_shot)]
    by_panel: dict[tuple[str, str], dict[str, tuple[Plotted, ...]]] = {}
    for item in every:
        series = by_panel.setdefault((item.point.figure, item.point.panel), {})
        series[item.point.series] = (*series.get(item.point.series, ()), item)
    order = dict.fromkeys(cell for item in every for cell in item.point.cells)
    return RunReport(
        verified=verified,
        panels=tuple(
            PanelReport(panel=panel, series=by_panel.get((panel.figure, panel.letter), {}))
            for panel in study.panels
        ),
        cells={cell: found for cell in order if (found := run.of(cell))},
        by_cell=by_cell,
        summaries=tuple(
            narrowed(summary, values)
            for summary in study.summaries
            if (values := summarised(summary, source))
        ),
    )


def _chosen(run: Run, point: Point, seeds: Sequence[int | None]) -> tuple[int, ...]:
    """The shot counts behind a bar, by the protocol's own rule."""
    found: set[int] = set()
    for seed in seeds:
        samples = {}
        for cell in point.cells:
            outcomes = run.cells[cell, seed].outcomes
            if outcomes is None:
                return ()
            pairs = zip(outcomes.rows.tolist(), outcomes.scores.tolist(), strict=True)
            samples[cell.shots] = [{"row": row, "score": score} for row, score in pairs]
        if len({tuple(s["row"] for s in rows) for rows in samples.values()}) > 1:
            return ()
        found |= set(best_of(samples, cast(Rule, run.best_of)).chosen)
    return tuple(sorted(found))


def interval_of(measured: Measured) -> Interval:
    """95 % interval of the mean over seeds: sampling of rows, and spread of seeds if known."""
    k = len(measured.values)
    mean = float(measured.values.mean())
    parts = [(float(np.var(measured.draws.mean(axis=0))), measured.n - 1.0)]
    if k > 1:
        parts.append((float(np.var(measured.values, ddof=1)) / k, k - 1.0))
    se, df = satterthwaite(parts)
    half = t_quantile(1 - ALPHA / 2, df) * se if se else 0.0
    return Interval(max(0.0, mean - half), min(1.0, mean + half))
