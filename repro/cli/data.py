"""`repro data`: the authors' files, fetched and checked."""

from pathlib import Path

import click

from repro.cli.folders import FOLDER
from repro.console import new_console


@click.group()
def data() -> None:
    """The authors' data: fetch it, or check a copy."""


_FOLDER = click.option(
    "--data-dir",
    type=FOLDER,
    help="The folder. [default: REPRO_UPSTREAM_DATA, or the cache of the user]",
)


@data.command()
@_FOLDER
@click.option("--base-url", default="", help="Another place with the same files, such as a mirror.")
def fetch(data_dir: Path | None, base_url: str) -> None:
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
