"""Pre-trains the micro Llama of the embedded profile from its recipe and seed."""

from pathlib import Path

import click

from repro.cli.folders import FOLDER
from repro.console import new_console
from tools.embedded_model.pretrain import Line, build


@click.command()
@click.option("--out", type=FOLDER, required=True,
              help="A folder for the model; begun before, it is gone on with.")  # fmt: skip
@click.option("--smoke", is_flag=True, help="A few steps only: shows that the recipe runs.")
def main(out: Path, smoke: bool) -> None:
    """Pre-train the micro Llama of the embedded profile from its recipe and seed."""
    console = new_console()

    def show(line: Line, model: object) -> None:
        console.print(", ".join(f"{name} {value}" for name, value in line.items()))

    build(out, progress=show, smoke=smoke)
    console.print(f"model, tokenizer and recipe.json in {out}", soft_wrap=True)


if __name__ == "__main__":
    main()
