"""`repro report`: verdicts on a results folder in every form."""

from pathlib import Path

import click

from repro.cli.folders import FOLDER, STUDY
from repro.console import new_console


@click.command(short_help="Write verdicts as HTML, Markdown, JUnit XML, JSON, CSV.")
@click.argument("results", type=FOLDER)
@click.option("-o", "--out", type=FOLDER, required=True, help="The report folder; an older report "
              "there is replaced.")  # fmt: skip
@click.option("--expected", type=FOLDER, help="A reference folder, or one with several. "
              "[default: expected_results]")  # fmt: skip
@STUDY
def report(results: Path, out: Path, expected: Path | None, study: str | None) -> None:
    """Write what `repro verify` finds as HTML, Markdown, JUnit XML, JSON, CSV and figures.

    Exit code 0 once all is written, whatever the verdicts: for these ask `repro verify`.
    """
    from repro.bars import bars
    from repro.report.commands import gather, write_report

    console = new_console()
    write_report(gather(results, bars(console), expected=expected, study=study), out, console)
