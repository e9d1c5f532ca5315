"""Counts rows and tokens of the authors' data and of the kit's own, for plans without data.

python -m tools.counts --tokenizer DIR -o repro/plan/counts.json
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from repro import studies
from repro.cli.folders import FOLDER
from repro.console import new_console
from repro.data.embedded import EmbeddedData
from repro.data.source import Source
from repro.data.upstream import UpstreamData, locate
from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.plan.estimate import Count, count_with
from repro.spec.prompts import context, fill
from repro.spec.study import Study
from repro.spec.tasks import Part

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
        },
        studies.load(studies.DEFAULT),
    )
    out.write_text(text, encoding="utf-8")
    new_console().print(f"counts in {out}", soft_wrap=True)


def measure(
    source: Source,
    count: Count,
    vocabulary: str,
    study: Study,
    *,
    tests: Collection[str] = (),
    trains: Collection[str] = (),
) -> dict[str, Any]:
    """The counts of a source.

    Training sets that are not at hand get the lengths of the smallest of their task, and the
    number of rows in their name.

    Args:
        count: gives the numbers of tokens of texts.
        vocabulary: what counts, in words.
        tests, trains: names of the sets to count; all of the study where empty.
    """
    found: dict[str, Any] = {"vocabulary": vocabulary, "test": {}, "shown": {}, "train": {}}
    for name in tests or study.datasets:
        task = study.datasets[name].task
        rows = source.rows(Part("test", name), task).to_list()
        shown = source.rows(Part("demonstrations", name), task).to_list()
        means, contexts = {}, {}
        for prompt, shape in study.prompts.items():
            text = shape.text(task)
            lengths = count([fill(task, text, row) for row in rows[:FIRST]])
            means[prompt] = round(sum(lengths) / len(lengths), 2)
            before = [context(task, text, shown[:n]) for n in range(max(task.shots) + 1)]
            contexts[prompt] = [0, *count(before[1:])]
        found["test"][name] = {"rows": len(rows), "tokens": means}
        found["shown"][name] = contexts
    for name in trains or study.training:
        task = study.training[name].task
        text = study.first_prompt(task).text(task)
        sets: dict[str, Any] = {}
        sizes = sorted({v.size for v in study.variants if v.train == name})
        for size in sizes:
            part = Part("train", name, size)
            if source.missing([part]):
                sets[str(size)] = {"rows": size, "lengths": sets[str(sizes[0])]["lengths"]}
                continue
            rows = source.rows(part, task).to_list()
            lengths = sorted(count([fill(task, text, row) + row["output"] for row in rows]))
            middles = [len(lengths) * (2 * i + 1) // (2 * QUANTILES) for i in range(QUANTILES)]
            sets[str(size)] = {"rows": len(rows), "lengths": [lengths[i] for i in middles]}
        found["train"][name] = sets
    return found


def to_json(sources: Mapping[str, tuple[Source, Count, str]], study: Study) -> str:
    """The counts of several sources as counts.json holds them: a line a data set."""
    found = {name: measure(*one, study) for name, one in sources.items()}
    text = json.dumps(found, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), text) + "\n"


if __name__ == "__main__":
    main()
