"""What `repro verify`, `repro compare` and `repro expected` do; each gives back an exit code."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.verify import tables
from repro.verify.levels import hold_against
from repro.verify.reference import load_reference, record
from repro.verify.results import Run, read_results
from repro.verify.verdicts import Level, Verdict
from repro.verify.verification import build


def verify(
    results: Path,
    expected: Path | None = None,
    level: str | None = None,
    claims: Sequence[str] | None = None,
    console: Console | None = None,
) -> int:
    """Verify a results folder and print the verdicts.

    Args:
        expected: a reference folder, or a folder of them; the repository's by default.
        level: "L0" to "L3", to compare at this level only.
        claims: claims asked for; the numbers are narrowed to their cells.

    Returns:
        0 if all asked-for numbers and claims are at least CONSISTENT, 1 if one is not, 3 if cells
        are missing. Claims count where they are asked for by name or the run is of the paper's
        own model and data; a claim that does not hold for another model is no failure of the run.

    Raises:
        ReproError: something cannot be read, contradicts itself, or does not exist.
    """
    console = console or Console(highlight=False)
    chosen = None if level is None else Level(level)
    verification = build(results, expected=expected, level=chosen, asked=claims)
    for part in tables.parts(verification):
        console.print(part)
    return verification.exit_code


def follow(console: Console | None = None) -> int:
    """Print whether each finding follows from the paper's own figures. Always 0."""
    console = console or Console(highlight=False)
    console.print(tables.paper_table())
    for line in tables.text_conflicts():
        console.print(line)
    return 0


def _one_run(folder: Path) -> Run:
    runs = read_results(folder).runs
    if len(runs) > 1:
        raise ReproError(
            f"{folder} holds {len(runs)} runs: {', '.join(run.name for run in runs)}",
            hint="name the folder of one of them",
        )
    return runs[0]


def compare(a: Path, b: Path, console: Console | None = None) -> int:
    """Hold run B against run A, cell by cell, and print the differences.

    Returns:
        0 if all common cells are at least CONSISTENT, 1 if one is not, 3 if there is none.
    """
    console = console or Console(highlight=False)
    first, second = _one_run(a), _one_run(b)
    cells = [cell for cell in dict.fromkeys(c for c, _ in first.cells) if second.of(cell)]
    differing = tables.differences(first, second)
    if differing is not None:
        console.print(differing)
    for name, one, other in ((a, first, second), (b, second, first)):
        only = len({c for c, _ in one.cells} - {c for c, _ in other.cells})
        if only:
            console.print(f"{only} cells are in {name} only")
    numbers = hold_against(second, first, wanted=cells)
    console.print(tables.numbers_table(numbers, f"\n{b} against {a}"))
    if not numbers:
        return EXIT_MISSING
    judged = [number.verdict for number in numbers]
    if any(not v.passes and v is not Verdict.NOT_RUN for v in judged):
        return EXIT_FAILED
    return EXIT_MISSING if Verdict.NOT_RUN in judged else 0


def record_expected(results: Sequence[Path], out: Path, console: Console | None = None) -> int:
    """Make a reference folder from results folders, and show it. Returns 0."""
    return show_expected(record(results, out), console)


def show_expected(folder: Path, console: Console | None = None) -> int:
    """Print what a reference folder holds. Returns 0."""
    console = console or Console(highlight=False)
    for part in tables.reference_parts(load_reference(folder)):
        console.print(part)
    return 0
