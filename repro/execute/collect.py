"""What a run writes into the results folder: finished cells, facts of fine-tunes, prompts."""

import json
from collections.abc import Sequence
from pathlib import Path

from repro.evaluate.encode import texts
from repro.files import file_sha256, write_atomically
from repro.finetune import FACTS
from repro.lines import Line, read_lines, to_line
from repro.metrics import summarise
from repro.plan.plan import Plan, PlannedCell, PlannedModel
from repro.plan.store import Store
from repro.results.schema import samples_name
from repro.results.texts import write_texts
from repro.results.writing import known_lines, write_lines
from repro.spec.targets import BEFORE

BUDGET = "budget.json"


def result_line(
    plan: Plan, model: PlannedModel, step: PlannedCell, samples: list[Line], digest: str
) -> Line:
    """The line of a cell: its score with all that a reader needs to know about it."""
    cell, request = step.cell, plan.request
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
        "profile": request.profile.name,
        "protocol": request.protocol_name,
        "overrides": request.overrides,
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
    compute, reduced = plan.request.profile.compute, {}
    for model in plan.models:
        told = _facts(store.path("facts", model.key)).get("machine", {})
        if "planned_token_budget" in told:
            reduced[model.name] = {"train_tokens": told["token_budget"]}
        for step in model.cells:
            path = store.path("cell", step.key) / BUDGET
            if path.is_file():
                name = Path(samples_name(step.cell, model.seed)).name.removesuffix(".jsonl")
                reduced[name] = json.loads(path.read_text(encoding="utf-8"))
    return {
        "train_tokens": compute.train_tokens,
        "evaluate_tokens": compute.evaluate_tokens,
        "reduced": reduced,
    }


def collect(out: Path, plan: Plan, models: Sequence[PlannedModel], store: Store) -> None:
    """Write the finished cells of these models; all other lines in the folder are kept."""
    lines, tuned = known_lines(out)
    for model in models:
        own = {"variant": model.variant.name, "seed": model.seed, "key": model.key}
        place = model.variant.name, model.seed
        if model.checkpoint:
            tuned[place] = own | {"given": True} | _facts(model.checkpoint)
        elif model.training is not None and (facts := store.find("facts", model.key)):
            made = {"dropped": model.training.dropped, **model.training.facts}
            tuned[place] = own | made | _facts(facts)
        for step in model.cells:
            folder = store.find("cell", step.key)
            if folder is None:
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
    write_lines(out, lines, tuned, plan.request.study.rank)


def write_prompts(out: Path, plan: Plan) -> None:
    """Write the texts of all prompts of the plan; those of other cells in the folder are kept.

    Raises:
        ReproError: too few demonstrations for a cell.
    """
    cells = {}
    for planned in (cell for model in plan.models for cell in model.cells):
        own = planned.cell
        target = own.variant.target
        home = plan.request.study.training[own.variant.train].task if target else None
        rewritten = own.shots and home == planned.asked.shown.task  # its demonstrations
        cells[
            own.dataset,
            own.prompt,
            own.demonstrations,
            target if rewritten else "",
            target if BEFORE in planned.rows.column_names else "",
        ] = planned
    lines: list[Line] = []
    for (dataset, prompt, shots, rewritten_to, target), cell in cells.items():
        rows = cell.rows.to_list()
        parts = texts(cell.asked, rows, cell.demonstrations.to_list(), plan.request.protocol)
        place: Line = {"dataset": dataset, "prompt": prompt}
        told = shots.number if shots.name.isdigit() else shots.name
        own_target = {"target": rewritten_to} if rewritten_to else {}
        lines.append(place | {"shots": told, "text": parts.before} | own_target)
        place |= {"target": target} if target else {}
        for row, text in zip(rows, parts.queries, strict=True):
            lines.append(place | {"row": row["row"], "text": text})
    write_texts(out, lines, list(plan.request.study.datasets))
