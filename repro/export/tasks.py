"""Test sets as tasks of lm-evaluation-harness, with the very prompts of a protocol.

A task a cell, such as `repro_amazon_p1_4`: its texts are those that the kit gives to a model of
this tokenizer, BOS tokens included, so the harness must add none (`add_bos_token=False`). The
choices are the parts of labels that are scored: a label's first token.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.evaluate.encode import Encoded, Job, bos_count, encode, texts
from repro.export import harness_functions
from repro.lines import to_line
from repro.plan.plan import Plan, PlannedCell
from repro.spec.prompts import SEPARATOR

FUNCTIONS = Path(harness_functions.__file__)
TASKS = "tasks.json"


def write_tasks(plan: Plan, tokenizer: Any, folder: Path) -> list[str]:
    """A YAML file a cell of the plan's models, with the rows and functions that they need.

    Returns:
        The names of tasks that are left out: a token that the protocol scores for a label is no
        beginning of it behind the prompt (AUDIT A5), and the harness scores texts.
    """
    protocol = plan.request.protocol
    cells = {_name(cell): cell for model in plan.models for cell in model.cells}
    (folder / "rows").mkdir()
    shutil.copy(FUNCTIONS, folder)
    found: dict[str, Any] = {}
    inexpressible = []
    for name, cell in cells.items():
        job = Job(cell.asked, cell.rows, cell.demonstrations)
        encoded = encode(job, tokenizer, protocol)
        parts = texts(cell.asked, encoded.rows, cell.demonstrations.to_list(), protocol)
        scored = choices(tokenizer, parts.before + parts.queries[0], encoded)
        if None in scored:
            inexpressible.append(name)
            continue
        rows = f"rows/{cell.cell.dataset}_{cell.cell.prompt}.jsonl"
        lines = [
            {"row": row["row"], "query": query, "output": row["output"]}
            for row, query in zip(encoded.rows, parts.queries, strict=True)
        ]
        (folder / rows).write_text("".join(map(to_line, lines)), encoding="utf-8")
        bos = (tokenizer.bos_token or "") * bos_count(cell.asked, tokenizer, protocol)
        found[name] = {
            "rows": rows,
            "before": bos + parts.before,
            "labels": list(encoded.labels),
            "choices": scored,
            "stemmer": protocol.rouge_stemmer,
            "cut": protocol.cut_at_blank_line,
        }
        (folder / f"{name}.yaml").write_text(_yaml(plan, name, cell), encoding="utf-8")
    (folder / TASKS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return inexpressible


def choices(tokenizer: Any, prompt: str, encoded: Encoded) -> Sequence[str | None]:
    """Of each label the shortest beginning that is its scored token behind a prompt, if any is."""
    return [_beginning(tokenizer, prompt, label, token) for label, token in encoded.labels.items()]


def _beginning(tokenizer: Any, prompt: str, label: str, token: int) -> str | None:
    # A blank may belong to the token: where the prompt's own was stripped.
    for joint in ("", " "):
        for length in range(1, len(label) + 1):
            text = joint + label[:length]
            if tokenizer(prompt + text, add_special_tokens=False)["input_ids"][-1] == token:
                return text
    return None


def _name(cell: PlannedCell) -> str:
    own = cell.cell
    return f"repro_{own.dataset}_{own.prompt}_{own.demonstrations.name}"


def _yaml(plan: Plan, name: str, cell: PlannedCell) -> str:
    if cell.asked.task.labels:
        form = "output_type: multiple_choice\ndoc_to_choice: choices\n"
        score, metric = "accuracy", "acc"
    else:
        until = [SEPARATOR] if plan.request.protocol.cut_at_blank_line else []
        settings = {"until": until, "max_gen_toks": plan.settings.max_new_tokens}
        form = f"output_type: generate_until\ngeneration_kwargs: {json.dumps(settings)}\n"
        score, metric = "rouge", "rougeL"
    return (
        f"# {cell.cell.dataset} of arXiv 2403.09162, protocol {plan.request.protocol_name}\n"
        f"task: {name}\n"
        f"tag: [repro, repro_{cell.cell.dataset}]\n"
        f"custom_dataset: !function {FUNCTIONS.stem}.rows\n"
        f"metadata: {json.dumps({'version': 1, 'cell': name})}\n"
        f"test_split: test\n{form}"
        "doc_to_text: prompt\ndoc_to_target: target\ntarget_delimiter: ''\n"
        f"process_results: !function {FUNCTIONS.stem}.{score}\n"
        f"metric_list:\n- metric: {metric}\n  aggregation: mean\n  higher_is_better: true\n"
    )
