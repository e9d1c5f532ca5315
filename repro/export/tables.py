"""What every export tells of a run; its results as flat tables, in CSV or JSON lines."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro.api import Results, Score
from repro.lines import to_line
from repro.report.export import to_csv
from repro.results.schema import RESULTS

PAPER = "arXiv:2403.09162"


def models(results: Results) -> Iterator[tuple[str, list[Score]]]:
    """Each model's name, `base` or such as `xsum-ft-2000-seed42`, and its cells."""
    found: dict[str, list[Score]] = {}
    for cell in results.cells:
        seed = "" if cell.seed is None else f"-seed{cell.seed}"
        found.setdefault(cell.variant + seed, []).append(cell)
    yield from found.items()


def task_of(cell: Score) -> str:
    """A cell without its model, such as `amazon.p1.4`."""
    return cell.cell.removeprefix(f"{cell.variant}.")


def written(results: Results) -> datetime:
    """When the results were written, in UTC: other tools want a date."""
    return datetime.fromtimestamp((results.folder / RESULTS).stat().st_mtime, UTC)


def base(results: Results) -> Mapping[str, Any]:
    """The profile's [model] table."""
    (record,) = results.records
    return dict(record.get("model") or {})


def about(results: Results) -> dict[str, Any]:
    """Protocol, profile and base model, which are those of every cell of a run."""
    cell = results.cells[0]
    return {
        "paper": PAPER,
        "profile": cell.profile,
        "protocol": cell.protocol,
        "switches": dict(cell.overrides),
        "base": base(results),
    }


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
