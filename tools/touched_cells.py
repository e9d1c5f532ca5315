"""How many cells a switch of the prompts touches with a model's tokenizer: none needs no run.

python -m tools.touched_cells --weights store/weights/KEY -o expected_results/touched_cells.json
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click

from repro import studies
from repro.cli.folders import FOLDER
from repro.data.filters import test_rows
from repro.data.source import Source
from repro.data.upstream import UpstreamData, locate
from repro.evaluate.encode import Job, Tokenizer
from repro.models.load import load_tokenizer
from repro.plan.touched import asked
from repro.spec.cells import BASE, Cell
from repro.spec.protocol import Protocol
from repro.spec.study import Study
from repro.spec.tasks import Part

SWITCHES = (
    "bos_few_shot_classification",
    "bos_zero_shot_generation",
    "label_tokens",
    "trailing_blank",
    "zero_shot_blank",
)


@click.command()
@click.option("--weights", type=FOLDER, required=True,
              help="The base model in a store: a folder named by its key.")  # fmt: skip
@click.option("--data-dir", type=FOLDER,
              help="The authors' data. [default: REPRO_UPSTREAM_DATA, else the cache]")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The JSON file to write.")  # fmt: skip
def main(weights: Path, data_dir: Path | None, out: Path) -> None:
    """Write how many cells of the paper have other prompts or labels under each switch."""
    source = UpstreamData(locate(data_dir))
    counts = touched(source, studies.load(studies.DEFAULT), load_tokenizer(weights))
    out.write_text(json.dumps({weights.resolve().name: counts}, indent=1) + "\n", encoding="utf-8")


def touched(source: Source, study: Study, tokenizer: Tokenizer) -> dict[str, int]:
    """By switch, set as `corrected` has it on top of the published code: cells that it touches."""
    published = study.protocols["published-code"]
    corrected = study.protocols["corrected"]

    @cache
    def tokens(cell: Cell, protocol: Protocol) -> str:
        own = study.evaluation(cell)
        shown = source.rows(Part("demonstrations", cell.dataset), own.task)
        rows = test_rows(source, own.dataset, protocol).rows
        return asked(Job(own, rows, shown), tokenizer, protocol)

    counts = {}
    for switch in SWITCHES:
        changed: Any = {switch: getattr(corrected, switch)}
        protocol = replace(published, **changed)
        # Prompts do not depend on the variant: the base's stand for all.
        counts[switch] = sum(
            tokens(base, published) != tokens(base, protocol)
            for base in (replace(cell, variant=BASE) for cell in study.cells())
        )
    return counts


if __name__ == "__main__":
    main()
