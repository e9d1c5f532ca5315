"""A profile file of a user's own, begun from one of the kit's: every field with what it means."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from inspect import cleandoc
from textwrap import wrap
from typing import Any

from repro.profiles.profile import Compute, Profile, Scale, Sizes

_SECTIONS = {"sizes": Sizes, "scale": Scale, "compute": Compute}
_OWN = ("name", "origin")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def commented(profile: Profile, command: str) -> str:
    """The text of a profile file.

    Args:
        profile: whose settings it begins with.
        command: that runs it, for its first line.
    """
    lines = [f"# {command}", *_table(profile)]
    lines += ["", "# Where the weights come from: repro schema model", "[model]"]
    lines += [f"{name} = {_toml(value)}" for name, value in profile.model.items()]
    for name in _SECTIONS:
        own = getattr(profile, name)
        what = (type(own).__doc__ or "").partition("\n\n")[0]
        lines += ["", *(f"# {line}" for line in wrap(what, 96)), f"[{name}]", *_table(own)]
    return "\n".join(lines) + "\n"


def _table(values: Any) -> Iterator[str]:
    """The fields of a section; those at their default are there as comments."""
    # Python 3.13 takes the indentation off docstrings, older ones do not.
    meanings = dict(_ATTRIBUTE.findall(cleandoc(type(values).__doc__ or "")))
    for own in fields(values):
        if own.name in (*_SECTIONS, *_OWN, "model"):
            continue
        told = f"{own.name}: {meanings.get(own.name, '')}"
        yield from (f"# {line}" for line in wrap(" ".join(told.split()), 96))
        value = getattr(values, own.name)
        default = own.default_factory() if own.default_factory is not MISSING else own.default
        if value == default:
            value = _EXAMPLES.get(own.name) if value in (None, {}) else value
            yield f"# {own.name} = {_toml(value)}"
        else:
            yield f"{own.name} = {_toml(value)}"


_EXAMPLES: dict[str, Any] = {"train": {"2000": 2000}, "test": 250}


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(own)}" for key, own in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
