"""What runs need and files say: `repro profiles`, `repro schema`, `repro data`, `repro models`."""

import json
from pathlib import Path

import click
from rich.table import Table

from repro import profiles as profile_files
from repro.cli.folders import FOLDER
from repro.cli.options import model_option, store_option, with_model
from repro.console import new_console
from repro.errors import ReproError
from repro.profiles.new import commented


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


FILES = ("profile", "model", "study", "results", "finetunes", "run")


@click.command(short_help="Print the JSON Schema of a kind of file.")
@click.argument("kind", type=click.Choice(FILES))
def schema(kind: str) -> None:
    """Print what a kind of file may hold, as JSON Schema: for editors, and for other programs.

    \b
    profile, study       a TOML file for --profile or --study
    model                the table [model] of a profile, or --model
    results, finetunes   a line of results.jsonl or finetunes.jsonl
    run                  run.json
    """
    from repro.models.spec import ModelTable
    from repro.profiles import Profile
    from repro.results.schema import FinetuneLine, ResultLine, RunRecord
    from repro.studies.schema import StudyTable
    from repro.tables import adapter

    kinds = (Profile, ModelTable, StudyTable, ResultLine, FinetuneLine, RunRecord)
    told = adapter(dict(zip(FILES, kinds, strict=True))[kind]).json_schema()
    click.echo(json.dumps(told, indent=2))


@click.group()
def data() -> None:
    """The authors' data: fetch it, or check a copy."""


_FOLDER = click.option("--data-dir", type=FOLDER,
                       help="The folder. [default: REPRO_UPSTREAM_DATA, or the cache of the user]",
                       )  # fmt: skip


@data.command("fetch")
@_FOLDER
@click.option("--base-url", default="", help="Another place with the same files, such as a mirror.")
def fetch_data(data_dir: Path | None, base_url: str) -> None:
    """Download the authors' files at their pinned commit; resumes, and checks every hash."""
    from repro.data import fetch as fetching

    console = new_console()
    folder = fetching.locate(data_dir)
    with fetching.progress_bar(console) as progress:
        report = fetching.fetch(folder, base_url=base_url, progress=progress)
    console.print(f"{report}: {folder}", soft_wrap=True)


@data.command()
@_FOLDER
def check(data_dir: Path | None) -> None:
    """Check a copy of the authors' files against the pinned hashes."""
    from repro.data import fetch as fetching

    console = new_console()
    folder = fetching.locate(data_dir)
    problems = fetching.check(folder)
    for problem in problems[1:]:
        console.print(str(problem), soft_wrap=True)
    if problems:
        raise problems[0]
    console.print(f"all files of {folder} match their hashes", soft_wrap=True)


@click.group()
def models() -> None:
    """Base models: fetch one into the store."""


@models.command("fetch")
@click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE",
              help="Whose base model; `repro profiles` lists them.")  # fmt: skip
@model_option
@store_option
def fetch_model(profile: str, model: tuple[str, ...], store: Path) -> None:
    """Put a profile's base weights into the store, checked against their hashes."""
    from repro.bars import bars
    from repro.execute.worker import base_weights
    from repro.models.spec import ModelSpec
    from repro.plan.store import Store

    loaded = with_model(profile_files.load(profile), model)
    spec = ModelSpec.from_table(loaded.model, loaded.origin)
    console = new_console()
    with bars(console) as progress:
        folder = base_weights(spec, Store(store), progress.console.print, progress)
    console.print(f"base weights in {folder}")
