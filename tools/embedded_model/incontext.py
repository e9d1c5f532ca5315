"""How well the embedded base model learns in context: a plain measurement, without the pipeline.

Used after pre-training and by the tests; kept apart from `repro.evaluate` on purpose, so that the
two can be held against each other.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from repro.data.embedded import EmbeddedData
from repro.spec.prompts import SEPARATOR, context, fill
from repro.spec.tasks import Part, Task
from repro.studies.paper.prompts import template
from repro.studies.paper.tasks import DATASETS

BATCH = 50
NEW_TOKENS = 20


def scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    dataset: str,
    shots: int,
    *,
    rows: int,
    prompt: str = "p1",
) -> list[float]:
    """ROUGE-L F1 or 0/1 of each of the first test rows, in file order."""
    task = DATASETS[dataset].task
    source = EmbeddedData()
    shown = source.rows(Part("demonstrations", dataset), task).select(range(shots))
    before = context(task, template(task, prompt), list(shown))
    tests = list(source.rows(Part("test", dataset), task).select(range(rows)))
    return scored(model, tokenizer, task, tests, before=before, prompt=prompt)


@torch.no_grad()
def scored(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    task: Task,
    tests: Sequence[Mapping[str, str]],
    *,
    before: str = "",
    prompt: str = "p1",
) -> list[float]:
    """ROUGE-L F1 or 0/1 of each row, behind the text `before`.

    Labels are scored by the logit of their only token behind the prompt; text is generated
    greedily up to a blank line, the end token or 20 tokens.
    """
    text = template(task, prompt)
    prompts = [tokenizer(before + fill(task, text, row)).input_ids for row in tests]
    blank = tokenizer.convert_tokens_to_ids(SEPARATOR)
    rouge = RougeScorer(["rougeL"])
    found: list[float] = []
    for start in range(0, len(tests), BATCH):
        some = prompts[start : start + BATCH]
        longest = max(map(len, some))
        padding = [longest - len(ids) for ids in some]
        ids = torch.tensor([[0] * pad + row for pad, row in zip(padding, some, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in padding])
        golds = [row["output"] for row in tests[start : start + BATCH]]
        if task.labels:
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            logits = model(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1
            ).logits[:, -1, [tokenizer.convert_tokens_to_ids(label) for label in task.labels]]
            found += [
                float(task.labels[best] == gold)
                for best, gold in zip(logits.argmax(-1).tolist(), golds, strict=True)
            ]
        else:
            made = model.generate(  # type: ignore[operator]  # transformers mixes it in
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=[tokenizer.eos_token_id, blank],
            )
            for new, gold in zip(made[:, longest:], golds, strict=True):
                said = str(tokenizer.decode(new, skip_special_tokens=True)).split(SEPARATOR)[0]
                found.append(rouge.score(gold, said)["rougeL"].fmeasure)
    return found


def table(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    rows: int,
    prompt: str = "p1",
    datasets: Iterable[str] = tuple(DATASETS),
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard error and n by data set and number of shots."""
    model.eval()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for dataset in datasets:
        found[dataset] = {}
        for shots in DATASETS[dataset].task.shots:
            values = scores(model, tokenizer, dataset, shots, rows=rows, prompt=prompt)
            mean = sum(values) / rows
            spread = sum((value - mean) ** 2 for value in values) / (rows - 1)
            found[dataset][str(shots)] = {
                "mean": round(mean, 4),
                "stderr": round(math.sqrt(spread / rows), 4),
                "n": rows,
            }
    return found
