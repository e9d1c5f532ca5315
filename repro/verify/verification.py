"""A whole verification as data: what every report shows, and the exit code that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.errors import EXIT_FAILED, EXIT_MISSING, unknown
from repro.paper.cells import BASE, Cell
from repro.paper.claims import claims
from repro.paper.figures import points
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.contrasts import Evidence
from repro.verify.findings import judge_claims, published_verdicts
from repro.verify.levels import hold_against
from repro.verify.margins import margins
from repro.verify.paperfigures import FigureVerdict, figures_against_paper
from repro.verify.paperlevel import against_paper
from repro.verify.published import default_folder, load_paper
from repro.verify.reference import Reference, find_reference
from repro.verify.results import AUTHORS_SCRIPTS, Results, Run, read_results
from repro.verify.runscores import emits_label, is_paired, run_facts, run_source
from repro.verify.seedspread import SeedSpread, spread_of
from repro.verify.statistics import ALPHA, DRAWS, binomial_tail
from repro.verify.verdicts import Level, NumberVerdict, Verdict


@dataclass(frozen=True, kw_only=True)
class RunVerification:
    """One run's verdicts. The two questions stay apart: `numbers` and `claims`.

    Attributes:
        reference: what `numbers` were held against; None if there is none for this kind of run.
        numbers: a cell each, against the reference.
        points: a plotted point each, against the paper; empty unless the run's model and data
            are the paper's, or L3 was asked for.
        figures: mean differences to the paper over whole figures, with `points`.
        claims: do the paper's findings hold in this run.
        claims_count: whether they enter the exit code: only on the paper's own model and data are
            they evidence on the paper.
        not_run: asked-for cells that are missing, or lack a seed.
    """

    run: Run
    reference: Reference | None
    numbers: tuple[NumberVerdict, ...]
    points: tuple[NumberVerdict, ...]
    figures: tuple[FigureVerdict, ...] = ()
    claims: tuple[ClaimVerdict, ...]
    claims_count: bool
    not_run: tuple[Cell, ...] = ()

    @property
    def judged(self) -> tuple[NumberVerdict, ...]:
        return (*self.numbers, *self.points)

    @property
    def outside(self) -> tuple[int, float, float]:
        """Cells outside their interval, how many chance would put there, and its p for as many.

        Cells share rows and models, so that chance clusters more than this p supposes.
        """
        tested = [number for number in self.judged if number.p is not None]
        count = sum(number.outside for number in tested)
        return count, ALPHA * len(tested), binomial_tail(count, len(tested), ALPHA)

    @property
    def unstored(self) -> int:
        """Cells of the run that the reference lacks; nothing is said about them."""
        if self.reference is None:
            return 0
        stored = {cell for cell, _ in self.reference.run.cells}
        return len({cell for cell, _ in self.run.cells} - stored)

    @property
    def exit_code(self) -> int:
        """0 all at least CONSISTENT, 1 something is not, 3 something asked for is missing.

        A failure outweighs what is missing, which outweighs what is inconclusive. Against the
        paper, for points and claims alike, only what is shown to be otherwise is a failure: see
        `ClaimVerdict.contradicts`.
        """
        verdicts = [number.verdict for number in self.judged]
        verdicts += [figure.verdict for figure in self.figures]
        claims = self.claims if self.claims_count else ()
        if Verdict.NOT_REPRODUCED in verdicts or any(claim.contradicts for claim in claims):
            return EXIT_FAILED
        # The authors' scripts record no facts of fine-tunes: what needs them cannot be asked.
        unknown_facts = self.run.record.get("origin") == AUTHORS_SCRIPTS
        silent = not unknown_facts and any(claim.verdict is Answer.NOT_RUN for claim in claims)
        if self.not_run or silent or not (verdicts or claims) or Verdict.NOT_RUN in verdicts:
            return EXIT_MISSING
        return 0 if all(number.verdict.passes for number in self.numbers) else EXIT_FAILED


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Verdicts on all runs of a results folder."""

    runs: tuple[RunVerification, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        codes = {run.exit_code for run in self.runs}
        return next((code for code in (EXIT_FAILED, EXIT_MISSING) if code in codes), 0)

    @property
    def survival(self) -> tuple[tuple[str, tuple[tuple[str, Answer], ...]], ...]:
        """Claims under every protocol, for profiles run under several: do they survive?"""
        if len({run.run.protocol for run in self.runs}) < 2:
            return ()
        rows: dict[str, list[tuple[str, Answer]]] = {}
        for run in self.runs:
            for claim in run.claims:
                rows.setdefault(claim.claim.id, []).append((run.run.name, claim.verdict))
        return tuple((name, tuple(row)) for name, row in rows.items())


def build(
    results: Path | Results,
    *,
    expected: Path | None = None,
    level: Level | None = None,
    asked: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> Verification:
    """Verify a results folder.

    Args:
        expected: a reference folder, or a folder of them; the repository's own by default.
        level: compare at this level only; L3 is against the paper, whatever the model.
        asked: claims asked for, which narrows the numbers to their cells; all by default.
        draws: of the bootstrap over rows; fewer are for simulations.

    Raises:
        ReproError: something cannot be read, contradicts itself, or does not exist.
    """
    for name in asked or ():
        if name not in claims():
            raise unknown("claim", name, list(claims()))
    found = read_results(results) if isinstance(results, Path) else results
    root = expected or default_folder()
    verified, warnings = [], list(found.warnings)
    for run in found.runs:
        reference = None if level is Level.L3 else find_reference(root, run)
        if reference is None and level is not Level.L3:
            warnings.append(f"nothing is stored in {root} for {run.name}")
        verified.append(_verify_run(run, reference, level, asked, draws))
    return Verification(runs=tuple(verified), warnings=tuple(warnings))


def _verify_run(
    run: Run,
    reference: Reference | None,
    level: Level | None,
    asked: Sequence[str] | None,
    draws: int,
) -> RunVerification:
    every_shot = run.best_of != "smallest"
    wanted: list[Cell] | None = None
    if asked is not None:
        needed = (c for name in asked for c in claims()[name].cells(every_shot=every_shot))
        wanted = list(dict.fromkeys(needed))
    numbers: tuple[NumberVerdict, ...] = ()
    if reference is not None:
        cells = list(dict.fromkeys(cell for cell, _ in reference.run.cells))
        if wanted is not None:
            cells = [cell for cell in cells if cell in set(wanted)]
        numbers = hold_against(
            run, reference.run, wanted=cells, level=level, recorded=reference.recorded
        )
    spread = spread_of(reference.run if reference else None)
    told = evidence(run, spread, draws)
    comparable = run.profile in margins().comparable
    plotted: tuple[NumberVerdict, ...] = ()
    figures: tuple[FigureVerdict, ...] = ()
    if level is Level.L3 or (comparable and level is None):
        paper = load_paper()
        chosen = [
            point
            for point in points(every_shot=every_shot)
            if wanted is None or any(cell in wanted for cell in point.cells)
        ]
        published = {point: paper.of(point) for point in chosen}
        plotted = against_paper(run, chosen, published, told.scores, spread=spread)
        figures = figures_against_paper(published, told.scores)
    ids = list(claims()) if asked is None else list(asked)
    lacking = [number.cell for number in (*numbers, *plotted) if number.verdict is Verdict.NOT_RUN]
    lacking += [cell for cell in wanted or () if not run.of(cell)]
    return RunVerification(
        run=run,
        reference=reference,
        numbers=numbers,
        points=plotted,
        figures=figures,
        claims=judge_claims(
            ids,
            told,
            every_shot=every_shot,
            published=published_verdicts(),
            paired=is_paired(run),
        ),
        claims_count=comparable,
        not_run=tuple(dict.fromkeys(lacking)),
    )


def evidence(run: Run, spread: SeedSpread | None = None, draws: int = DRAWS) -> Evidence:
    """What a run has to say on claims."""
    paired = is_paired(run)
    return Evidence(
        run_source(run, spread=spread, draws=draws),
        run_source(run, spread=spread, of=emits_label, draws=draws) if paired else None,
        run_facts(run),
        spread,
    )


def command_for(run: Run, cells: Sequence[Cell]) -> str:
    """The command that runs missing cells."""
    variants = dict.fromkeys(cell.variant.name for cell in cells if cell.variant != BASE)
    tests = dict.fromkeys(cell.dataset for cell in cells)
    command = f"repro run --profile {run.profile} --protocol {run.protocol}"
    if len(variants) <= 3 and variants:
        command += f" --variants {','.join(variants)}"
    if len(tests) <= 3:
        command += f" --tests {','.join(tests)}"
    return command
