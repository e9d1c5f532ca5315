"""Joining results folders of one plan that were computed on several machines.

A model, base or fine-tune of a seed, keeps all its cells from folders whose weights are the same;
where folders trained it apart, the folder with most of its cells gives them all, since cells of two
trainings are no one model's. Every cell keeps the machine that computed it, in run.json.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import file_sha256
from repro.lines import Line, read_lines, to_line
from repro.results.machines import PARTS, parts_of
from repro.results.schema import FINETUNES, RESULTS, RUN

SAMPLES, BESIDE = "samples", ("prompts.jsonl", "timings.jsonl")

_KEPT = ("identity", "source", "versions", "machine", "lock_sha256", "budgets")
_SAME = ("format", "study", "model", "data", "switches")
"""Besides the identity: what run.json must have alike."""

Model = tuple[str, int | None]


@dataclass
class _Folder:
    path: Path
    record: dict[str, Any]
    lines: dict[tuple[str, int | None], Line]
    tuned: dict[Model, Line]
    taken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Merged:
    """What came of joining.

    Attributes:
        cells: in the joined folder; left_out: models and cells that another folder has already.
    """

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
    lines: dict[tuple[str, int | None], tuple[Line, _Folder]] = {}
    for origin in read:
        for place, line in origin.lines.items():
            model = (line["variant"], line["seed"])
            known = lines.get(place)
            if line["model_key"] != owners[model]:
                continue
            if known is None:
                lines[place] = (line, origin)
            elif known[0]["key"] == line["key"]:
                _check_equal(known, line, origin)
            else:
                left_out.append(f"{place[0]} of {origin.path}")
    _write(out, read, lines, owners)
    return Merged(len(lines), tuple(left_out))


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
    fields = ("cell", "seed", "variant", "key", "model_key", "samples", "samples_sha256")
    lines = {
        (line["cell"], line["seed"]): line for line in read_lines(path / RESULTS, fields=fields)
    }
    tuned = {
        (line["variant"], line["seed"]): line
        for line in read_lines(path / FINETUNES, fields=("variant", "seed", "key"))
    }
    return _Folder(path, record, lines, tuned)


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
            own = counts.setdefault((line["variant"], line["seed"]), {})
            own[line["model_key"]] = own.get(line["model_key"], 0) + 1
    owners = {model: max(own, key=lambda key: own[key]) for model, own in counts.items()}
    left_out = [
        f"{variant}{'' if seed is None else f' seed {seed}'}, trained apart, of {origin.path}"
        for (variant, seed), key in owners.items()
        for origin in read
        if any(
            (line["variant"], line["seed"]) == (variant, seed) and line["model_key"] != key
            for line in origin.lines.values()
        )
    ]
    return owners, left_out


def _check_equal(known: tuple[Line, _Folder], line: Line, origin: _Folder) -> None:
    if known[0]["samples_sha256"] != line["samples_sha256"]:
        raise ReproError(
            f"{line['cell']} has the same key in {known[1].path} and {origin.path}, and other "
            "samples",
            hint="one of them was changed, or a machine computes wrongly: repro compare shows both",
            exit_code=EXIT_FAILED,
        )


def _write(
    out: Path,
    read: Sequence[_Folder],
    lines: Mapping[tuple[str, int | None], tuple[Line, _Folder]],
    owners: Mapping[Model, str],
) -> None:
    for line, origin in lines.values():  # all, before anything is written
        source = origin.path / line["samples"]
        if not source.is_file() or file_sha256(source) != line["samples_sha256"]:
            raise ReproError(
                f"{source} is missing or not what {RESULTS} says",
                hint=f"collect it again: the command of {origin.path}, or leave the folder out",
                exit_code=EXIT_MISSING,
            )
    (out / SAMPLES).mkdir(parents=True)
    chosen: list[Line] = []
    for line, origin in lines.values():
        shutil.copyfile(origin.path / line["samples"], out / line["samples"])
        origin.taken.append(Path(line["samples"]).stem)
        chosen.append(line)
    order = list(
        dict.fromkeys(line["variant"] for origin in read for line in origin.lines.values())
    )
    chosen.sort(
        key=lambda x: (
            order.index(x["variant"]), x["seed"] or 0, x["dataset"], x["prompt"], str(x["shots"]),
        )
    )  # fmt: skip
    tuned: dict[Model, Line] = {}
    for origin in read:
        for model, line in origin.tuned.items():
            if owners.get(model) == line["key"]:
                tuned.setdefault(model, line)
    _put(out / RESULTS, chosen)
    _put(
        out / FINETUNES, [tuned[model] for model in sorted(tuned, key=lambda m: order.index(m[0]))]
    )
    for name in BESIDE:
        _put(out / name, _distinct([line for f in read for line in read_lines(f.path / name)]))
    record = dict(read[0].record)
    record["asked"] = _asked(read)
    record[PARTS] = [part for origin in read for part in _parts(origin)]
    (out / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _parts(origin: _Folder) -> list[dict[str, Any]]:
    """The folder's record with its cells; those of its own parts, if it was joined itself."""
    taken = set(origin.taken)
    return [
        {name: part.get(name) for name in _KEPT}
        | {"cells": sorted(taken.intersection(part["cells"]) if "cells" in part else taken)}
        for part in parts_of(origin.record)
    ]


def _put(path: Path, lines: Sequence[Line]) -> None:
    path.write_text("".join(map(to_line, lines)), encoding="utf-8")


def _distinct(lines: Sequence[Line]) -> list[Line]:
    return [json.loads(text) for text in dict.fromkeys(map(to_line, lines))]


def _asked(read: Sequence[_Folder]) -> dict[str, list[Any]]:
    every = [origin.record.get("asked") or {} for origin in read]
    return {
        "cells": list(dict.fromkeys(name for asked in every for name in asked.get("cells", []))),
        "seeds": sorted({seed for asked in every for seed in asked.get("seeds", [])}),
    }
