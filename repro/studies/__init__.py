"""Studies: what is asked. Each gives cells, claims and panels; a user's own is a TOML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import unknown
from repro.spec.study import Study
from repro.studies.paper import study as paper

DEFAULT = paper.NAME
FILES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}
"""Studies of the kit that are files, like a user's."""

NAMES = (paper.NAME, *FILES)


def load(name: str) -> Study:
    """The study of a name, or of a TOML file.

    Raises:
        ReproError: unknown name (2), unreadable file (3), wrong or missing field (2).
    """
    if name == paper.NAME:
        return paper.study()
    if name in FILES or name.endswith(".toml"):
        from repro.studies.file import read  # pydantic takes a while

        return read(str(FILES.get(name, name)))
    raise unknown("study", name, NAMES)


def told(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run.json tells of its study: its name, and its table where it is a user's."""
    found: Mapping[str, Any] = record.get("study") or {"name": DEFAULT}
    return found


def measured(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `told` gives without what only judges and shows results, which leaves numbers alone."""
    found = dict(told(record))
    if table := found.get("table"):
        shown = ("question", "claims", "curves", "matrices")
        found["table"] = {name: value for name, value in table.items() if name not in shown}
    return found


def recorded(record: Mapping[str, Any]) -> Study:
    """The study of a run.json, in older ones the default; raises ReproError as `load`."""
    found = told(record)
    if table := found.get("table"):
        from repro.studies.file import parse

        return parse(table, name=found["name"], where="run.json")
    return load(found["name"])
