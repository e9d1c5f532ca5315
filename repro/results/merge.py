"""Joining results folders of one plan that were computed on several machines.

A model, base or fine-tune of a seed, keeps all its cells from folders whose weights are the same;
where folders trained it apart, the folder with most of its cells gives them all, since cells of two
trainings are no one model's. Every cell keeps the machine that computed it, in run.json.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import file_sha256
from repro.lines import Line, read_lines, to_line
from repro.results.machines import PARTS, parts_of
from repro.results.runs import named
from repro.results.schema import RESULTS, RUN, SAMPLES, TEXTS, TIMINGS
from repro.results.writing import Lines, all_asked, known_lines, write_lines

_KEPT = ("identity", "source", "versions", "machine", "lock_sha256", "budgets")
_SAME = ("format", "study", "model", "data", "switches")
"""Besides the identity: what run.json must have alike."""

Model = tuple[str, int | None]


@dataclass(frozen=True, eq=False)
class _Folder:
    path: Path
    record: dict[str, Any]
    lines: Lines
    tuned: Lines


def _model(line: Line) -> Model:
    return line["variant"], line["seed"]


class Merged(NamedTuple):
    """Cells in the joined folder; models and cells left out that another folder has already."""

    cells: int
    left_out: tuple[str, ...]


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Join results folders into a new one.

    Args:
        folders: of one plan; of what several have, the first is taken.
        out: a folder that does not exist yet.

    Raises:
        ReproError: a folder holds no results, or a sample is missing (3); folders differ in more
            than the machine, or `out` exists (2); a cell of equal key has other samples (1).
    """
    if out.exists():
        raise ReproError(f"{out} exists", hint="name a new folder with -o")
    read = [_read(path) for path in folders]
    for other in read[1:]:
        _check_alike(read[0], other)
    owners, left_out = _owners(read)
    origins: dict[Any, _Folder] = {}  # of cells, by name and seed
    for folder in read:
        for place, line in folder.lines.items():
            if line["model_key"] != owners[_model(line)]:
                continue
            origin = origins.setdefault(place, folder)
            known = origin.lines[place]
            if known["key"] != line["key"]:
                left_out.append(f"{place[0]} of {folder.path}")
            elif known["samples_sha256"] != line["samples_sha256"]:
                raise ReproError(
                    f"{line['cell']} has the same key in {origin.path} and {folder.path}, and "
                    "other samples",
                    hint="one of them was changed, or a machine computes wrongly: repro compare "
                    "shows both",
                    exit_code=EXIT_FAILED,
                )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, read, origins, owners)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Merged(len(origins), tuple(left_out))


def _read(path: Path) -> _Folder:
    try:
        record = json.loads((path / RUN).read_text(encoding="utf-8"))
        record["identity"]["numerics"]  # what follows needs it
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ReproError(
            f"{path / RUN} is missing or not the record of a run",
            hint="name results folders that repro run wrote",
            exit_code=EXIT_MISSING,
        ) from None
    return _Folder(path, record, *known_lines(path))


def _check_alike(one: _Folder, other: _Folder) -> None:
    def facts(record: Mapping[str, Any]) -> dict[str, Any]:
        identity = {k: v for k, v in record["identity"].items() if k != "numerics"}
        return identity | {name: record.get(name) for name in _SAME}

    ours, theirs = facts(one.record), facts(other.record)
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if differing:
        raise ReproError(
            f"{other.path} is of another run than {one.path}: {', '.join(differing)} differ",
            hint="join folders of one profile, protocol, study and model",
        )


def _owners(read: Sequence[_Folder]) -> tuple[dict[Model, str], list[str]]:
    """The weights that each model's cells are taken of: those with most cells."""
    counts: dict[Model, dict[str, int]] = {}
    for origin in read:
        for line in origin.lines.values():
            own = counts.setdefault(_model(line), {})
            own[line["model_key"]] = own.get(line["model_key"], 0) + 1
    owners = {model: max(own, key=lambda key: own[key]) for model, own in counts.items()}
    left_out = [
        f"{named(*model)}, trained apart, of {origin.path}"
        for model, key in owners.items()
        for origin in read
        if any(_model(x) == model and x["model_key"] != key for x in origin.lines.values())
    ]
    return owners, left_out


def _write(
    out: Path, read: Sequence[_Folder], origins: Mapping[Any, _Folder], owners: Mapping[Model, str]
) -> None:
    lines = {place: origin.lines[place] for place, origin in origins.items()}
    for place, line in lines.items():  # all, before anything is written
        origin = origins[place]
        source = origin.path / line["samples"]
        if not source.is_file() or file_sha256(source) != line["samples_sha256"]:
            raise ReproError(
                f"{source} is missing or not what {RESULTS} says",
                hint=f"collect it again: the command of {origin.path}, or leave the folder out",
                exit_code=EXIT_MISSING,
            )
    (out / SAMPLES).mkdir(parents=True)
    taken: dict[_Folder, set[str]] = {folder: set() for folder in read}
    for place, line in lines.items():
        shutil.copyfile(origins[place].path / line["samples"], out / line["samples"])
        taken[origins[place]].add(Path(line["samples"]).stem)
    order = list(dict.fromkeys(x["variant"] for folder in read for x in folder.lines.values()))
    tuned: Lines = {}
    for folder in read:
        for model, line in folder.tuned.items():
            if owners.get(model) == line["key"]:
                tuned.setdefault(model, line)
    write_lines(out, lines, tuned, lambda variant: (order.index(variant.name), ""))
    for name in (TEXTS, TIMINGS):
        texts = dict.fromkeys(to_line(x) for f in read for x in read_lines(f.path / name))
        (out / name).write_text("".join(texts), encoding="utf-8")
    record = read[0].record | {"asked": all_asked(folder.record.get("asked") for folder in read)}
    record[PARTS] = [
        {name: part.get(name) for name in _KEPT}
        | {"cells": sorted(own.intersection(part["cells"]) if "cells" in part else own)}
        for folder, own in taken.items()
        for part in parts_of(folder.record)  # several, if it was joined itself
        if own.intersection(part.get("cells", own))
    ]
    (out / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
