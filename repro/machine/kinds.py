"""Kinds of GPU by name, for plans of machines that are not here. Needs no torch."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from repro.errors import ReproError, unknown
from repro.tables import checked, read_toml

_FILE = "kinds.toml"

_Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class GpuKind:
    """A kind of GPU; `kinds.toml` says what each field is."""

    name: str
    told: str
    gb: _Positive
    tflops: _Positive
    memory: _Positive
    link: _Positive


@cache
def kinds() -> Mapping[str, GpuKind]:
    """Those that the kit knows."""
    text = files("repro.machine").joinpath(_FILE).read_text(encoding="utf-8")
    return {name: checked(GpuKind, table, _FILE) for name, table in tomllib.loads(text).items()}


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
    if name.endswith(".toml"):
        return _read(name), int(count)
    if name.lower() not in kinds():
        raise unknown("kind of GPU", name.lower(), kinds())
    return kinds()[name.lower()], int(count)


def named(told: str) -> GpuKind | None:
    """The kind of a GPU by the name that its driver tells; None for one that is not known."""
    return next((kind for kind in kinds().values() if is_named(kind.told, told)), None)


def is_named(name: str, told: str) -> bool:
    """Whether a driver's name of a GPU holds a kind's in whole words, and is of a whole GPU."""
    words = rf"(?<![^\W_]){re.escape(name)}(?![^\W_])"
    return "MIG" not in told.split() and re.search(words, told) is not None


def _read(path: str) -> GpuKind:
    hint = "a TOML file with one table as in repro/machine/kinds.toml"
    tables = read_toml(path, what="GPU kind", hint=hint)
    if len(tables) != 1:
        raise ReproError(f"{path}: a kind of GPU is one table", hint=hint)
    (table,) = tables.values()
    kind: GpuKind = checked(GpuKind, table if isinstance(table, dict) else tables, path, hint=hint)
    return kind
