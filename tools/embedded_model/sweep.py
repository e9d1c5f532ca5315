"""Which learning rate the embedded profile's fine-tunes have, chosen as for any real model.

Each training set of 2,000 samples (160 rows here) is fine-tuned on at each rate under the protocol
published-code, and scored without examples on development rows of the same set: training rows that
no size of the grid trains on. The rate with the best mean score over the five sets is the
profile's. No other set is looked at.
"""

import statistics
from pathlib import Path
from typing import Any

import click
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from repro import profiles
from repro.cli.folders import FOLDER
from repro.console import new_console
from repro.data.embedded import EmbeddedData
from repro.finetune import finetune, recipe_from
from repro.spec.tasks import Part
from repro.studies.paper.prompts import training_template
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import TRAIN_SETS
from tools.embedded_model.incontext import scored

FACTORS = (5, 10, 25, 50, 75, 100, 150, 250)
"""Of the protocol's 2e-5."""

DEVELOPMENT = range(2000, 2100)
SEEDS = (1, 2)


def swept(folder: Path, factor: float, seed: int) -> dict[str, float]:
    """Mean development score of each training set's fine-tune at a rate."""
    embedded, source, found = profiles.load("embedded"), EmbeddedData(), dict[str, float]()
    for name, training in TRAIN_SETS.items():
        torch.set_num_threads(1)
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        size = embedded.sizes.train["2000"]
        rows = source.rows(Part("train", name, DEVELOPMENT.stop), training.task)
        recipe = recipe_from(
            protocol("published-code"),
            seed=seed,
            dtype="float32",
            learning_rate_factor=factor,
            length_factor=embedded.scale.length,
        )
        template = training_template(training.task)
        finetune(model, tokenizer, list(rows.select(range(size))), [], template, recipe)
        held = list(rows.select(DEVELOPMENT))
        found[name] = statistics.fmean(scored(model, tokenizer, training.task, held))
    return found


@click.command()
@click.argument("folder", type=FOLDER)
def main(folder: Path) -> None:
    """Print the mean development score of each rate for the base model in FOLDER."""
    console = new_console()
    for factor in FACTORS:
        turns = [swept(folder, factor, seed) for seed in SEEDS]
        means = {name: statistics.fmean(turn[name] for turn in turns) for name in turns[0]}
        shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        console.print(f"{factor}: mean {statistics.fmean(means.values()):.4f} ({shown})")


if __name__ == "__main__":
    main()
