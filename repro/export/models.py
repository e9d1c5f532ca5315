"""The models of a run, each with its cells, and what every export tells of the run."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from repro.api import Results, Score
from repro.results.schema import RESULTS

PAPER = "arXiv:2403.09162"


def models(results: Results) -> Iterator[tuple[str, list[Score]]]:
    """Each model's name, `base` or such as `xsum-ft-2000-seed42`, and its cells."""
    found: dict[str, list[Score]] = {}
    for cell in results.cells:
        seed = "" if cell.seed is None else f"-seed{cell.seed}"
        found.setdefault(cell.variant + seed, []).append(cell)
    yield from found.items()


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
