"""Rows and scores of tasks that `repro export tasks` wrote; lm-evaluation-harness calls it.

A copy of it lies beside the tasks, which need neither the kit nor this place.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def rows(*, cell: str, **_: Any) -> dict[str, Any]:
    """The test rows of a cell: prompt, choices, target and what scores them."""
    from datasets import Dataset

    task = json.loads((HERE / "tasks.json").read_text(encoding="utf-8"))[cell]
    lines = (HERE / task["rows"]).read_bytes().splitlines()
    found = []
    for row in map(json.loads, lines):
        labels, gold = task["labels"], row["output"]
        # A row whose annotators did not agree has a gold that is no label: no answer is right.
        target = labels.index(gold) if gold in labels else 0
        own = {"row": row["row"], "prompt": task["before"] + row["query"], "gold": gold}
        if labels:
            own |= {"choices": task["choices"], "labels": labels, "target": target}
        else:
            own |= {"target": gold, "stemmer": task["stemmer"], "cut": task["cut"]}
        found.append(own)
    return {"test": Dataset.from_list(found)}


def accuracy(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Whether the likeliest label is the gold; the first of equals counts."""
    likelihoods = [likelihood for likelihood, _ in results]
    best = doc["labels"][likelihoods.index(max(likelihoods))]
    return {"acc": float(best == doc["gold"])}


def rouge(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """ROUGE-L F1 of the text, up to its first blank line where the protocol cuts there."""
    text = results[0].split("\n\n")[0] if doc["cut"] else results[0]
    found = _scorer(doc["stemmer"]).score(doc["gold"], text)
    return {"rougeL": float(found["rougeL"].fmeasure)}


@cache
def _scorer(stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=stemmer)
