"""`repro models`: base weights."""

from pathlib import Path

import click

from repro import profiles
from repro.cli.folders import FOLDER
from repro.cli.options import model_options, with_model
from repro.console import new_console


@click.group()
def models() -> None:
    """Base models: fetch one into the store."""


@models.command()
@click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE",
              help="Whose base model; `repro profiles` lists them.")  # fmt: skip
@model_options
@click.option("--store", type=FOLDER, envvar="REPRO_STORE",
              default="store", show_default=True, help="Where artefacts are kept.")  # fmt: skip
def fetch(profile: str, model: tuple[str, ...], store: Path) -> None:
    """Put a profile's base weights into the store, checked against their hashes."""
    from repro.bars import bars
    from repro.execute.worker import base_weights
    from repro.models.spec import ModelSpec
    from repro.plan.store import Store

    loaded = with_model(profiles.load(profile), model)
    spec = ModelSpec.from_table(loaded.model, loaded.origin)
    console = new_console()
    with bars(console) as progress:
        folder = base_weights(spec, Store(store), progress.console.print, progress)
    console.print(f"base weights in {folder}")
