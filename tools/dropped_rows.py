"""Which test rows each switch drops, as positions: `repro findings` needs no data then.

python -m tools.dropped_rows -o expected_results/dropped_rows.json
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from repro import studies
from repro.cli.folders import FOLDER
from repro.data.filters import test_rows
from repro.data.source import Source
from repro.data.upstream import UpstreamData, locate
from repro.spec.study import Study

SWITCHES = (
    "leaked_rows",
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


def dropped(source: Source, study: Study) -> dict[str, dict[str, list[int]]]:
    """By switch and test set, positions among the first rows that `corrected` scores."""
    keep = study.protocols["published-code"]
    rows = study.protocols["corrected"].rows
    told: dict[str, dict[str, list[int]]] = {}
    for switch in SWITCHES:
        changed: Any = {"rows": rows, switch: "drop"}
        for name, dataset in study.datasets.items():
            before, after = (
                {row["row"] for row in test_rows(source, dataset, protocol).rows}
                for protocol in (replace(keep, rows=rows), replace(keep, **changed))
            )
            if before - after:
                told.setdefault(switch, {})[name] = sorted(before - after)
    return told


def to_json(found: dict[str, dict[str, list[int]]]) -> str:
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
