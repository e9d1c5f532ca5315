"""`repro verify`, `repro compare`, `repro expected` and `repro audit`: from results to answers."""

from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import RenderableType

from repro import studies
from repro.cli import completion
from repro.cli.completion import listed
from repro.cli.folders import FOLDER, STUDY
from repro.console import new_console
from repro.plan.select import claim_names, split_names
from repro.printable import counted


def _end(code: int) -> None:
    if code:
        raise click.exceptions.Exit(code)


def _print(parts: Iterable[RenderableType]) -> None:
    console = new_console()
    for part in parts:
        console.print(part)


@click.command(short_help="Do the numbers reproduce, and do the claims hold?")
@click.argument("results", type=FOLDER)
@click.option(
    "--expected",
    type=FOLDER,
    help="A reference folder, or one with several. [default: expected_results]",
)
@click.option(
    "--level",
    type=click.Choice(["L0", "L1", "L2", "L3"]),
    help="Compare at this level of evidence only.",
)
@click.option("--claims", metavar="C9,C12", shell_complete=listed(completion.claims),
              help="Only these claims and the cells they rest on.")  # fmt: skip
@click.option("--full", is_flag=True, help="Print everything: all cells, comparisons and points.")
@STUDY
def verify(
    results: Path,
    expected: Path | None,
    level: str | None,
    claims: str | None,
    full: bool,
    study: str | None,
) -> None:
    """Verdicts on a results folder: do its numbers reproduce, and do the paper's claims hold.

    L0: bit for bit. L1: same weights, against stored predictions. L2: retrained, against stored
    seeds. L3: against the paper's published numbers.

    Exit code 0: nothing differs and nothing is missing. 1: something differs. 3: something is
    missing, such as cells, rows, seeds or a reference. Claims count for it only where the run's
    model and data are the paper's.
    """
    from repro.report.commands import conclude, stages
    from repro.report.model import report
    from repro.verify.verdicts import Level

    asked, console = claim_names(claims) or None, new_console()
    with stages(console) as stage:
        found = report(
            results,
            expected=expected,
            level=Level(level) if level else None,
            asked=asked,
            study=studies.load(study) if study else None,
            stage=stage,
        )
    _end(conclude(found, console, asked, full=full))


@click.command(short_help="Hold results B against results A.")
@click.argument("a", type=FOLDER)
@click.argument("b", type=FOLDER)
def compare(a: Path, b: Path) -> None:
    """Hold results B against results A: another machine, version or protocol."""
    from repro.report.commands import compare as command

    _end(command(a, b, new_console()))


@click.command(short_help="Join results of one plan from several machines.")
@click.argument("results", type=FOLDER, nargs=-1, required=True)
@click.option("-o", "--out", type=FOLDER, required=True, help="The new results folder.")
def merge(results: tuple[Path, ...], out: Path) -> None:
    """Join results folders of one plan that were computed on several machines.

    Every cell keeps its machine in run.json. Where two folders trained a model apart, all its cells
    come from the one that has more of them.
    """
    from repro.results.merge import merge as join

    found = join(results, out)
    console = new_console()
    console.print(f"{counted(found.cells, 'cell')} in {out}/results.jsonl", soft_wrap=True)
    for name in found.left_out:
        console.print(f"left out: {name}", soft_wrap=True)
    console.print(f"next: repro verify {out}", soft_wrap=True)


@click.command(short_help="Do the findings follow from the published figures?")
def claims() -> None:
    """Print whether each of the paper's findings follows from its own published figures."""
    from repro.report.tables import paper_parts

    _print(paper_parts())


@click.group()
def expected() -> None:
    """Reference folders: what results are held against."""


@expected.command()
@click.argument("results", type=FOLDER, nargs=-1, required=True)
@click.option("-o", "--out", type=FOLDER, required=True, help="The new reference folder.")
def record(results: tuple[Path, ...], out: Path) -> None:
    """Make a reference folder from one or more results folders."""
    from repro.report.commands import record_expected
    from repro.report.tables import reference_parts

    _print(reference_parts(record_expected(results, out, new_console())))


@expected.command()
@click.argument("folder", type=FOLDER)
def show(folder: Path) -> None:
    """Print what a reference folder holds."""
    from repro.report.tables import reference_parts
    from repro.verify.reference import load_reference

    _print(reference_parts(load_reference(folder)))


@click.command(short_help="Recompute what is wrong with the published code.")
@click.option("--data", type=click.Choice(["upstream", "embedded"]), default="upstream",
              show_default=True, help="The authors' data, held against stored values; or the "
              "embedded data, beside these.")  # fmt: skip
@click.option("--data-dir", type=FOLDER, help="A copy of the authors' data.")
@click.option(
    "--tokenizer",
    type=FOLDER,
    envvar="REPRO_LLAMA2_TOKENIZER",
    help="A folder with the Llama-2 tokenizer.json.",
)
@click.option("--only", metavar="IDS", help="Only these findings, such as A2,A4.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Print every value, not only differing ones or other than 0.",
)
@click.option("-o", "--out", type=FOLDER, help="Write the report in every form to this folder.")
def audit(
    data: str,
    data_dir: Path | None,
    tokenizer: Path | None,
    only: str | None,
    every: bool,
    out: Path | None,
) -> None:  # fmt: skip
    """Recompute what is wrong with the published code and data, without any model.

    With `--data embedded`, print what the same code finds in the data that the kit makes itself.
    """
    from repro.audit import run, run_embedded

    console = new_console()
    names = split_names(only) or None
    if data == "embedded":
        _end(run_embedded(names, out, console, every=every))
        return
    _end(run(data_dir, tokenizer, names, out, console, every=every))
