"""`repro protocols` and `repro profiles`: what the kit can follow, and what it can run on."""

from pathlib import Path

import click
from rich.table import Table

from repro import profiles as profile_files
from repro.console import new_console
from repro.errors import ReproError
from repro.profiles.new import commented
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


@click.group(invoke_without_command=True, short_help="List profiles, or write one of your own.")
@click.pass_context
def profiles(context: click.Context) -> None:
    """List the profiles that come with the kit; `repro profiles new` writes one of your own."""
    if context.invoked_subcommand:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("profile", no_wrap=True)
    table.add_column("what it runs on")
    for name in profile_files.names():
        table.add_row(name, profile_files.load(name).summary)
    new_console().print(table)


@profiles.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--like", default="small", show_default=True, metavar="PROFILE",
              help="The profile whose settings it begins with.")  # fmt: skip
def new(file: Path, like: str) -> None:
    """Write a profile FILE (.toml) that tells what every setting means, to be changed by hand."""
    if file.suffix != ".toml":
        raise ReproError(f"{file} does not end in .toml", hint=f"repro profiles new {file}.toml")
    told = commented(profile_files.load(like), f"repro run --profile {file}")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(told)
    except FileExistsError:
        raise ReproError(f"{file} exists", hint="name another file, or remove that one") from None
    console = new_console()
    console.print(f"wrote {file}, with the settings of {like}", markup=False, soft_wrap=True)
    console.print(f"next: repro plan --profile {file}", markup=False, soft_wrap=True)
