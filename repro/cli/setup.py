"""What runs need: `repro profiles`, `schema`, `data`, `models` and `docker`."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from repro import profiles as profile_files
from repro.cli.folders import FOLDER
from repro.cli.options import model_option, store_option, with_model
from repro.console import new_console
from repro.container import lock
from repro.container.image import default_tag, differences
from repro.errors import EXIT_FAILED, ReproError
from repro.profiles.new import commented


@click.group(invoke_without_command=True, short_help="List profiles, or write one of your own.")
@click.pass_context
def profiles(context: click.Context) -> None:
    """List the profiles that come with the kit; `repro profiles new` writes one of your own."""
    if context.invoked_subcommand:
        return
    whole = Column("profile", no_wrap=True)
    table = Table(whole, "what it runs on", box=None, pad_edge=False)
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
    told = commented(profile_files.load(like), f"repro run --profile {shlex.quote(str(file))}")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(told)
    except FileExistsError:
        raise ReproError(f"{file} exists", hint="name another file, or remove that one") from None
    console = new_console()
    console.print(f"wrote {file}, with the settings of {like}", markup=False, soft_wrap=True)
    console.print(
        f"next: repro plan --profile {shlex.quote(str(file))}", markup=False, soft_wrap=True
    )


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
    from repro.data.upstream import locate

    console = new_console()
    folder = locate(data_dir)
    with fetching.progress_bar(console) as progress:
        report = fetching.fetch(folder, base_url=base_url, progress=progress)
    console.print(f"{report}: {folder}", soft_wrap=True)


@data.command()
@_FOLDER
def check(data_dir: Path | None) -> None:
    """Check a copy of the authors' files against the pinned hashes."""
    from repro.data import upstream

    console = new_console()
    folder = upstream.locate(data_dir)
    problems = upstream.check(folder)
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
def fetch(profile: str, model: tuple[str, ...], store: Path) -> None:
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


_IMAGE = click.option(
    "--image", metavar="NAME", default=default_tag("cuda"), show_default=True,
    help="The image.",
)  # fmt: skip


@click.group()
def docker() -> None:
    """Build, run, archive and check the container image."""


@docker.command()
@click.option("--variant", type=click.Choice(lock.VARIANTS), default="cuda", show_default=True,
              help="cuda runs without a GPU too, cpu is smaller, vllm has vLLM too.")  # fmt: skip
@click.option("--tag", metavar="NAME", help="Its name. [default: repro:VERSION-VARIANT]")
@click.option("--base-image", metavar="NAME", help="Another base than the pinned one.")
@click.option("--build-arg", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another argument of the Dockerfile, such as UID=1001.")  # fmt: skip
@click.option("--network", metavar="NAME", help="Network of the build, such as host.")
@click.option("--no-cache", is_flag=True, help="Use no layers of earlier builds.")
def build(
    variant: str,
    tag: str | None,
    base_image: str | None,
    settings: tuple[str, ...],
    network: str | None,
    no_cache: bool,
) -> None:
    """Build the image from this checkout, every package by the hash in its lock."""
    from repro.bars import bars
    from repro.container import engine

    arguments = {}
    for setting in settings:
        key, equals, arguments[key] = setting.partition("=")
        if not key or not equals:
            told = f"--build-arg takes NAME=VALUE, not '{key}'"
            raise ReproError(told, hint="--build-arg UID=1001")
    if base_image:
        arguments["BASE_IMAGE"] = base_image
    name = tag or default_tag(variant)
    console = new_console()
    with bars(console) as progress:
        task = progress.add_task("building", total=None)

        def show(step: int, steps: int, what: str) -> None:
            progress.update(task, completed=step - 1, total=steps)
            progress.console.print(f"[{step}/{steps}] {what}")

        found = engine.build(
            engine.connect(),
            variant,
            tag=name,
            arguments=arguments,
            network=network,
            cache=not no_cache,
            progress=show,
            log=lambda line: progress.console.print(f"  {line}", style="dim"),
        )
        progress.update(task, completed=1, total=1)
    console.print(f"{name} ({found})\nnext: repro docker verify --image {name}")


@docker.command(context_settings={"ignore_unknown_options": True})
@_IMAGE
@click.option("--gpus", default="none", show_default=True, metavar="all|none|0,1",
              help="GPUs that the container sees.")  # fmt: skip
@click.option("--results", type=FOLDER, default="results", show_default=True,
              help="Folder here that gets the results.")  # fmt: skip
@click.option("--cache", type=FOLDER, default="cache", show_default=True,
              help="Folder here for weights, data and finished steps.")  # fmt: skip
@click.option("--data", type=FOLDER, help="Folder with the authors' data. [default: fetched]")
@click.option("--offline", is_flag=True, help="No network in the container.")
@click.option("--shm-size", "shared_memory", default="1g", show_default=True,
              help="Size of its /dev/shm.")  # fmt: skip
@click.option("--user", default=lambda: f"{os.getuid()}:{os.getgid()}", metavar="UID:GID",
              show_default="you", help="Who owns what it writes.")  # fmt: skip
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ...]")
def run(image: str, words: tuple[str, ...], **options: Any) -> None:
    """Run a command of the kit in the image, or the reproduction that fits the GPU.

    Without COMMAND it is `repro run --profile auto --verify`. HF_TOKEN is passed on. The exit code
    is that of the command.
    """
    from repro.container import engine

    if code := engine.run(engine.connect(), image, words, **options):
        raise click.exceptions.Exit(code)


@docker.command()
@_IMAGE
def verify(image: str) -> None:
    """Compare an image's packages with the lock, and its labels with this checkout.

    Exit code 1 if anything differs.
    """
    from repro.container import engine

    client, console = engine.connect(), new_console()
    listing = engine.listing(client, image)
    found = differences(engine.labels(client, image), listing)
    if not found:
        count = len(listing["packages"])
        console.print(f"{image}: {count} packages and all labels as in this checkout")
        return
    table = Table("", "in the image", "expected", box=None, pad_edge=False)
    for one in found:
        table.add_row(one.what, one.found or "nothing", one.expected or "nothing")
    console.print(table)
    raise click.exceptions.Exit(EXIT_FAILED)


@docker.command()
@_IMAGE
@click.option("-o", "--out", type=FOLDER, required=True, help="Folder for the archive.")
def save(image: str, out: Path) -> None:
    """Write an image as a tar archive for keeping, with its hash and bill of materials.

    `docker load` reads it. Registries drop images; an archive does not depend on them.
    """
    from repro.bars import bars
    from repro.container import engine

    console = new_console()
    client = engine.connect()
    with bars(console) as progress:
        task = progress.add_task("saving", total=None)
        facts = engine.save(
            client,
            image,
            out,
            progress=lambda done, size: progress.update(task, completed=done, total=size),
        )
    console.print(f"{out / str(facts['archive'])}, sha256 {facts['sha256']}")
