"""Kinds of GPU by name, for plans of machines that are not here. Needs no torch."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError, unknown

_FILE = "kinds.toml"


@dataclass(frozen=True, kw_only=True)
class GpuKind:
    """A kind of GPU; `kinds.toml` says what each field is."""

    name: str
    told: str
    gb: float
    tflops: float
    memory: float
    link: float


@cache
def kinds() -> Mapping[str, GpuKind]:
    """Those that the kit knows."""
    text = files("repro.machine").joinpath(_FILE).read_text(encoding="utf-8")
    return {name: _kind(table, _FILE) for name, table in tomllib.loads(text).items()}


def of(asked: str) -> tuple[GpuKind, int]:
    """The kind of GPU and the number of them in words such as "h100:8" or "my.toml:2".

    Raises:
        ReproError: it is neither, or several kinds (2); a file cannot be read (3).
    """
    name, colon, count = asked.rpartition(":")
    if "," in asked or not colon or not (count.isascii() and count.isdigit() and int(count)):
        several = "each kind is planned, and run, for itself; repro merge joins the results"
        raise ReproError(
            f"--gpus is KIND:COUNT, not '{asked}'",
            hint=several if "," in asked else f"--gpus h100:8; kinds: {', '.join(kinds())}",
        )
    return (_read(Path(name)) if name.endswith(".toml") else _known(name.lower())), int(count)


def named(told: str) -> GpuKind | None:
    """The kind of a GPU by the name that its driver tells; None for one that is not known."""
    return next((kind for kind in kinds().values() if kind.told in told), None)


def _known(name: str) -> GpuKind:
    if name not in kinds():
        raise unknown("kind of GPU", name, kinds())
    return kinds()[name]


def _read(path: Path) -> GpuKind:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReproError(
            f"{path} cannot be read: {error}",
            hint="a TOML file with one table as in repro/machine/kinds.toml",
            exit_code=EXIT_MISSING,
        ) from None
    (table,) = tables.values() if len(tables) == 1 else ({},)
    return _kind(table, str(path))


def _kind(table: Any, where: str) -> GpuKind:
    known = {field.name: field.type for field in fields(GpuKind)}
    if not isinstance(table, dict) or set(table) != set(known):
        raise ReproError(
            f"{where}: a kind of GPU is one table with the fields {', '.join(known)}",
            hint="see repro/machine/kinds.toml",
        )
    for name, value in table.items():
        right = isinstance(value, str)
        if known[name] is float:
            right = type(value) in (int, float) and 0 < value < float("inf")
        if not right:
            raise ReproError(
                f"{where}: field '{name}' is {value!r}",
                hint="a text" if known[name] is str else "a number above 0",
            )
    return GpuKind(**table)
