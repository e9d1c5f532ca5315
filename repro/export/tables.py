"""Cells, samples, fine-tunes and claims as flat tables: CSV files, or a data set of the hub."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.api import Results
from repro.lines import to_line
from repro.report.export import to_csv

TABLES = ("cells", "samples", "finetunes", "claims")


def tables(results: Results) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each table's name and rows; what is nested stands in them as JSON."""
    for name in TABLES:
        yield name, [_flat(row) for row in getattr(results, name).to_dicts()]


def write_csv(results: Results, folder: Path) -> None:
    """A CSV file a table."""
    for name, rows in tables(results):
        (folder / f"{name}.csv").write_text(to_csv(rows), encoding="utf-8", newline="\n")


def write_lines(results: Results, folder: Path) -> None:
    """A file of JSON lines a table, of equal types in every line of a column."""
    for name, rows in tables(results):
        text = "".join(map(to_line, rows))
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    nested = (dict, list, tuple)
    return {n: json.dumps(v) if isinstance(v, nested) else v for n, v in row.items()}
