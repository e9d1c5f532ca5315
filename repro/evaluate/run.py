"""Cells of one model, one after the other: prompts in, per-sample records out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

from rich.progress import Progress

from repro import clock
from repro.bars import paced
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate.encode import Encoded, Job, Settings, Tokenizer, encode
from repro.evaluate.engine import Engine
from repro.evaluate.forward import best_label
from repro.metrics.rouge import rouge_l
from repro.spec.cells import Cell
from repro.spec.protocol import Protocol
from repro.spec.tasks import Kind

Sample = dict[str, Any]
"""One row's record; its JSON is the same wherever the numbers are."""

Encoder = Callable[[Job, Tokenizer, Protocol], Encoded]


def evaluate(
    engine: Engine,
    jobs: Sequence[Job],
    protocol: Protocol,
    settings: Settings,
    *,
    encoder: Encoder = encode,
    progress: Progress | None = None,
) -> Iterator[tuple[Cell, list[Sample]]]:
    """Evaluate cells of one model, each handed out as soon as it is done.

    Cells come grouped by data set and prompt, in the order in which these first appear, and then by
    shots, so that contexts can be extended. While the model computes one, the prompts of the next
    are made.

    Args:
        engine: has the model; inside its `with` block.
        encoder: makes a job's prompts; one that remembers them saves work where several models
            share a tokenizer.

    Yields:
        A cell and one record a row, in the rows' order. All records begin with row, prompt_sha256
        (text without BOS), prompt_tokens (BOS included) and gold, and end with score. Between
        them, classification (score 1 or 0) has prediction and logits (by label), generation
        (score ROUGE-L F1) has text, new_tokens and stopped ("eos", "blank-line", "length").

    Raises:
        ReproError: a prompt fits neither the model's positions nor the memory (exit code 3), logits
            are not finite (1), or the tokenizer does not tell two labels apart (2).
    """
    ordered = _ordered(jobs)
    total, done = sum(len(job.rows) for job in jobs), 0
    # A tokenizer must not be used by two threads at once.
    own = deepcopy(engine.tokenizer)
    with paced(progress, "evaluating", total, "rows") as show:
        for job, encoded in _ahead(ordered, lambda job: encoder(job, own, protocol)):
            classification = job.asked.task.kind is Kind.CLASSIFICATION
            new = engine.score_tokens if classification else settings.max_new_tokens
            _require_positions(engine, job.cell, encoded, new)
            if classification:
                answers = _answer_labels(engine, encoded)
            else:
                answers = _answer_text(engine, encoded, protocol, new)
            samples = [
                {
                    "row": row["row"],
                    "prompt_sha256": digest,
                    "prompt_tokens": len(prompt),
                    "gold": row["output"],
                    **answer,
                }
                for row, digest, prompt, answer in zip(
                    encoded.rows, encoded.hashes, encoded.prompts, answers, strict=True
                )
            ]
            done += len(samples)
            show(done, done, "")
            yield job.cell, samples


def _ahead(jobs: Sequence[Job], encode: Callable[[Job], Encoded]) -> Iterator[tuple[Job, Encoded]]:
    """Each job with its prompts; those of the next are made while the caller is busy."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = None
        for job, following in zip(jobs, [*jobs[1:], None], strict=True):
            with clock.part("prompts"):
                encoded = coming.result() if coming else encode(job)
            coming = thread.submit(encode, following) if following else None
            yield job, encoded


def _ordered(jobs: Sequence[Job]) -> list[Job]:
    """Cells whose contexts begin one another stand together, the shortest first."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        cell, own = job.cell, job.cell.demonstrations
        groups.setdefault((cell.dataset, cell.prompt, own.choice, own.source), []).append(job)
    return [job for own in groups.values() for job in sorted(own, key=lambda job: job.cell.shots)]


def _answer_labels(engine: Engine, encoded: Encoded) -> list[Sample]:
    """What the records of a classification cell hold beside the prompt."""
    found = engine.label_logits(encoded)
    predictions = [best_label(logits) for logits in found]
    # A gold "-" (no majority) equals no label, hence is wrong for every model (AUDIT A5).
    return [
        {"prediction": label, "logits": logits, "score": int(label == row["output"])}
        for label, logits, row in zip(predictions, found, encoded.rows, strict=True)
    ]


def _answer_text(engine: Engine, encoded: Encoded, protocol: Protocol, new: int) -> list[Sample]:
    """What the records of a generation cell hold beside the prompt."""
    found = engine.generate(
        encoded, max_new_tokens=new, cut_at_blank_line=protocol.cut_at_blank_line
    )
    with clock.part("metrics"):
        return [
            {
                "text": generation.text,
                "new_tokens": len(generation.tokens),
                "stopped": generation.stopped,
                "score": rouge_l(row["output"], generation.text, stemmer=protocol.rouge_stemmer),
            }
            for generation, row in zip(found, encoded.rows, strict=True)
        ]


def _require_positions(engine: Engine, cell: Cell, encoded: Encoded, new: int) -> None:
    """Raise where a prompt is longer than what the model was made for."""
    limit = engine.positions
    longest = max(map(len, encoded.prompts)) + new
    if limit is not None and longest > limit:
        raise ReproError(
            f"{cell.name}: the longest prompt takes {longest} tokens with what is generated, "
            f"the model has {limit} positions",
            hint="leave this test set out with --tests, or use a model with a longer context",
            exit_code=EXIT_MISSING,
        )
