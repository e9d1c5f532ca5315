"""Which tokens of an optimiser step weigh how much, and which samples share a forward pass.

The step's objective is a weighted sum over label tokens, so its gradient does not depend on how
the samples are spread over passes. Dead samples, whose gradient is zero, are left out.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from repro.finetune.encode import Sample
from repro.finetune.schedule import Step
from repro.spec.prompts import common_prefix

MIN_SHARED = 16
"""Tokens that a step's samples must begin with alike before a pass of their own is worth it."""

Weighted = tuple[Sample, float]
"""A living sample and the weight of each of its label tokens in the step's loss."""


def weigh(
    step: Step,
    samples: Sequence[Sample],
    weighting: Literal["micro-batch", "step-tokens"],
    accumulation: int,
) -> list[list[Weighted]]:
    """The living samples of each micro-batch of a step, with their weights.

    "micro-batch": 1 / (accumulation x label tokens of its micro-batch). A dead micro-batch adds
    nothing, and accumulation counts it all the same. "step-tokens": 1 / label tokens of the step.
    """
    groups = [[samples[position] for position in positions] for positions in step]
    counts = [sum(sample.labels for sample in group) for group in groups]
    total = sum(counts)
    scale = [accumulation * n if weighting == "micro-batch" else total for n in counts]
    return [
        [(sample, 1 / divisor) for sample in group if sample.labels]
        for group, divisor in zip(groups, scale, strict=True)
    ]


def shared_tokens(weighted: Sequence[Weighted]) -> int:
    """How many first tokens to compute once: common to all, before any label's predictor."""
    if len(weighted) < 2:
        return 0
    alike = common_prefix([sample.ids for sample, _ in weighted])
    count = min(alike, min(sample.masked for sample, _ in weighted) - 1)
    return count if count >= MIN_SHARED else 0


def passes(weighted: Sequence[Weighted], shared: int, budget: int) -> Iterator[list[Weighted]]:
    """Cut samples into forward passes of at most `budget` tokens, longest first.

    The shared tokens count once in every pass, as all passes hold on to them. A sample that alone
    is longer than the budget gets a pass of its own.
    """
    chosen: list[Weighted] = []
    tokens = shared
    for pair in sorted(weighted, key=lambda pair: -len(pair[0].ids)):
        own = len(pair[0].ids) - shared
        if chosen and tokens + own > budget:
            yield chosen
            chosen, tokens = [], shared
        chosen.append(pair)
        tokens += own
    if chosen:
        yield chosen
