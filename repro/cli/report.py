"""`repro report`: verdicts on a results folder in every form."""

from pathlib import Path

import click

from repro import studies
from repro.cli.folders import FOLDER, STUDY
from repro.console import new_console


@click.command(short_help="Write verdicts as HTML, Markdown, JUnit XML, JSON, CSV.")
@click.argument("results", type=FOLDER)
@click.option("-o", "--out", type=FOLDER, required=True, help="The report folder; an older report "
              "there is replaced.")  # fmt: skip
@click.option("--expected", type=FOLDER, help="A reference folder, or one with several. "
              "[default: expected_results]")  # fmt: skip
@click.option("--price", type=click.FloatRange(min=0), metavar="DOLLARS",
              help="Of a device's hour: say what the run cost.")  # fmt: skip
@click.option("--carbon", type=click.FloatRange(min=0), metavar="KG",
              help="CO2e of a device's hour (its kW times its grid's kg a kWh): say what the run "
              "emitted.")  # fmt: skip
@STUDY
def report(
    results: Path,
    out: Path,
    expected: Path | None,
    price: float | None,
    carbon: float | None,
    study: str | None,
) -> None:
    """Write what `repro verify` finds as HTML, Markdown, JUnit XML, JSON, CSV and figures.

    Exit code 0 once all is written, whatever the verdicts: for these ask `repro verify`.
    """
    from repro.report.commands import stages, write_report
    from repro.report.model import report as gather
    from repro.results.spent import Rates

    console, asked = new_console(), studies.load(study) if study else None
    with stages(console) as stage:
        rates = Rates(price, carbon)
        found = gather(results, expected=expected, study=asked, rates=rates, stage=stage)
    write_report(found, out, console)
