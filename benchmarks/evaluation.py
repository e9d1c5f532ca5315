"""Evaluation of SmolLM2-135M on the authors' data, against lm-evaluation-harness and transformers.

The same prompts, dtype and threads for all three, one after the other in one process, repeated in
turn; answers are compared. lm-eval gets the prompts as a custom task and scores the same label
tokens; transformers generates on left-padded batches, sorted by length. The targets are 4 times
lm-eval over all shot counts, and 6 times at the largest. "Of matmul rate" is the kit's arithmetic,
padding left out, by second over that of a large matrix product on as many threads: the same
arithmetic cannot be done faster than at 100 %.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks._small import Times, interleaved, load_small
from repro.errors import EXIT_MISSING, ReproError
from repro.studies.paper.study import study

Row = dict[str, object]
DATASETS = ("amazon", "socialqa")
BATCH = 32
SYSTEMS = ("kit", "lm-eval", "transformers")


def _lm_eval() -> Any:
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    try:
        import lm_eval
    except ModuleNotFoundError as error:
        raise ReproError(
            f"this benchmark compares with lm-evaluation-harness: {error}",
            hint="pip install -e '.[run,small,bench]'",
            exit_code=EXIT_MISSING,
        ) from None
    return lm_eval


def by_harness(model: Any, tokenizer: Any, encoded: Any, texts: list[str], new: int) -> list[str]:
    """Answers of lm-evaluation-harness to the texts: labels, or generations of `new` tokens."""
    lm_eval = _lm_eval()
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    labels = list(encoded.labels)
    rows = Dataset.from_list([{"text": text, "target": 0} for text in texts])
    config: dict[str, Any] = {
        "task": "cell",
        "custom_dataset": lambda **_: {"test": rows},
        "test_split": "test",
        "doc_to_text": "text",
        "doc_to_target": "target",
        "target_delimiter": "",
    }
    if labels:
        scored = [tokenizer.decode([token]) for token in encoded.labels.values()]
        config |= {"output_type": "multiple_choice", "doc_to_choice": scored}
    else:
        until = {"until": ["\n\n"], "max_gen_toks": new, "do_sample": False}
        config |= {"output_type": "generate_until", "generation_kwargs": until}
        config |= {"doc_to_target": "text"}
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device="cpu")
    found = lm_eval.simple_evaluate(
        model=harness, tasks=[ConfigurableTask(config=config)], bootstrap_iters=0
    )
    samples = sorted(found["samples"]["cell"], key=lambda sample: sample["doc_id"])
    if not labels:
        return [sample["filtered_resps"][0] for sample in samples]
    likelihoods = [[value for value, _ in sample["filtered_resps"]] for sample in samples]
    return [labels[values.index(max(values))] for values in likelihoods]


def by_transformers(
    model: Any, tokenizer: Any, encoded: Any, texts: list[str], new: int
) -> list[str]:
    """Answers of `generate` on left-padded batches; for labels one token, by its logits."""
    import torch

    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    ids = torch.tensor(list(encoded.labels.values()))
    order = sorted(range(len(texts)), key=lambda row: -len(encoded.prompts[row]))
    answers: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = tokenizer([texts[row] for row in rows], return_tensors="pt", padding=True)
        told = model.generate(
            **batch,
            max_new_tokens=new or 1,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=not new,
        )
        if new:
            own = told.sequences[:, batch["input_ids"].shape[1] :]
            found = tokenizer.batch_decode(own, skip_special_tokens=True)
            answers |= zip(rows, (text.split("\n\n")[0] for text in found), strict=True)
        else:
            best = told.logits[0][:, ids].argmax(-1).tolist()
            answers |= zip(rows, (list(encoded.labels)[i] for i in best), strict=True)
    return [answers[row] for row in range(len(texts))]


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table: a cell each, and all shot counts of a set together."""
    _lm_eval()
    from repro import clock
    from repro.data.upstream import UpstreamData, locate
    from repro.evaluate import Job, Settings, TorchEngine, evaluate
    from repro.evaluate.encode import encode
    from repro.evaluate.encode import texts as prompt_texts
    from repro.execute.timing import ARITHMETIC, matmul_rate
    from repro.spec.cells import Cell
    from repro.spec.tasks import Part
    from repro.studies.paper.protocols import protocol
    from repro.studies.paper.tasks import DATASETS as SETS

    profile, model, tokenizer = load_small(1)
    rate = matmul_rate(profile.compute)
    data = UpstreamData(locate(None))
    switches = protocol(profile.protocol)
    count = 4 if small else 32
    table: list[Row] = []
    for dataset in DATASETS:
        every: list[dict[str, Times]] = []
        sums = 0.0
        for shots in SETS[dataset].task.shots[-1:] if small else SETS[dataset].task.shots:
            job = Job(
                study().evaluation(Cell.parse(f"base.{dataset}.p1.{shots}")),
                data.rows(Part("test", dataset), SETS[dataset].task).select(range(count)),
                data.rows(Part("demonstrations", dataset), SETS[dataset].task),
            )
            new = 0 if job.asked.task.labels else switches.max_new_tokens
            settings = Settings(
                token_budget=profile.compute.evaluate_tokens, max_new_tokens=max(1, new)
            )
            encoded = encode(job, tokenizer, switches)
            parts = prompt_texts(job.asked, encoded.rows, job.demonstrations.to_list(), switches)
            texts = [parts.before + query for query in parts.queries]
            answers: dict[str, list[str]] = {}
            measured = clock.Clock()

            def by_kit(job: Any = job, settings: Any = settings) -> list[str]:
                nonlocal measured
                with (
                    clock.measuring() as measured,
                    TorchEngine(model, tokenizer, settings) as engine,
                ):
                    ((_, samples),) = evaluate(engine, [job], switches, settings)
                return [str(s.get("prediction", s.get("text"))) for s in samples]

            def told(name: str, answer: Callable[[], list[str]], to: Any = answers) -> Any:
                return lambda: to.__setitem__(name, answer())

            given = (model, tokenizer, encoded, texts, new)
            times = interleaved(
                {
                    "kit": told("kit", by_kit),
                    "lm-eval": told("lm-eval", lambda given=given: by_harness(*given)),
                    "transformers": told(
                        "transformers", lambda given=given: by_transformers(*given)
                    ),
                },
                1 if small else repeats,
            )
            every.append(times)
            flops = sum(map(measured.flops, ARITHMETIC))
            sums += flops
            table.append(_row(f"{dataset}, {shots} shots", times, answers, flops / rate))
        table.append(_row(f"{dataset}, all shot counts", _total(every), {}, sums / rate))
    return table


def _total(every: Sequence[dict[str, Times]]) -> dict[str, Times]:
    """Each repetition's sum over cells."""
    return {
        name: Times(
            [sum(one) for one in zip(*(times[name].wall for times in every), strict=True)],
            [sum(one) for one in zip(*(times[name].cpu for times in every), strict=True)],
        )
        for name in SYSTEMS
    }


def _row(what: str, times: dict[str, Times], answers: dict[str, list[str]], least: float) -> Row:
    """A row of the table; `least` is the seconds of the kit's arithmetic at the matmul rate."""
    kit = times["kit"]
    row: Row = {"cells": what, "repeats": len(kit.wall)}
    row |= {f"{name}, s": f"{times[name].median:.1f}" for name in SYSTEMS}
    for name in SYSTEMS[1:]:
        row[f"{name} / kit"] = f"{times[name].median / kit.median:.1f}"
        row[f"{name} / kit, CPU"] = f"{sum(times[name].cpu) / sum(kit.cpu):.1f}"
    row["of matmul rate"] = f"{least / kit.median:.0%}"
    own = answers.get("kit", [])
    row["answers equal"] = ", ".join(
        f"{sum(a.strip() == b.strip() for a, b in zip(own, other, strict=True))}/{len(own)}"
        for name, other in answers.items()
        if name != "kit"
    )
    return row
