"""`repro protocols` and `repro profiles`: what the kit can follow, and what it can run on."""

import click
from rich.console import Console
from rich.table import Table

from repro import profiles as profile_files
from repro.paper.protocols import PROTOCOLS, switches


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


@click.command()
def protocols() -> None:
    """Print every switch between the published code, the paper's text and the repaired protocol.

    Change single ones with `repro run --set SWITCH=VALUE`.
    """
    table = Table(title="Protocols: one row a switch", title_justify="left", show_lines=False)
    table.add_column("switch", no_wrap=True, overflow="fold")
    for name in PROTOCOLS:
        table.add_column(name)
    table.add_column("audit")
    for switch in switches().values():
        values = [_text(switch.values[name]) for name in PROTOCOLS]
        table.add_row(switch.name, *values, switch.audit)
        table.add_row("", f"[dim]{switch.reason}[/]", "", "", "", end_section=True)
    Console(highlight=False).print(table)


@click.command()
def profiles() -> None:
    """List the profiles that come with the kit."""
    table = Table(box=None, pad_edge=False)
    table.add_column("profile", no_wrap=True)
    table.add_column("what it runs on")
    for name in profile_files.names():
        table.add_row(name, profile_files.load(name).summary)
    Console(highlight=False).print(table)
