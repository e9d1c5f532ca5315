"""`repro import-upstream`: results of the authors' own scripts become a results folder."""

from pathlib import Path

import click

from repro import profiles

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("import-upstream")
@click.argument("folder", type=_FOLDER)
@click.option(
    "-o",
    "--out",
    type=_FOLDER,
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
    click.echo(f"{found.folder}: {len(found.cells)} cells of {models} models")
    click.echo(f"next: repro verify {found.folder}")
