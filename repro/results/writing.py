"""Writing a results folder: held by one run, and every file whole or not at all."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.files import write_atomically
from repro.lines import Line, read_lines, to_line
from repro.locks import BusyError, held
from repro.results.schema import FINETUNES, FORMAT, RESULTS, RUN, SAMPLES, samples_name
from repro.spec.cells import Cell, Demonstrations, Variant
from repro.spec.study import Study

Lines = dict[tuple[Any, Any], Line]
"""The lines of a file by cell or variant, and by seed."""


@contextmanager
def claim_folder(out: Path, identity: Mapping[str, object], study: Study) -> Iterator[None]:
    """Hold the results folder for a run.

    Args:
        identity: what must be equal for results to stand in one folder.

    Raises:
        ReproError: it cannot be written (3), another run holds it, or it belongs to another
            profile, protocol, model, machine kind or format (2).
    """
    with ExitStack() as stack:
        _check_empty(out)
        try:
            (out / SAMPLES).mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(out / ".lock"))
        except BusyError:
            raise ReproError(
                f"another run is writing to {out}", hint="wait for it, or name another --out"
            ) from None
        except OSError as error:
            raise ReproError(
                f"the results folder {out} cannot be written: {error.strerror}",
                hint="name another folder with --out",
                exit_code=EXIT_MISSING,
            ) from None
        _check_identity(out, identity, study)
        yield


def _check_empty(out: Path) -> None:
    """Results never come to lie among files of something else."""
    if (out / RUN).exists() or (out / RESULTS).exists() or not out.is_dir():
        return
    # What a run that was killed before run.json leaves is no obstacle.
    others = [path for path in out.iterdir() if path.name[0] != "." and path.name != SAMPLES]
    if others or any((out / SAMPLES).glob("*")):
        name = min(path.name for path in others) if others else SAMPLES
        raise ReproError(
            f"{out} holds other files, such as {name}, and no {RUN}",
            hint="name a new folder with --out",
        )


def _check_identity(out: Path, own: Mapping[str, object], study: Study) -> None:
    path = out / RUN
    if not path.is_file():
        if (out / RESULTS).exists():
            raise ReproError(
                f"{out} has results but no {RUN}", hint="move it away, or name another --out"
            )
        return
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        identity, found_format = recorded["identity"], recorded["format"]
        if not isinstance(identity, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReproError(
            f"{path} is not the record of a run", hint="move the folder away, or name another --out"
        ) from None
    wanted = json.loads(json.dumps(own))
    differing = [n for n in {**identity, **wanted} if identity.get(n) != wanted.get(n)]
    asked_for = study_record(study)
    if recorded.get("study", asked_for) != json.loads(json.dumps(asked_for)):
        differing.append("study")
    if found_format != FORMAT:
        differing.append("format")
    if differing:
        shown = ", ".join(differing)
        raise ReproError(
            f"{out} holds results of another run: {shown} differ "
            f"(there: profile {identity.get('profile')}, protocol {identity.get('protocol')})",
            hint=f"run with --out {out}-{own['profile']}-{own['protocol']}, "
            "or move the old folder away",
        )


def study_record(study: Study) -> Line:
    """What run.json says of a study: its name, and all of it where it is a user's own."""
    return {"name": study.name} | ({"table": study.table} if study.table else {})


def asked(out: Path, cells: Iterable[str], seeds: Iterable[int]) -> dict[str, list[Any]]:
    """Cells and seeds that runs into this folder were asked for, this one among them."""
    known = {}
    if (out / RUN).is_file():
        known = json.loads((out / RUN).read_text(encoding="utf-8")).get("asked")
    return all_asked([known, {"cells": cells, "seeds": seeds}])


def all_asked(every: Iterable[Mapping[str, Iterable[Any]] | None]) -> dict[str, list[Any]]:
    """Several `asked` of run.json as one."""
    told = [one or {} for one in every]
    return {
        "cells": list(dict.fromkeys(name for one in told for name in one.get("cells", ()))),
        "seeds": sorted({seed for one in told for seed in one.get("seeds", ())}),
    }


def _by(name: str, path: Path, fields: tuple[str, ...]) -> Lines:
    """The lines of a file by a field and seed."""
    found = {}
    for line in read_lines(path, fields=(name, "seed", "variant", "key", *fields)):
        seed, first = line["seed"], line[name]
        if not isinstance(first, str) or not (seed is None or type(seed) is int):
            line = {}
        try:
            Variant.parse(line.get("variant", ""))
            if name == "cell" and line["samples"] != samples_name(Cell.parse(first), seed):
                raise ValueError(line["samples"])
        except (ValueError, TypeError):
            raise ReproError(
                f"{path}: a line of cell or model {first!r}, seed {seed!r}, which the kit lacks",
                hint="the file was changed by hand; move the folder away and run again",
                exit_code=EXIT_MISSING,
            ) from None
        found[first, seed] = line
    return found


def known_lines(out: Path) -> tuple[Lines, Lines]:
    """The lines of cells and of fine-tunes that a folder has.

    Raises:
        ReproError: a line is no JSON object, lacks a field, or is of no variant or seed (3).
    """
    fields = ("dataset", "prompt", "shots", "model_key", "samples", "samples_sha256")
    return _by("cell", out / RESULTS, fields), _by("variant", out / FINETUNES, ())


def write_lines(
    out: Path, cells: Lines, tuned: Lines, rank: Callable[[Variant], tuple[int, str]]
) -> None:
    """Write the lines of cells and of fine-tunes, in the order of a study.

    Args:
        rank: the place of a variant.
    """
    ranked = sorted(
        cells.values(),
        key=lambda line: (
            rank(Variant.parse(line["variant"])),
            line["seed"] or 0,
            line["dataset"],
            line["prompt"],
            Demonstrations.parse(line["cell"].rsplit(".", 1)[-1]),
        ),
    )
    write_atomically(out / RESULTS, "".join(map(to_line, ranked)))
    trained = sorted(
        tuned.values(), key=lambda line: (rank(Variant.parse(line["variant"])), line["seed"])
    )
    write_atomically(out / FINETUNES, "".join(map(to_line, trained)))
