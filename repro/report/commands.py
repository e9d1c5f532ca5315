"""What `repro verify`, `repro report`, `repro compare` and `repro expected` do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rich.console import Console

from repro.bars import bars
from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.printable import counted
from repro.report import tables, terminal
from repro.report.folder import is_current, write_folder
from repro.report.model import Report
from repro.results.runs import Run
from repro.verify.levels import compare_runs
from repro.verify.reading import read_results
from repro.verify.reference import Reference, load_reference, record
from repro.verify.verdicts import Verdict


@contextmanager
def stages(console: Console, total: int = 3) -> Iterator[Callable[[str], None]]:
    """A bar that vanishes, to be called with the name of each stage of a command as it begins.

    Args:
        total: of stages; `repro.report.model.report` has three.
    """
    with bars(console) as progress:
        bar, done = progress.add_task("", total=total), count()
        yield lambda name: progress.update(bar, description=name, completed=next(done))


def conclude(
    found: Report,
    console: Console,
    claims: Sequence[str] | None = None,
    *,
    full: bool = False,
    out: Path | None = None,
) -> int:
    """Print the verdicts.

    Args:
        claims, full: as of `terminal.show`.
        out: where the report is written too, unless it is there already.

    Returns:
        0 if nothing differs and nothing is missing, 1 if something differs, 3 if something is
        missing, such as cells, or a reference. Claims count where the run is of the paper's own
        model and data; one that does not hold for another model is no failure of the run.
    """
    terminal.show(console, found, claims, full=full)
    if out is not None and is_current(found, out):
        console.print(f"{out}: as it was")
    elif out is not None:
        write_report(found, out, console)
    return found.verification.exit_code


def write_report(found: Report, out: Path, console: Console) -> None:
    """Write a report folder and print what is in it."""
    with console.status("writing the report"):
        files = write_folder(found, out)
    names = [path.name for path in files if path.parent == out]
    drawn = counted(len(files) - len(names), "file")
    console.print(f"{out}: {', '.join(names)}, {drawn} of figures")


def _one_run(folder: Path) -> Run:
    runs = read_results(folder).runs
    if len(runs) > 1:
        raise ReproError(
            f"{folder} holds {counted(len(runs), 'run')}: {', '.join(run.name for run in runs)}",
            hint="name the folder of one of them",
        )
    return runs[0]


def compare(a: Path, b: Path, console: Console) -> int:
    """Hold run B against run A, cell by cell, and print the differences.

    Returns:
        As of `verify`: 0 if no common cell differs, 1 if one does, 3 if there is none, or one that
        cannot be decided.
    """
    first, second = _one_run(a), _one_run(b)
    if (differing := tables.differences(first, second)) is not None:
        console.print(differing)
    for name, one, other in ((a, first, second), (b, second, first)):
        if only := len(one.by_cell.keys() - other.by_cell.keys()):
            console.print(f"in {name} only: {counted(only, 'cell')}")
    held = compare_runs(second, first, wanted=[c for c in first.by_cell if c in second.by_cell])
    console.print(tables.numbers_table(held.numbers, f"\n{b} against {a}"))
    judged = {number.verdict for number in held.numbers} | {group.verdict for group in held.groups}
    if Verdict.NOT_REPRODUCED in judged:
        return EXIT_FAILED
    return 0 if held.numbers and all(verdict.passes for verdict in judged) else EXIT_MISSING


def record_expected(results: Sequence[Path], out: Path, console: Console) -> Reference:
    """Make a reference folder from results folders, with a bar."""
    with stages(console, len(results) + 1) as stage:
        return load_reference(record(results, out, stage=stage))
