"""Cells of one model, one after the other: prompts in, per-sample records out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress
from transformers import PreTrainedModel

from repro.clock import Sizes, clock
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate.batches import Budget, in_batches
from repro.evaluate.encode import Encoded, Job, Tokenizer, encode
from repro.evaluate.forward import pad_id
from repro.evaluate.generate import generate
from repro.evaluate.prefix import SharedPrefix, segments, sharing, supports_sharing
from repro.evaluate.score import best_label, label_logits
from repro.metrics.rouge import rouge_l
from repro.paper.cells import Cell
from repro.paper.protocols import Protocol
from repro.paper.tasks import DATASETS, PROMPTS, Kind

Sample = dict[str, Any]
"""One row's record; its JSON is the same wherever the numbers are."""


Encoder = Callable[[Job, Tokenizer, Protocol], Encoded]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cells are computed.

    Attributes:
        token_budget: rows times tokens that a batch may hold, tokens to come included.
        max_new_tokens: length of a generation, already scaled to the profile's model.
        share_prefix: compute what a cell's prompts begin with once, where the model allows it.
    """

    token_budget: int
    max_new_tokens: int
    share_prefix: bool = True


def evaluate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    jobs: Sequence[Job],
    protocol: Protocol,
    settings: Settings,
    *,
    encoder: Encoder = encode,
    progress: Progress | None = None,
) -> Iterator[tuple[Cell, list[Sample]]]:
    """Evaluate cells of one model, each handed out as soon as it is done.

    Cells come ordered by data set, prompt and shots, so that contexts can be extended.

    Args:
        encoder: makes a job's prompts; one that remembers them saves work where several models
            share a tokenizer.
        progress: gets a bar that counts rows.

    Yields:
        A cell and one record a row, in the rows' order. All records begin with row, prompt_sha256
        (text without BOS), prompt_tokens (BOS included) and gold, and end with score. Between
        them, classification (score 1 or 0) has prediction and logits (by label), generation
        (score ROUGE-L F1) has text, new_tokens and stopped ("eos", "blank-line", "length").

    Raises:
        ReproError: a prompt fits neither the model's positions nor the memory (exit code 3), logits
            are not finite (1), or the tokenizer does not tell two labels apart (2).
    """
    model.eval()
    clock.sizes = Sizes.of(model)
    budget = Budget(settings.token_budget)
    share = settings.share_prefix and supports_sharing(model)
    bar = None
    if progress is not None:
        bar = progress.add_task("evaluate", total=sum(len(job.rows) for job in jobs))
    with sharing(model) if share else nullcontext() as prefix:
        for job in sorted(jobs, key=_order):
            with clock.part("prompts"):
                encoded = encoder(job, tokenizer, protocol)
            classification = job.cell.task.kind is Kind.CLASSIFICATION
            new = 0 if classification else settings.max_new_tokens
            _require_positions(model, job.cell, encoded, new)
            if prefix:
                _share(prefix, encoded, budget)
            if classification:
                answers = _answer_labels(model, tokenizer, encoded, budget, prefix)
            else:
                answers = _answer_text(
                    model, tokenizer, encoded, protocol, settings, budget, prefix
                )
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
            if progress is not None and bar is not None:
                progress.advance(bar, len(samples))
            yield job.cell, samples


def _order(job: Job) -> tuple[int, int, int]:
    """Cells whose contexts begin one another stand together, the shortest first."""
    cell = job.cell
    return list(DATASETS).index(cell.dataset), PROMPTS.index(cell.prompt), cell.shots


def _share(prefix: SharedPrefix, encoded: Encoded, budget: Budget) -> None:
    """Compute what the prompts begin with, as one batch of one row."""
    common = segments(encoded)
    length = sum(map(len, common))
    with clock.part("prefill"):
        in_batches([max(1, length)], budget, lambda rows: [prefix.move_to(common)])


def _answer_labels(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    encoded: Encoded,
    budget: Budget,
    prefix: SharedPrefix | None,
) -> list[Sample]:
    """What the records of a classification cell hold beside the prompt."""
    pad = pad_id(tokenizer)
    found = label_logits(model, encoded.prompts, encoded.labels, budget, pad=pad, prefix=prefix)
    predictions = [best_label(logits) for logits in found]
    # A gold "-" (no majority) equals no label, hence is wrong for every model (AUDIT A5).
    return [
        {"prediction": label, "logits": logits, "score": int(label == row["output"])}
        for label, logits, row in zip(predictions, found, encoded.rows, strict=True)
    ]


def _answer_text(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    encoded: Encoded,
    protocol: Protocol,
    settings: Settings,
    budget: Budget,
    prefix: SharedPrefix | None,
) -> list[Sample]:
    """What the records of a generation cell hold beside the prompt."""
    found = generate(
        model,
        tokenizer,
        encoded.prompts,
        budget,
        max_new_tokens=settings.max_new_tokens,
        cut_at_blank_line=protocol.cut_at_blank_line,
        prefix=prefix,
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


def _require_positions(model: PreTrainedModel, cell: Cell, encoded: Encoded, new: int) -> None:
    """Raise where a prompt is longer than what the model was made for."""
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, encoded.prompts)) + new
    if limit is not None and longest > limit:
        raise ReproError(
            f"{cell.name}: the longest prompt takes {longest} tokens with what is generated, "
            f"the model has {limit} positions",
            hint="leave this test set out with --tests, or use a model with a longer context",
            exit_code=EXIT_MISSING,
        )
