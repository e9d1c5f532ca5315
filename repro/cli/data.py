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


@data.command()
@_FOLDER
@click.option("--tokenizer", type=FOLDER, envvar="REPRO_LLAMA2_TOKENIZER", required=True,
              help="A folder with the Llama-2 tokenizer.json.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The JSON file to write.")  # fmt: skip
def count(data_dir: Path | None, tokenizer: Path, out: Path) -> None:
    """Count rows and tokens of the authors' data and of the kit's own, for plans without data."""
    from repro import studies
    from repro.data.embedded import EmbeddedData
    from repro.data.fetch import locate
    from repro.data.source import Source
    from repro.data.upstream import UpstreamData
    from repro.models.load import load_tokenizer
    from repro.models.spec import EMBEDDED
    from repro.pipeline.estimate import count_with
    from repro.pipeline.outline import to_json

    sources: dict[str, tuple[Source, Path, str]] = {
        "embedded": (EmbeddedData(), EMBEDDED, "the embedded model's vocabulary"),
        "upstream": (UpstreamData(locate(data_dir)), tokenizer, "the Llama-2 vocabulary"),
    }
    text = to_json(
        {
            name: (source, count_with(load_tokenizer(folder)), words)
            for name, (source, folder, words) in sources.items()
        },
        studies.load(studies.DEFAULT),
    )
    out.write_text(text, encoding="utf-8")
    new_console().print(f"counts in {out}", soft_wrap=True)
