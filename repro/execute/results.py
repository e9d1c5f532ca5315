"""The results folder: one line a cell, its samples, and what the run was.

`results.jsonl`, `samples/` and `prompts.jsonl` hold nothing that depends on time or place: two runs
of the same command on the same kind of machine write the same bytes. Timings and the machine stand
beside them in `run.json` and `timings.jsonl`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune.artefact import FACTS
from repro.lines import Line, read_lines, to_line
from repro.locks import BusyError, held
from repro.metrics import summarise
from repro.plan.plan import Plan, PlannedCell, PlannedModel
from repro.plan.store import Store, file_sha256, write_atomically
from repro.spec.cells import Cell, Demonstrations, Variant
from repro.spec.study import Study

FORMAT = 1
BUDGET = "budget.json"
RESULTS, FINETUNES, RUN, TIMINGS, SAMPLES, TEXTS = (
    "results.jsonl",
    "finetunes.jsonl",
    "run.json",
    "timings.jsonl",
    "samples",
    "prompts.jsonl",
)


def samples_name(cell: Cell, seed: int | None) -> str:
    """The path of a cell's samples inside the results folder."""
    return f"{SAMPLES}/{cell.name}{'' if seed is None else f'.seed{seed}'}.jsonl"


@contextmanager
def claim_folder(out: Path, plan: Plan) -> Iterator[None]:
    """Hold the results folder for this run.

    Raises:
        ReproError: it cannot be written (3), another run holds it, or it belongs to another
            profile, protocol, model, machine kind or format (2).
    """
    with ExitStack() as stack:
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
        _check_identity(out, plan)
        yield


def _check_identity(out: Path, plan: Plan) -> None:
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
    wanted = json.loads(json.dumps(plan.identity))
    differing = [n for n in {**identity, **wanted} if identity.get(n) != wanted.get(n)]
    study = study_record(plan.study)
    if recorded.get("study", study) != json.loads(json.dumps(study)):
        differing.append("study")
    if found_format != FORMAT:
        differing.append("format")
    if differing:
        shown = ", ".join(differing)
        raise ReproError(
            f"{out} holds results of another run: {shown} differ "
            f"(there: profile {identity.get('profile')}, protocol {identity.get('protocol')})",
            hint=f"run with --out {out}-{plan.profile.name}-{plan.protocol_name}, "
            "or move the old folder away",
        )


def study_record(study: Study) -> Line:
    """What run.json says of a study: its name, and all of it where it is a user's own."""
    return {"name": study.name} | ({"table": study.table} if study.table else {})


def asked(out: Path, plan: Plan) -> dict[str, list[Any]]:
    """Cells and seeds that runs into this folder were asked for, this one among them."""
    known: dict[str, list[Any]] = {}
    if (out / RUN).is_file():
        known = json.loads((out / RUN).read_text(encoding="utf-8")).get("asked") or {}
    cells = [step.cell.name for model in plan.models for step in model.cells]
    seeds = [model.seed for model in plan.models if model.seed is not None]
    return {
        "cells": list(dict.fromkeys([*known.get("cells", []), *cells])),
        "seeds": sorted({*known.get("seeds", []), *seeds}),
    }


def result_line(
    plan: Plan, model: PlannedModel, step: PlannedCell, samples: list[Line], digest: str
) -> Line:
    """The line of a cell: its score with all that a reader needs to know about it."""
    cell = step.cell
    return {
        "cell": cell.name,
        "variant": cell.variant.name,
        "dataset": cell.dataset,
        "prompt": cell.prompt,
        "shots": cell.shots,
        "seed": model.seed,
        **summarise(step.asked.task, samples),
        "dropped": step.dropped,
        "prompt_tokens": sum(sample["prompt_tokens"] for sample in samples),
        "profile": plan.profile.name,
        "protocol": plan.protocol_name,
        "overrides": plan.overrides,
        "key": step.key,
        "model_key": model.key,
        "samples": samples_name(cell, model.seed),
        "samples_sha256": digest,
    }


def _facts(folder: Path) -> Line:
    """What is known of a fine-tune, without times; nothing of one that is not the kit's."""
    path = folder / FACTS
    if not path.is_file():
        return {}
    loaded: Line = json.loads(path.read_text(encoding="utf-8"))
    loaded.pop("timing", None)
    return loaded


_RESULT_FIELDS = ("cell", "seed", "variant", "dataset", "prompt", "shots", "key", "samples_sha256")


def _by(names: tuple[str, str], path: Path, fields: tuple[str, ...]) -> dict[tuple[Any, Any], Line]:
    """The lines of a file by two of their fields.

    Raises:
        ReproError: a line is no JSON object, lacks a field, or is of no variant or seed (3).
    """
    found = {}
    for line in read_lines(path, fields=fields):
        seed, first = line["seed"], line[names[0]]
        if not isinstance(first, str) or not (seed is None or type(seed) is int):
            line = {}
        try:
            Variant.parse(line.get("variant", ""))
        except (ValueError, TypeError):
            raise ReproError(
                f"{path}: a line of cell or model {first!r}, seed {seed!r}, which the kit lacks",
                hint="the file was changed by hand; move the folder away and run again",
                exit_code=EXIT_MISSING,
            ) from None
        found[first, seed] = line
    return found


def note_budget(folder: Path, tokens: int | None) -> None:
    """Put beside a cell's samples with how many tokens a batch it ended, where they were reduced.

    Rows are then in other batches, which changes logits by rounding.
    """
    if tokens is not None:
        (folder / BUDGET).write_text(to_line({"evaluate_tokens": tokens}), encoding="utf-8")


def budgets(plan: Plan, store: Store) -> Line:
    """Tokens of a training pass and of a batch as planned, and what memory did not allow.

    `reduced` has the cells whose batches shrank, and the fine-tunes whose passes did: between two
    runs that differ there, numbers agree up to rounding instead of bit for bit.
    """
    compute = plan.profile.compute
    planned: Line = {
        "train_tokens": compute.train_tokens,
        "evaluate_tokens": compute.evaluate_tokens,
    }
    reduced: Line = {}
    for model in plan.models:
        told = _facts(store.path("facts", model.key)).get("machine", {})
        if "planned_token_budget" in told:
            name = model.variant.name + ("" if model.seed is None else f" seed {model.seed}")
            reduced[name] = {"train_tokens": told["token_budget"]}
        for step in model.cells:
            path = store.path("cell", step.key) / BUDGET
            if path.is_file():
                name = Path(samples_name(step.cell, model.seed)).name.removesuffix(".jsonl")
                reduced[name] = json.loads(path.read_text(encoding="utf-8"))
    return planned | {"reduced": reduced}


def write(out: Path, plan: Plan, models: Sequence[PlannedModel], store: Store) -> int:
    """Write the finished cells of these models of the plan; all other lines in the folder are kept.

    Returns:
        The number of their cells that are not finished.
    """
    lines = _by(("cell", "seed"), out / RESULTS, _RESULT_FIELDS)
    tuned = _by(("variant", "seed"), out / FINETUNES, ("variant", "seed"))
    missing = 0
    for model in models:
        own = {"variant": model.variant.name, "seed": model.seed, "key": model.key}
        if model.checkpoint:
            tuned[model.variant.name, model.seed] = own | {"given": True} | _facts(model.checkpoint)
        elif model.recipe is not None and (facts := store.find("facts", model.key)):
            tuned[model.variant.name, model.seed] = (
                own | {"dropped": model.dropped, **model.digests} | _facts(facts)
            )
        for step in model.cells:
            folder = store.find("cell", step.key)
            if folder is None:
                missing += 1
                continue
            known = lines.get((step.cell.name, model.seed))
            target = out / samples_name(step.cell, model.seed)
            source = folder / "samples.jsonl"
            digest = file_sha256(source)
            if not target.is_file() or file_sha256(target) != digest:
                write_atomically(target, source.read_bytes())
            elif known and known["key"] == step.key and known["samples_sha256"] == digest:
                continue
            lines[step.cell.name, model.seed] = result_line(
                plan, model, step, read_lines(target), digest
            )
    rank = plan.study.rank
    ranked = sorted(
        lines.values(),
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
    return missing
