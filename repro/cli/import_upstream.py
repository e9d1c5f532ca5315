"""`repro import-upstream`: results of the authors' own scripts become a results folder."""

import shlex
from pathlib import Path

import click

from repro import profiles
from repro.cli.folders import FOLDER
from repro.console import new_console
from repro.printable import counted


@click.command("import-upstream", short_help="Make a results folder of the authors' own results.")
@click.argument("folder", type=FOLDER)
@click.option(
    "-o",
    "--out",
    type=FOLDER,
    default=Path("results/upstream"),
    show_default=True,
    help="The new results folder.",
)
@click.option(
    "--profile",
    type=click.Choice(profiles.names()),
    default="llama2-7b",
    show_default=True,
    help="Whose model was evaluated.",
)
@click.option(
    "--base",
    default="llama-2-7b",
    show_default=True,
    help="The base model's folder, as the file names have it.",
)
def import_upstream(folder: Path, out: Path, profile: str, base: str) -> None:
    """Make a results folder from the JSON files that the authors' evaluation wrote.

    Scores are computed anew. Seeds, logits and losses are unknown, so that the numbers can be
    held against the paper (L3) only.
    """
    from repro.verify.upstream_results import import_results

    found = import_results(folder, out, profile=profile, base=base)
    models = len({cell.variant for cell in found.cells})
    console = new_console()
    console.print(
        f"{found.folder}: {counted(len(found.cells), 'cell')} of {counted(models, 'model')}",
        soft_wrap=True,
    )
    console.print(f"next: repro verify {shlex.quote(str(found.folder))}", soft_wrap=True)
