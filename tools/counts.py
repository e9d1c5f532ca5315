"""Counts rows and tokens of the authors' data and of the kit's own, for plans without data.

python -m tools.counts --tokenizer DIR -o repro/pipeline/counts.json
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from repro.cli.folders import FOLDER
from repro.console import new_console
from repro.data.embedded import EmbeddedData
from repro.data.source import Part, Source
from repro.data.upstream import UpstreamData, locate
from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.paper import prompts
from repro.paper.tasks import DATASETS, SIZES, TRAIN_SETS
from repro.pipeline.estimate import Count, count_with

FIRST = 250
"""Rows of a test set that means are taken over: those of the published protocol."""

QUANTILES = 20
"""Parts that the lengths of training rows are cut into; each counts by its middle."""


@click.command()
@click.option("--data-dir", type=FOLDER,
              help="The authors' data. [default: REPRO_UPSTREAM_DATA, else the cache]")  # fmt: skip
@click.option("--tokenizer", type=FOLDER, envvar="REPRO_LLAMA2_TOKENIZER", required=True,
              help="A folder with the Llama-2 tokenizer.json.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The JSON file to write.")  # fmt: skip
def main(data_dir: Path | None, tokenizer: Path, out: Path) -> None:
    """Count rows and tokens of the authors' data and of the kit's own."""
    llama = count_with(load_tokenizer(tokenizer))
    own = count_with(load_tokenizer(EMBEDDED))
    text = to_json(
        {
            "embedded": (EmbeddedData(), own, "the embedded model's vocabulary"),
            "upstream": (UpstreamData(locate(data_dir)), llama, "the Llama-2 vocabulary"),
        }
    )
    out.write_text(text, encoding="utf-8")
    new_console().print(f"counts in {out}", soft_wrap=True)


def measure(
    source: Source,
    count: Count,
    vocabulary: str,
    *,
    tests: Collection[str] = tuple(DATASETS),
    trains: Collection[str] = tuple(TRAIN_SETS),
) -> dict[str, Any]:
    """The counts of a source.

    Training sets that are not at hand get the lengths of the smallest of their task, and the
    number of rows in their name.

    Args:
        count: gives the numbers of tokens of texts.
        vocabulary: what counts, in words.
        tests, trains: names of the sets to count.
    """
    found: dict[str, Any] = {"vocabulary": vocabulary, "test": {}, "shown": {}, "train": {}}
    for name in tests:
        task = DATASETS[name].task
        rows, shown = (source.rows(Part(s, name)).to_list() for s in ("test", "demonstrations"))
        means, contexts = {}, {}
        for prompt in prompts.TEMPLATES:
            text = prompts.template(task, prompt)
            lengths = count([prompts.fill(task, text, row) for row in rows[:FIRST]])
            means[prompt] = round(sum(lengths) / len(lengths), 2)
            before = [prompts.context(task, text, shown[:n]) for n in range(max(task.shots) + 1)]
            contexts[prompt] = [0, *count(before[1:])]
        found["test"][name] = {"rows": len(rows), "tokens": means}
        found["shown"][name] = contexts
    for name in trains:
        task = TRAIN_SETS[name]
        text = prompts.template(task, "p1")
        sets: dict[str, Any] = {}
        for size in SIZES:
            part = Part("train", name, size)
            if source.missing([part]):
                sets[str(size)] = {"rows": size, "lengths": sets[str(SIZES[0])]["lengths"]}
                continue
            rows = source.rows(part).to_list()
            lengths = sorted(count([prompts.fill(task, text, row) + row["output"] for row in rows]))
            middles = [len(lengths) * (2 * i + 1) // (2 * QUANTILES) for i in range(QUANTILES)]
            sets[str(size)] = {"rows": len(rows), "lengths": [lengths[i] for i in middles]}
        found["train"][name] = sets
    return found


def to_json(sources: Mapping[str, tuple[Source, Count, str]]) -> str:
    """The counts of several sources as counts.json holds them: a line a data set."""
    found = {name: measure(*one) for name, one in sources.items()}
    text = json.dumps(found, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), text) + "\n"


if __name__ == "__main__":
    main()
