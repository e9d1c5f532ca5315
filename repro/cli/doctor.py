"""`repro doctor`: whether a run could finish here, and what mends what is wrong."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repro.cli.folders import FOLDER
from repro.cli.options import open_source, parse, with_options
from repro.console import new_console
from repro.errors import EXIT_MISSING, ReproError
from repro.machine.diagnosis import Cause, Diagnosis, causes, failed, to_dicts
from repro.plan.select import Request

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(short_help="Say what keeps `repro run` from finishing here.")
@with_options
@click.option("--out", type=FOLDER, default="results", show_default=True,
              help="Where results would go.")  # fmt: skip
@click.option("--gpu", is_flag=True,
              help="Then test the GPU itself, 4 to 8 minutes: attention, determinism, memory, "
              "evaluation and speed. `repro run` does so before its first fine-tune on a kind of "
              "GPU and driver that it has not seen.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, and no table.")
def doctor(out: Path, gpu: bool, as_json: bool, **options: Any) -> None:
    """Check whether `repro run` with the same options can finish here, and say what mends it.

    Exit code 3 if it cannot.
    """
    request = parse(**options)
    findings = look(request, out)
    wrong = causes(findings)
    console = new_console()
    if as_json:
        told = {
            "profile": request.profile.name,
            "can_run": not failed(findings),
            "findings": to_dicts(findings),
            "causes": [cause.to_dict() for cause in wrong],
        }
        click.echo(json.dumps(told, indent=1))
    else:
        show(findings, wrong, console)
    if gpu:
        _test_gpu(request, console)
    if failed(findings):
        raise click.exceptions.Exit(EXIT_MISSING)


def look(request: Request, out: Path) -> list[Diagnosis]:
    """All checks for a request, machine first, data last."""
    from repro.plan.plan import needed_parts
    from repro.plan.preflight import data_findings, machine_findings
    from repro.plan.store import Store
    from repro.spec.cells import BASE

    tuned = bool(request.trained)
    machine = machine_findings(
        request.profile,
        request.spec,
        Store(request.store),
        [out],
        based=tuned or any(cell.variant == BASE for cell in request.cells),
        tuned=tuned,
        engine=request.engine,
    )
    return [*machine, *data_findings(open_source(request), needed_parts(request))]


def show(findings: list[Diagnosis], wrong: list[Cause], console: Console) -> None:
    """A line a check, those of one cause in one; then the remedies, each whole on its line."""
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "found", "needed"):
        table.add_column(heading, overflow="fold")
    fine = [finding for finding in findings if finding.level == "ok"]
    for one in [*fine, *(cause.summary for cause in wrong)]:
        table.add_row(one.what, Text(one.level, _COLOURS[one.level]), one.found, one.needed)
    console.print(table)
    if wrong:
        console.print("\nwhat to do, the most needed first:")
    for number, cause in enumerate(wrong, 1):
        about = cause.summary.what
        console.print(f"{number}. {about}: {cause.remedy}", soft_wrap=True)


def _test_gpu(request: Request, console: Console) -> None:
    """The self-test, anew; raises ReproError where there is no GPU or nothing may run on it."""
    from repro.machine.gpus import probe_cuda
    from repro.machine.selftest.run import ensure

    found = probe_cuda()
    if not found.memory:
        raise ReproError(
            "no GPU to test" + (f": {found.trouble}" if found.trouble else ""),
            hint="see the checks above",
            exit_code=EXIT_MISSING,
        )
    precisions = [request.profile.compute.precision]
    record = ensure(request.store, found, precisions, say=console.print, again=True)
    ways = ", ".join(f"{way} in {name}" for name, way in record.attention.items())
    shared = "" if record.share_prefix else "; evaluation shares no prefix"
    shared += "; decoding replays a graph" if record.replayed else ""
    console.print(f"attention: {ways}; memory {record.memory_factor:.2f} of the plan{shared}")
    record.require()
