"""Results as lm-evaluation-harness writes them: a folder a model, read by what reads its logs.

A task is a cell without its model, such as `amazon.p1.4`. Where the harness has log-likelihoods of
choices, these have the logits of the labels, which order them alike; the model's other logits are
not known, so neither is which choice was greedy.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from repro import __version__
from repro.api import Results, Sample, Score
from repro.export.tables import about, models, task_of, written
from repro.lines import to_line

METRICS = {"accuracy": "acc", "rougeL": "rougeL"}


def write_harness(results: Results, folder: Path) -> None:
    """`MODEL/results_DATE.json` and `MODEL/samples_TASK_DATE.jsonl` for every model."""
    when = written(results)
    date = when.strftime("%Y-%m-%dT%H-%M-%S.%f")
    for name, cells in models(results):
        own = folder / name
        own.mkdir()
        tasks, key = {task_of(cell): cell for cell in cells}, cells[0].model_key
        summary = {
            "results": {task: _scores(task, cell) for task, cell in tasks.items()},
            "group_subtasks": {task: [] for task in tasks},
            "configs": {task: _config(task, cell) for task, cell in tasks.items()},
            "versions": dict.fromkeys(tasks, 1),
            "n-shot": {task: cell.shots for task, cell in tasks.items()},
            "higher_is_better": {task: {METRICS[c.metric]: True} for task, c in tasks.items()},
            "n-samples": {t: {"original": c.n, "effective": c.n} for t, c in tasks.items()},
            "config": {"model": "repro", "model_args": about(results) | {"weights": key}},
            "git_hash": None,
            "date": when.timestamp(),
            "lm_eval_version": None,
            "repro_version": __version__,
            "model_source": "repro",
            "model_name": name,
            "model_name_sanitized": name,
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (own / f"results_{date}.json").write_text(text + "\n", encoding="utf-8")
        for task, cell in tasks.items():
            samples = results.samples_of(cell.cell, cell.seed)
            lines = "".join(to_line(_sample(sample, METRICS[cell.metric])) for sample in samples)
            (own / f"samples_{task}_{date}.jsonl").write_text(lines, encoding="utf-8")


def _scores(task: str, cell: Score) -> dict[str, Any]:
    metric = METRICS[cell.metric]
    return {
        "name": task,
        "alias": task,
        "sample_len": cell.n,
        f"{metric},none": cell.value,
        f"{metric}_stderr,none": cell.stderr,
    }


def _config(task: str, cell: Score) -> dict[str, Any]:
    return {
        "task": task,
        "output_type": "multiple_choice" if cell.metric == "accuracy" else "generate_until",
        "num_fewshot": cell.shots,
        "metadata": {"key": cell.key, "prompt": cell.prompt, "dataset": cell.dataset},
    }


def _sample(sample: Sample, metric: str) -> dict[str, Any]:
    prompt = sample.prompt or ""
    if sample.logits is None:
        arguments = [(prompt, "")]
        answers: list[Any] = [sample.output]
    else:
        arguments = [(prompt, label) for label in sample.logits]
        answers = [[str(logit), ""] for logit in sample.logits.values()]
    doc = {"row": sample.row, "gold": sample.gold}
    return {
        "doc_id": sample.row,
        "doc": doc,
        "target": sample.gold,
        "arguments": {
            f"gen_args_{place}": {"arg_0": first, "arg_1": second}
            for place, (first, second) in enumerate(arguments)
        },
        "resps": [[answer] for answer in answers],
        "filtered_resps": answers,
        "filter": "none",
        "metrics": [metric],
        "doc_hash": _sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sample.prompt_sha256,
        "target_hash": _sha256(sample.gold),
        metric: sample.score,
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
