"""Tables of TOML and JSON files, checked by pydantic; an error names the file and the field."""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from repro.errors import EXIT_MISSING, EXIT_USAGE, ReproError, unknown


def read_toml(path: str, *, what: str, hint: str) -> dict[str, Any]:
    """The table of a TOML file, with or without a byte order mark.

    Args:
        what: the kind of file, for messages; hint: where examples are.

    Raises:
        ReproError: it cannot be read (3), or is no TOML (2).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReproError(
            f"{what} file {path} cannot be read: {error}", hint=hint, exit_code=EXIT_MISSING
        ) from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ReproError(f"{path}: not TOML: {error}", hint=hint) from None


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a type."""
    return TypeAdapter(kind)


def checked(
    kind: Any,
    table: Mapping[str, Any],
    where: str,
    *,
    hint: str = "",
    exit_code: int = EXIT_USAGE,
) -> Any:
    """The table as a value of a type.

    Args:
        where: the table's file, and its section if it is not the whole, for messages.
        hint: what to do about any error; empty for what is allowed in the field.

    Raises:
        ReproError: a field is missing, unknown or wrong (`exit_code`), with its name.
    """
    try:
        # As JSON, in which strict types have lists for tuples and tables for dataclasses.
        text = json.dumps(table, default=str, ensure_ascii=False)
        return adapter(kind).validate_json(text.encode("utf-8", "replace"))
    except ValidationError as caught:
        # Of the errors of a field that may be one of several types the deepest is meant; a
        # mistyped name rather than that the right one is missing.
        error = max(caught.errors(), key=lambda one: (len(one["loc"]), one["type"] in _UNKNOWN))
    path, name = "", ""
    inner: Any = table
    for number, part in enumerate(error["loc"], 1):
        there = (isinstance(inner, list) and isinstance(part, int)) or (
            isinstance(inner, Mapping) and part in inner
        )
        last = number == len(error["loc"])
        if there or (last and error["type"] == "missing"):  # else it is the name of a type
            name = str(part)
            path += f"[{part}]" if isinstance(part, int) else "." * bool(path) + name
            inner = inner[part] if there else inner
    if error["type"] in _UNKNOWN:
        problem = unknown("field", name, _fields(adapter(kind).json_schema()))
        what, advice = f"{problem}: {path}", problem.hint
    elif error["type"] == "missing":
        what, advice = f"field '{path}' is missing", f"add {name} = ..."
    else:
        said = error["msg"].removeprefix("Value error, ")
        what = f"field '{path}' is {error['input']!r}: {said}"
        advice = "repro schema profile (or model, study, run) says what files may hold"
    raise ReproError(f"{where}: {what}", hint=hint or advice, exit_code=exit_code)


def like(pattern: str, said: str) -> AfterValidator:
    """Checks a text against a pattern; `said` tells what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(said)
        return text

    return AfterValidator(check)


def _fields(schema: Any) -> set[str]:
    """The names of all fields in a JSON schema."""
    if isinstance(schema, list):
        return set().union(*map(_fields, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())).union(*map(_fields, schema.values()))
