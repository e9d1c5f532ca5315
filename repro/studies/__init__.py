"""Studies: what is asked. Each gives cells, claims and panels; a user's own is a TOML file."""

from collections.abc import Callable, Mapping
from typing import Any

from repro.errors import unknown
from repro.spec.study import Study
from repro.studies.paper import study as paper

DEFAULT = paper.NAME
_STUDIES: Mapping[str, Callable[[], Study]] = {paper.NAME: paper.study}
NAMES = tuple(_STUDIES)


def load(name: str) -> Study:
    """The study of a name, or of a TOML file.

    Raises:
        ReproError: unknown name (2), unreadable file (3), wrong or missing field (2).
    """
    if name in _STUDIES:
        return _STUDIES[name]()
    if name.endswith(".toml"):
        from repro.studies.file import read  # pydantic takes a while

        return read(name)
    raise unknown("study", name, NAMES)


def told(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run.json tells of its study: its name, and its table where it is a user's."""
    found: Mapping[str, Any] = record.get("study") or {"name": DEFAULT}
    return found


def recorded(record: Mapping[str, Any]) -> Study:
    """The study of a run.json; older ones are all of the default.

    Raises:
        ReproError: the kit has no such study, or its table is wrong (2).
    """
    found = told(record)
    if table := found.get("table"):
        from repro.studies.file import parse

        return parse(table, name=found["name"], where="run.json")
    return load(found["name"])
