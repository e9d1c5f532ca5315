"""Pre-trains the micro Llama of the embedded profile from its recipe and seed."""

from pathlib import Path

import click

from repro.cli.folders import FOLDER
from repro.console import new_console
from tools.embedded_model.pretrain import Line, build
from tools.embedded_model.recipe import RECIPE


@click.command()
@click.option("--out", type=FOLDER, required=True,
              help="A folder for the model; begun before, it is gone on with.")  # fmt: skip
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=RECIPE.seed,
    show_default=True,
    help="Of the weights and of what is drawn.",
)
@click.option("--smoke", is_flag=True, help="A few steps only: shows that the recipe runs.")
def main(out: Path, seed: int, smoke: bool) -> None:
    """Pre-train the micro Llama of the embedded profile from its recipe and seed."""
    console = new_console()

    def show(line: Line, model: object) -> None:
        console.print(", ".join(f"{name} {value}" for name, value in line.items()))

    build(out, progress=show, seed=seed, smoke=smoke)
    console.print(f"model, tokenizer and recipe.json in {out}", soft_wrap=True)


if __name__ == "__main__":
    main()
