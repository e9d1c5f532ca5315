"""JSON Lines files: the form of results and samples."""

import json
import os
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.locks import open_own

Line = dict[str, Any]


def to_line(value: Line) -> str:
    """One line of a JSONL file."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def read_lines(path: Path, *, fields: tuple[str, ...] = ()) -> list[Line]:
    """The lines of a JSONL file; none when it is not there.

    Args:
        fields: names that every line must have.

    Raises:
        ReproError: a line is not a JSON object or lacks a field, with file and line number (3).
    """
    lines: list[Line] = []
    if not path.is_file():
        return lines
    # As bytes, since texts may hold characters that end a line for str, and a cut may split one.
    for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
        if not text:
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _changed(f"{where}: not a JSON object")
        if missing := [name for name in fields if name not in value]:
            raise _changed(f"{where}: field '{missing[0]}' is missing")
        lines.append(value)
    return lines


def _changed(message: str) -> ReproError:
    return ReproError(
        message,
        hint="the file was changed by hand or cut; move the folder away and run again",
        exit_code=EXIT_MISSING,
    )


def append_line(path: Path, value: Line) -> None:
    """Add a line at the end of a file; what a killed process left of a line is cut off first.

    Raises:
        ReproError: the file is a symbolic link (2).
    """
    with os.fdopen(open_own(path, os.O_RDWR), "r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(to_line(value).encode())
