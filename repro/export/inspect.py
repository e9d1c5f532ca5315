"""Results as logs of Inspect (UK AISI): a JSON file a cell, for `inspect view` and `inspect_ai`."""

import json
from pathlib import Path
from typing import Any

from repro import __version__
from repro.api import Results, Sample, Score
from repro.export.tables import about, base, models, task_of, written

VERSION = 2
"""Of Inspect's log format."""


def write_inspect(results: Results, folder: Path) -> None:
    """`MODEL/DATE_TASK_KEY.json` for every cell: Inspect lists files with such names only."""
    created = written(results).isoformat(timespec="seconds")
    date = created.replace(":", "-")
    for name, cells in models(results):
        (folder / name).mkdir()
        for cell in cells:
            text = json.dumps(_log(results, name, cell, created), indent=1, ensure_ascii=False)
            file = f"{date}_{task_of(cell).replace('.', '-')}_{cell.key}.json"
            (folder / name / file).write_text(text + "\n", encoding="utf-8")


def _log(results: Results, name: str, cell: Score, created: str) -> dict[str, Any]:
    samples = results.samples_of(cell.cell, cell.seed)
    task = task_of(cell)
    values = {cell.metric: cell.value, "stderr": cell.stderr}
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": f"{cell.key}-{cell.seed}",
            "run_id": cell.model_key,
            "created": created,
            "task": task,
            "task_id": task,
            "task_args": {"prompt": cell.prompt, "shots": cell.shots},
            "dataset": {
                "name": cell.dataset,
                "samples": cell.n,
                "sample_ids": [sample.row for sample in samples],
                "shuffled": False,
            },
            "model": f"repro/{name}",
            "model_args": {"base": base(results), "weights": cell.model_key},
            "config": {},
            "packages": {"repro-2403-09162": __version__},
            "metadata": about(results) | {"key": cell.key, "seed": cell.seed},
        },
        "results": {
            "total_samples": cell.n,
            "completed_samples": cell.n,
            "scores": [
                {
                    "name": cell.metric,
                    "scorer": cell.metric,
                    "metrics": {n: {"name": n, "value": value} for n, value in values.items()},
                }
            ],
        },
        "stats": {"started_at": created, "completed_at": created},
        "samples": [_sample(sample, f"repro/{name}", cell.metric) for sample in samples],
    }


def _sample(sample: Sample, model: str, metric: str) -> dict[str, Any]:
    answer = {"role": "assistant", "content": sample.output}
    return {
        "id": sample.row,
        "epoch": 1,
        "input": sample.prompt or "",
        "choices": list(sample.logits) if sample.logits else None,
        "target": sample.gold,
        "messages": [{"role": "user", "content": sample.prompt or ""}, answer],
        "output": {"model": model, "choices": [{"message": answer, "stop_reason": "stop"}]},
        "scores": {metric: {"value": sample.score, "answer": sample.output}},
        "metadata": {"prompt_sha256": sample.prompt_sha256, "logits": sample.logits},
    }
