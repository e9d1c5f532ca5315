"""A whole verification as data: what every report shows, and the exit code that follows."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.errors import EXIT_FAILED, EXIT_MISSING, unknown
from repro.printable import counted
from repro.results.runs import Results, Run, is_imported
from repro.results.spent import Spent
from repro.spec.cells import BASE, Cell
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.contrasts import Evidence
from repro.verify.findings import judge_claims
from repro.verify.fingerprint import FactCheck, check_facts
from repro.verify.levels import compare_runs
from repro.verify.margins import is_papers
from repro.verify.paperlevel import FigureVerdict, against_paper, figures_against_paper
from repro.verify.published import default_folder, load_paper
from repro.verify.reading import read_results
from repro.verify.reference import Reference, find_reference
from repro.verify.rerun import asked_seeds
from repro.verify.retrained import Models
from repro.verify.runscores import emits_label, run_source
from repro.verify.seedspread import SeedSpread, spread_of
from repro.verify.statistics import DRAWS
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict


@dataclass(frozen=True, kw_only=True)
class RunVerification:
    """One run's verdicts. The two questions stay apart: `numbers` and `claims`.

    Attributes:
        reference: what `numbers` were held against; None if there is none for this kind of run.
        facts: what was trained on what and how, against the reference.
        numbers: a cell each, against the reference.
        groups: fine-tunes, figures and the whole run, where cells were retrained.
        points: a plotted point each, against the paper; empty unless the run's model and data
            are the paper's, or L3 was asked for.
        figures: mean differences to the paper over whole figures, with `points`.
        claims: do the paper's findings hold in this run.
        claims_count: whether they enter the exit code: only where the run's model and data are
            the paper's. On another model no claim makes it 1, asked for by name or not.
        untold: claims that count, have no numbers, and rest on cells that were asked for.
        not_run: asked-for cells that are missing, or lack a seed.
        fewer: what the run has less of than it was asked for, in words.
        short: cells with fewer rows than were asked for, with (rows, rows asked for).
        spent: what its steps took, where it tells.
    """

    run: Run
    reference: Reference | None
    numbers: tuple[NumberVerdict, ...] = ()
    points: tuple[NumberVerdict, ...] = ()
    figures: tuple[FigureVerdict, ...] = ()
    claims: tuple[ClaimVerdict, ...] = ()
    claims_count: bool = False
    untold: tuple[ClaimVerdict, ...] = ()
    facts: tuple[FactCheck, ...] = ()
    groups: tuple[GroupVerdict, ...] = ()
    not_run: tuple[Cell, ...] = ()
    fewer: tuple[str, ...] = ()
    short: Mapping[Cell, tuple[int, int]] = field(default_factory=dict)
    spent: Spent | None = None

    @property
    def judged(self) -> tuple[NumberVerdict, ...]:
        return (*self.numbers, *self.points)

    @property
    def unstored(self) -> int:
        """Cells of the run that the reference lacks; nothing is said about them."""
        if self.reference is None:
            return 0
        stored = {cell for cell, _ in self.reference.run.cells}
        return len({cell for cell, _ in self.run.cells} - stored)

    @property
    def exit_code(self) -> int:
        """0 nothing differs and nothing is missing, 1 something differs, 3 something is missing.

        What differs outweighs what is missing. A comparison with a reference that cannot be
        decided counts as missing. Against the paper, for points and claims alike, only what is
        shown to be otherwise is a failure: see `ClaimVerdict.contradicts`.
        """
        verdicts = [fact.verdict for fact in self.facts]
        verdicts += [number.verdict for number in self.judged]
        verdicts += [group.verdict for group in self.groups]
        verdicts += [figure.verdict for figure in self.figures]
        claims = self.claims if self.claims_count else ()
        if Verdict.NOT_REPRODUCED in verdicts or any(claim.contradicts for claim in claims):
            return EXIT_FAILED
        undecided = any(number.verdict is Verdict.INCONCLUSIVE for number in self.numbers)
        missing = self.not_run or self.fewer or self.untold or undecided
        missing = missing or Verdict.NOT_RUN in verdicts
        return EXIT_MISSING if missing or not self.judged else 0


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
        """Claims under every protocol and switch, of profiles run under several."""
        several = Counter(
            profile for profile, _ in {(r.run.profile, r.run.name) for r in self.runs}
        )
        rows: dict[str, list[tuple[str, Answer]]] = {}
        for run in self.runs:
            for claim in run.claims if several[run.run.profile] > 1 else ():
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
        asked: claims asked for, which narrows the numbers to their cells; all claims by default.
            Whether they count for the exit code does not depend on it: see `RunVerification`.
        draws: of the bootstrap over rows; fewer are for simulations.

    Raises:
        ReproError: something cannot be read, contradicts itself, or does not exist.
    """
    found = read_results(results) if isinstance(results, Path) else results
    known = dict.fromkeys(name for run in found.runs for name in run.study.claims)
    for name in asked or ():
        if name not in known:
            raise unknown("claim", name, known)
    root = expected or default_folder()
    verified, warnings = [], list(found.warnings)
    for run in found.runs:
        reference = None if level is Level.L3 else find_reference(root, run)
        if reference is None and level is not Level.L3:
            warnings.append(f"nothing is stored for {run.name} in {root}")
        verified.append(_verify_run(run, reference, level, asked, draws))
    return Verification(runs=tuple(verified), warnings=tuple(warnings))


def verify_numbers(
    run: Run,
    reference: Reference | None,
    *,
    level: Level | None = None,
    wanted: Sequence[Cell] | None = None,
    models: Models | None = None,
) -> RunVerification:
    """A run held against a reference: facts and numbers, without claims.

    Args:
        level: of `compare_runs`.
        wanted: the cells asked for; by default those that the run has, or says it was asked for.
        models: of `compare_runs`.
    """
    asked = run.asked if wanted is None else dict.fromkeys(wanted).keys()
    own = [cell for cell in run.by_cell if asked is None or cell in asked]
    fewer = () if is_imported(run.record) else _fewer(run, own, {})
    verified = RunVerification(run=run, reference=reference, fewer=fewer)
    if reference is not None:
        cells = [cell for cell in reference.run.by_cell if asked is None or cell in asked]
        held = compare_runs(
            run,
            reference.run,
            wanted=cells,
            level=level,
            recorded=reference.recorded,
            groups={f"Figure {name}": run.study.cells((name,)) for name in run.study.figures},
            models=models,
        )
        short = _short(run, reference.run, cells)
        verified = replace(
            verified,
            facts=check_facts(run, reference.run),
            numbers=held.numbers,
            groups=held.groups,
            fewer=_fewer(run, cells, short),
            short=short,
        )
    lacking = [item.cell for item in verified.numbers if item.verdict is Verdict.NOT_RUN]
    lacking += [cell for cell in asked or () if cell not in run.by_cell]
    lacking += [c for c in own if c.variant != BASE and not set(run.seeds) <= set(run.of(c))]
    return replace(verified, not_run=tuple(dict.fromkeys(lacking)))


def _verify_run(
    run: Run,
    reference: Reference | None,
    level: Level | None,
    asked: Sequence[str] | None,
    draws: int,
) -> RunVerification:
    every_shot, study = run.every_shot, run.study
    wanted: list[Cell] | None = None
    if asked is not None:
        asked = [name for name in asked if name in study.claims]
        claimed = (study.claim_cells(study.claims[n], every_shot=every_shot) for n in asked)
        wanted = list(dict.fromkeys(cell for cells in claimed for cell in cells))
    verified = verify_numbers(run, reference, level=level, wanted=wanted)
    spread = spread_of(reference.run if reference else None, study)
    told = evidence(run, spread, draws)
    names = list(study.claims) if asked is None else asked
    comparable = study.published and is_papers(run)
    claims = judge_claims(names, told, every_shot=every_shot)
    # The authors' scripts record no facts of fine-tunes: what needs them cannot be asked.
    counted_on = comparable and not is_imported(run.record)
    verified = replace(
        verified,
        claims=claims,
        claims_count=comparable,
        untold=tuple(
            claim
            for claim in claims
            if counted_on
            and claim.verdict is Answer.NOT_RUN
            and _asked_for(run, wanted, study.claim_cells(claim.claim, every_shot=every_shot))
        ),
    )
    if not study.published or not (level is Level.L3 or (comparable and level is None)):
        return verified
    paper = load_paper()
    published = {
        point: paper.of(point)
        for point in study.points(every_shot=every_shot)
        if _asked_for(run, wanted, point.cells)
        if wanted is None or any(cell in wanted for cell in point.cells)
    }
    points = against_paper(run, list(published), published, told.scores, spread=spread)
    lacking = [number.cell for number in points if number.verdict is Verdict.NOT_RUN]
    return replace(
        verified,
        points=points,
        figures=figures_against_paper(published, told.scores),
        not_run=tuple(dict.fromkeys([*verified.not_run, *lacking])),
    )


def _asked_for(run: Run, wanted: Sequence[Cell] | None, cells: Iterable[Cell]) -> bool:
    """Whether all of these cells were asked for: of `verify`, or of the run where it tells."""
    return wanted is not None or run.asked is None or run.asked >= set(cells)


def evidence(
    run: Run,
    spread: SeedSpread,
    draws: int,
    universe: Callable[[str], NDArray[np.int64]] | None = None,
) -> Evidence:
    """What a run has to say on claims; on those about outputs only with samples of all cells."""
    paired = all(result.outcomes is not None for result in run.cells.values())
    source = partial(run_source, run, spread=spread, draws=draws, universe=universe)
    labels = source(of=emits_label) if paired else None
    return Evidence(run.study, source(), labels, run.facts, spread)


def bars_over_every_shot(run: Run) -> bool:
    """Bars are the best over all shot counts, and the cells that only these need were run."""
    study = run.study
    extra = set(study.cells(every_shot=True)).difference(study.cells())
    return run.every_shot and not extra.isdisjoint(run.by_cell)


def claims_of(run: Run, spread: SeedSpread, draws: int) -> dict[str, ClaimVerdict]:
    """All claims on a run by id, without their power."""
    told = evidence(run, spread, draws)
    every_shot = bars_over_every_shot(run)
    judged = judge_claims(list(run.study.claims), told, every_shot=every_shot, power=False)
    return {verdict.claim.id: verdict for verdict in judged}


def _short(run: Run, reference: Run, cells: Sequence[Cell]) -> dict[Cell, tuple[int, int]]:
    """Cells with fewer rows than they were asked for, with both numbers."""
    short: dict[Cell, tuple[int, int]] = {}
    limit = run.identity.get("test_limit")
    for cell in cells:
        theirs = next(iter(reference.of(cell).values()))
        expected = theirs.n if not isinstance(limit, int) else min(theirs.n, limit)
        for result in run.of(cell).values():
            if result.n < expected:
                short[cell] = (result.n, expected)
    return short


def without_samples(run: Run, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Cells of which the run has only the mean, and no rows."""
    return tuple(c for c in cells if any(r.outcomes is None for r in run.of(c).values()))


def _fewer(
    run: Run, cells: Sequence[Cell], short: Mapping[Cell, tuple[int, int]]
) -> tuple[str, ...]:
    """Rows and seeds that the run lacks, beside those that it was not asked for."""
    found = []
    if short:
        cell, (n, wanted) = next(iter(short.items()))
        found.append(
            f"{counted(len(short), 'cell')} with fewer rows than were asked for, such as "
            f"{cell.name} with {n} of {wanted}"
        )
    if unseen := without_samples(run, cells):
        some = counted(len(unseen), "cell")
        found.append(f"{some} with no samples file, such as {unseen[0].name}")
    if run.seeds and (lost := [seed for seed in asked_seeds(run) if seed not in run.seeds]):
        found.append(f"seeds {', '.join(map(str, lost))} were asked for and are not there")
    return tuple(found)
