"""`repro findings`: what a stored model says of the paper's findings, as a document."""

from pathlib import Path

import click

from repro.cli.folders import FOLDER
from repro.console import new_console


@click.command(short_help="Which findings hold on a stored model, as a document.")
@click.option("--profile", default="small", show_default=True, help="Whose stored runs.")
@click.option("--expected", type=FOLDER,
              help="Where runs are stored. [default: expected_results]")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False),
              default="docs/findings.md", show_default=True,
              help="The document; its pictures go into a folder beside it.")  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A document that gets the table of findings, such as README.md.")  # fmt: skip
def findings(profile: str, expected: Path | None, out: Path, into: Path | None) -> None:
    """Write which findings hold on a stored model, and which survive a mended flaw.

    Needs stored runs only: no data, no weights, no GPU.
    """
    from repro.report.documents import write_findings
    from repro.verify.published import default_folder
    from repro.verify.survival import stored_conditions

    root = expected or default_folder()
    found = stored_conditions(root, profile)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_findings(found, out, into)
    new_console().print(f"findings in {out}", soft_wrap=True)
