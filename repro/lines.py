"""JSON Lines files: the form of results and samples."""

import json
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError

Line = dict[str, Any]


def to_line(value: Line) -> str:
    """One line of a JSONL file."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def read_lines(path: Path) -> list[Line]:
    """The lines of a JSONL file; none when it is not there.

    Raises:
        ReproError: a line is not a JSON object, with file and line number (3).
    """
    lines: list[Line] = []
    if not path.is_file():
        return lines
    # Not splitlines(): texts may hold characters that it takes for line ends.
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not text:
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ReproError(
                f"{path}, line {number}: not a JSON object",
                hint="the file was changed by hand or cut; move the folder away and run again",
                exit_code=EXIT_MISSING,
            )
        lines.append(value)
    return lines
