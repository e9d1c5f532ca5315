"""prompts.jsonl, written and read: the texts behind the hashes in the samples.

A line is a row's own text (`dataset`, `prompt`, `row`, `text`), or what stands before every row at
a shot count (`dataset`, `prompt`, `shots`, `text`): the demonstrations, or at 0 shots a stray blank
or nothing. The latter + the former is the text whose sha256 the samples hold as `prompt_sha256`.
Each stands here once, for neither depends on the model, but for a fine-tune with a `target` format:
demonstrations of its task are in that format, and where the format writes something before the
label it is asked behind that, in lines that name the target.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import write_atomically
from repro.lines import Line, read_lines, to_line
from repro.results.reading import json_lines
from repro.results.schema import TEXTS
from repro.spec.cells import Cell, Demonstrations

Lookup = Callable[[Cell, int, str], str | None]
"""The prompt of a cell's row whose sha256 its sample gives; None where texts were not kept."""


def write_texts(folder: Path, new: Iterable[Line], datasets: Sequence[str]) -> None:
    """Write lines of texts; other lines in the folder are kept.

    Args:
        datasets: the names of the study's, in whose order the lines stand.
    """

    def key(line: Line) -> tuple[int, str, bool, Demonstrations, str]:
        kind = "row" if "row" in line else "shots"
        shots = Demonstrations.parse(str(line[kind]))
        place = datasets.index(line["dataset"]), line["prompt"]
        # Contexts stand before rows.
        return *place, kind == "row", shots, line.get("target", "")

    path = folder / TEXTS
    try:
        lines = {key(line): line for line in read_lines(path, fields=("dataset", "prompt", "text"))}
    except (KeyError, ValueError):
        raise ReproError(
            f"{path} has a line that is no text of this study's prompts",
            hint=f"move {TEXTS} away: the same `repro run` writes it again",
            exit_code=EXIT_MISSING,
        ) from None
    known = dict(lines)
    lines |= {key(line): line for line in new}
    if lines != known:
        write_atomically(path, "".join(to_line(lines[key]) for key in sorted(lines)))


def prompts(folder: Path) -> Lookup:
    """Read the texts of a results folder; without the file, no text is known.

    Raises:
        ReproError: a line is malformed (1). The lookup raises it where a text does not have the
            hash that the sample gives: the prompt was another one.
    """
    path = folder / TEXTS
    before: dict[tuple[str, str, str, str], str] = {}
    rows: dict[tuple[str, str, int, str], str] = {}
    for where, line in json_lines(path) if path.is_file() else ():
        kind = "row" if "row" in line else "shots"
        # Shots are a number, or the name of demonstrations that are chosen otherwise.
        numbers: tuple[type, ...] = (int,) if kind == "row" else (int, str)
        wanted = {"dataset": (str,), "prompt": (str,), kind: numbers, "text": (str,)}
        wanted |= {"target": (str,)} if "target" in line else {}
        for name, types in wanted.items():
            if type(line.get(name)) not in types:
                raise _bad(f"{where}: field '{name}' is {line.get(name)!r}")
        if kind == "row":
            place = line["dataset"], line["prompt"], line[kind], line.get("target", "")
            rows[place] = line["text"]
        else:
            own = line["dataset"], line["prompt"], str(line[kind]), line.get("target", "")
            before[own] = line["text"]

    def lookup(cell: Cell, row: int, sha256: str) -> str | None:
        context = cell.dataset, cell.prompt, cell.demonstrations.name
        first = before.get((*context, cell.variant.target), before.get((*context, "")))
        place = cell.dataset, cell.prompt, row
        then = rows.get((*place, cell.variant.target), rows.get((*place, "")))
        if first is None or then is None:
            return None
        text = first + then
        if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != sha256:
            raise _bad(f"{path}: the text of {cell.name}, row {row}, is not the one of its sample")
        return text

    return lookup


def _bad(what: str) -> ReproError:
    return ReproError(
        what,
        hint=f"move {TEXTS} away to report without texts, or write it again by running the same "
        "`repro run`",
        exit_code=EXIT_FAILED,
    )
