"""A results folder, read and checked: what `repro run` wrote, or an import of other results.

Every line is checked against its samples and its fine-tune, so that an altered number, a swapped
variant or a dropped row is seen before any statistics. Lines of different profiles or protocols
become runs of their own and are never pooled; of several machines there is a warning.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import file_sha256
from repro.printable import counted
from repro.results.machines import devices
from repro.results.outcomes import read_samples
from repro.results.runs import CellResult, Key, Results, Run, Tuned, is_imported, named
from repro.results.schema import (
    FINETUNES,
    RESULTS,
    RUN,
    FinetuneLine,
    ResultLine,
    RunRecord,
    samples_name,
)
from repro.spec.cells import BASE, Cell, Variant
from repro.spec.study import Study
from repro.tables import checked

StudyOf = Callable[[Mapping[str, Any]], Study]
"""The study that a run.json tells of."""

_HINT = (
    "results are verified as they were written; if nobody changed them, run again into a new folder"
)


def _bad(where: str, what: str) -> NoReturn:
    raise ReproError(f"{where}: {what}", hint=_HINT, exit_code=EXIT_FAILED)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of a JSONL file, packed or not, as ("file, line 3", object).

    Raises:
        ReproError: a line is no JSON object, or holds NaN or Infinity (1).
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            _bad(str(path), f"not a gzip file: {error}")
    # As bytes, since texts may hold characters that end a line for str but not in a file.
    for number, text in enumerate(content.splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            _bad(where, f"not JSON: {error}")
        if not isinstance(value, dict):
            _bad(where, "not a JSON object")
        yield where, value


def check_line(kind: type[BaseModel], where: str, line: Mapping[str, Any]) -> None:
    """Raise ReproError (1) where a line lacks a field of `kind`, or it is of a wrong type."""
    checked(kind, line, where, hint=_HINT, exit_code=EXIT_FAILED)


def _cell_of(study: Study, where: str, line: Mapping[str, Any], imported: bool) -> Cell:
    try:
        cell = Cell.parse(line["cell"])
        metric = study.evaluation(cell).task.metric
    except ValueError as error:
        _bad(where, f"unknown cell: {error}")
    facts: dict[str, Any] = {"variant": cell.variant.name}
    facts |= {name: getattr(cell, name) for name in ("dataset", "prompt", "shots")}
    for name, value in (facts | {"metric": metric}).items():
        if name in line and line[name] != value:
            _bad(where, f"field '{name}' is {line[name]!r}, but the cell is {cell.name}")
    seed = line.get("seed")
    if (seed is None) != (cell.variant == BASE or imported):
        _bad(where, f"field 'seed' is {seed!r} for {cell.variant.name}")
    return cell


def _read_line(
    study: Study, folder: Path, where: str, line: Mapping[str, Any], imported: bool
) -> CellResult:
    check_line(ResultLine, where, line)
    cell, seed = _cell_of(study, where, line, imported), line.get("seed")
    wanted = samples_name(cell, seed)
    if line["samples"] != wanted:
        _bad(where, f"field 'samples' is {line['samples']!r}, not {wanted!r}")
    path, outcomes = folder / wanted, None
    if path.is_file():
        if file_sha256(path) != line["samples_sha256"]:
            _bad(str(path), f"its hash is not the one that {where} gives: one of them was changed")
        outcomes, summary = read_samples(path, study.task_of(cell), imported=imported)
        for name, value in summary.items():
            if name in line and not _equal(line[name], value):
                _bad(where, f"field '{name}' is {line[name]!r}, but {path} gives {value!r}")
    return CellResult.of(cell, line, outcomes)


def _equal(one: object, other: object) -> bool:
    """Whether two values of a line are the same but for rounding."""
    if isinstance(other, list):
        return isinstance(one, list) and len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(other, float):
        return isinstance(one, int | float) and abs(one - other) <= 1e-9
    return one == other


def read_tuned(path: Path) -> dict[tuple[Variant, int], Tuned]:
    """The fine-tunes of a file, packed or not; none if it is missing."""
    found: dict[tuple[Variant, int], Tuned] = {}
    if not path.is_file():
        return found
    for where, line in json_lines(path):
        check_line(FinetuneLine, where, line)
        seed = line["seed"]
        try:
            variant = Variant.parse(line["variant"])
        except ValueError as error:
            _bad(where, f"not a fine-tune: {error}")
        if (variant, seed) in found:
            _bad(where, f"{named(variant.name, seed)} stands here a second time")
        losses, moved = line.get("losses") or (), (line.get("weight_change") or {}).get("all")
        found[variant, seed] = Tuned(variant, seed, line["key"], tuple(losses), moved, line)
    return found


def _read_record(path: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.is_file():
        warnings.append(f"machine and versions of these results are unknown: {path} is missing")
        return {}
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        _bad(str(path), f"not JSON: {error}")
    if not isinstance(record, dict):
        _bad(str(path), "not a JSON object")
    check_line(RunRecord, str(path), record)
    for name in record.get("asked", {}).get("cells", ()):
        try:
            Cell.parse(name)
        except ValueError as error:
            _bad(str(path), f"field 'asked' names an unknown cell: {error}")
    return record


def _check_model(
    result: CellResult, where: str, tuned: Mapping[tuple[Variant, int], Tuned], base: object
) -> None:
    """Weights behind a cell must be those of its variant and seed."""
    variant, seed, key = result.cell.variant, result.seed, result.model_key
    if seed is None:
        if variant == BASE and base not in (None, key):
            _bad(where, f"field 'model_key' is not the base model's that {RUN} names")
        return
    facts = tuned.get((variant, seed))
    if facts is not None and facts.key != key:
        owner = next((named(t.variant.name, t.seed) for t in tuned.values() if t.key == key), "")
        told = f"{owner or 'no fine-tune listed'} in {FINETUNES}"
        _bad(where, f"field 'model_key' is that of {told}, not of {named(variant.name, seed)}")


def _read_folder(folder: Path, study_of: StudyOf, warnings: list[str]) -> list[Run]:
    # Faces that have little room cut a warning's end: its folder, whose path may be long.
    record = _read_record(folder / RUN, warnings)
    identity = record.get("identity", {})
    study = study_of(record)
    tuned = read_tuned(folder / FINETUNES)
    groups: dict[tuple[str, str, str], dict[Key, CellResult]] = {}
    without_samples: list[str] = []
    for where, line in json_lines(folder / RESULTS):
        result = _read_line(study, folder, where, line, is_imported(record))
        _check_model(result, where, tuned, identity.get("model"))
        group = (line["profile"], line["protocol"], json.dumps(line["overrides"], sort_keys=True))
        own = groups.setdefault(group, {})
        if (result.cell, result.seed) in own:
            _bad(where, f"{named(result.cell.name, result.seed)} stands here a second time")
        own[result.cell, result.seed] = result
        if result.outcomes is None:
            without_samples.append(result.cell.name)
    if given := [item.variant.name for item in tuned.values() if item.raw.get("given")]:
        warnings.append(
            f"{counted(len(given), 'fine-tune')} given as checkpoints, not trained by the run, "
            f"such as {given[0]}: {folder}"
        )
    if without_samples:
        warnings.append(
            f"{counted(len(without_samples), 'cell')} with no samples file, such as "
            f"{without_samples[0]}, are compared by their means only: {folder}"
        )
    if not groups:
        raise ReproError(
            f"{folder / RESULTS} is empty",
            hint="run again, or leave the folder out",
            exit_code=EXIT_MISSING,
        )
    runs = []
    for (profile, protocol, overrides), cells in groups.items():
        known = {"profile": profile, "protocol": protocol, "overrides": json.loads(overrides)}
        differing = [name for name in known if identity and identity.get(name) != known[name]]
        own_record = {} if differing else record
        run = Run(folder, **known, record=own_record, cells=cells, tuned=tuned, study=study)
        if differing:
            warnings.append(
                f"{len(cells)} cells are of {run.name}, unlike {RUN}; kept apart: {folder}"
            )
        warnings += _uneven_rows(run)
        if len(made := devices(record)) > 1:
            warnings.append(f"cells of {len(made)} kinds of machines: {'; '.join(made)}; {folder}")
        if len(kinds := sorted({_kind(item) for item in tuned.values()})) > 1:
            told = f"{len(kinds)} kinds of machines: {'; '.join(kinds)}"
            warnings.append(f"fine-tunes of {told}; {folder}")
        runs.append(run)
    return runs


def _kind(tuned: Tuned) -> str:
    """The kind of machine that a fine-tune was made on, as far as its bits depend on it."""
    told = tuned.raw.get("machine")
    names = ("device", "instructions", "threads", "processes", "attention")
    return (
        ", ".join(f"{name} {told[name]}" for name in names if name in told) if told else "not told"
    )


def _uneven_rows(run: Run) -> list[str]:
    """Test sets whose cells do not all have the same rows."""
    seen: dict[str, set[tuple[int, ...]]] = {}
    for result in run.cells.values():
        if result.outcomes is not None:
            rows = tuple(result.outcomes.rows.tolist())
            seen.setdefault(result.cell.dataset, set()).add(rows)
    return [
        f"cells of {name} have {min(map(len, sets))} to {max(map(len, sets))} rows; "
        f"those in common are compared: {run.folder}"
        for name, sets in seen.items()
        if len(sets) > 1
    ]


def read_results(folder: Path, study_of: StudyOf) -> Results:
    """All runs of a results folder, or of the results folders right inside a folder.

    Args:
        study_of: gives the study of a run.json.

    Raises:
        ReproError: there are no results (3); or a line is malformed, stands twice, names an
            unknown cell, or contradicts its samples or its fine-tune (1), with file and line.
    """
    folders = [folder] if (folder / RESULTS).is_file() else []
    if not folders and folder.is_dir():
        folders = sorted(path.parent for path in folder.glob(f"*/{RESULTS}"))
    if not folders:
        hint = "make one with: repro run --profile embedded"
        if (folder / f"{RESULTS}.gz").is_file():
            hint = f"it is a reference: repro expected show {folder}"
        told = f"{folder} has no {RESULTS}" if folder.is_dir() else f"{folder}: no such folder"
        raise ReproError(told, hint=hint, exit_code=EXIT_MISSING)
    warnings: list[str] = []
    runs = [run for one in folders for run in _read_folder(one, study_of, warnings)]
    return Results(tuple(runs), tuple(warnings))
