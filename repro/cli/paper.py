"""`repro protocols` and `repro profiles`: what the kit can follow, and what it can run on."""

import click
from rich.table import Table

from repro import profiles as profile_files
from repro.console import new_console
from repro.report.citations import NAME, linked
from repro.spec.protocol import PROTOCOLS
from repro.studies.paper.protocols import switches


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


@click.command(short_help="Print the switches between code, text and corrections.")
def protocols() -> None:
    """Print every switch between the published code, the paper's text and the repaired protocol.

    Change single ones with `repro run --set SWITCH=VALUE`.
    """
    values = Table(box=None, pad_edge=False)
    for heading in ("switch", *PROTOCOLS, "audit"):
        values.add_column(heading, no_wrap=True)
    reasons = Table(title="Why", title_justify="left", box=None, pad_edge=False)
    reasons.add_column("switch", no_wrap=True)
    reasons.add_column("reason")
    for switch in switches().values():
        shown = [_text(switch.values[name]) for name in PROTOCOLS]
        values.add_row(switch.name, *shown, linked(switch.audit))
        reasons.add_row(switch.name, switch.reason)
    console = new_console()
    console.print(values, f"\naudit: sections of {NAME}\n", reasons)


@click.command()
def profiles() -> None:
    """List the profiles that come with the kit."""
    table = Table(box=None, pad_edge=False)
    table.add_column("profile", no_wrap=True)
    table.add_column("what it runs on")
    for name in profile_files.names():
        table.add_row(name, profile_files.load(name).summary)
    new_console().print(table)
