"""The three protocols of the paper, read from `protocols.toml` beside this file."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from repro.spec.protocol import PROTOCOLS, Protocol, Switch


@cache
def switches() -> dict[str, Switch]:
    """All switches by name, in the order of the file."""
    path = Path(__file__).with_name("protocols.toml")
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    kinds = {field.name: field.type for field in fields(Protocol)}
    if set(kinds) != set(tables):
        raise ValueError(f"protocols.toml and Protocol differ in {set(kinds) ^ set(tables)}")
    found = {}
    for name, table in tables.items():
        kind: Any = kinds[name]
        allowed = get_args(kind)  # of a Literal
        values = {protocol: table[protocol] for protocol in PROTOCOLS}
        own = str if allowed else kind
        switch = Switch(name, table["audit"], table["reason"], own, allowed, values)
        for value in switch.values.values():
            switch.parse(str(value).lower() if isinstance(value, bool) else str(value))
        found[name] = switch
    return found


def protocol(name: str, overrides: Mapping[str, object] | None = None) -> Protocol:
    """The named protocol, with single switches overridden. Raises KeyError for unknown names."""
    values = {switch.name: switch.values[name] for switch in switches().values()}
    return replace(Protocol(**values), **dict(overrides or {}))  # type: ignore[arg-type]
