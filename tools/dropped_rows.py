"""Which test rows each switch drops, as positions: `repro findings` needs no data then.

python -m tools.dropped_rows -o expected_results/dropped_rows.json
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from repro import profiles, studies
from repro.cli.folders import FOLDER
from repro.data.filters import test_rows
from repro.data.source import Source
from repro.data.upstream import UpstreamData, locate
from repro.spec.study import Study
from repro.spec.tasks import Dataset

SWITCHES = (
    "gold_dash",
    "repeated_inputs",
    "empty_inputs",
    "demonstrations_in_test",
)


@click.command()
@click.option("--data-dir", type=FOLDER,
              help="The authors' data. [default: REPRO_UPSTREAM_DATA, else the cache]")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The JSON file to write.")  # fmt: skip
def main(data_dir: Path | None, out: Path) -> None:
    """Write the positions of the rows that each switch drops from the test sets."""
    found = dropped(UpstreamData(locate(data_dir)), studies.load(studies.DEFAULT))
    out.write_text(to_json(found), encoding="utf-8")


def dropped(source: Source, study: Study) -> dict[str, dict[str, Any]]:
    """By switch and test set, positions among the first rows that `corrected` scores.

    Leaked rows stand by training size and number of training rows, of all profiles of the study's
    data: which test labels follow depends on what a model was trained on.
    """
    keep = study.protocols["published-code"]
    rows = study.protocols["corrected"].rows

    def gone(switch: str, dataset: Dataset, leaking: int | None = None) -> list[int]:
        changed: Any = {"rows": rows, switch: "drop"}
        before, after = (
            {row["row"] for row in test_rows(source, dataset, protocol, leaking=leaking).rows}
            for protocol in (replace(keep, rows=rows), replace(keep, **changed))
        )
        return sorted(before - after)

    told: dict[str, dict[str, Any]] = {"leaked_rows": {}}
    for name, dataset in study.datasets.items():
        if dataset.leak:
            train, _ = dataset.leak
            told["leaked_rows"][name] = {
                f"{size}.{limit}": gone("leaked_rows", replace(dataset, leak=(train, size)), limit)
                for size in sorted({v.size for v in study.variants if v.train == train})
                for limit in _limits(size)
            }
    for switch in SWITCHES:
        for name, dataset in study.datasets.items():
            if found := gone(switch, dataset):
                told.setdefault(switch, {})[name] = found
    return told


def _limits(size: int) -> list[int]:
    """How many rows of a training set the profiles take, the smallest first."""
    known = [profiles.load(name) for name in profiles.names()]
    own = {one.train_limit(size) or size for one in known if one.data == "upstream"}
    return sorted(own)


def to_json(found: dict[str, dict[str, Any]]) -> str:
    """A line a switch and test set."""
    blocks = (
        f' "{switch}": {{\n'
        + ",\n".join(f'  "{name}": {json.dumps(rows)}' for name, rows in sets.items())
        + "\n }"
        for switch, sets in found.items()
    )
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    main()
