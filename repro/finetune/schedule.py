"""Which samples make up which optimiser step and pass, with which weights and learning rate.

As in the trainer of transformers 4.36.2 on accelerate 0.25.0, whose loop was read (and run, see
the README): an epoch is cut into micro-batches, the last one may be smaller; the planned number of
steps is epochs x (micro-batches // accumulation), at least one an epoch; the learning rate falls
linearly over the planned steps. Micro-batches are counted across epochs, so those left at the end
of an epoch are not dropped: their gradients stay and the step is completed by the next epoch.
Training ends with the planned number of steps, and what is left then is never used. Only where an
epoch has no more micro-batches than one step takes, each epoch's end closes a step, however small;
the division by `accumulation` stays as it is.

Example: 5,986 rows are 2,993 micro-batches an epoch; 374 steps leave one micro-batch, which opens
the first step of the second epoch. 748 steps in all; the last two micro-batches are never used.

A step's objective is a weighted sum over label tokens, so its gradient does not depend on how the
samples are spread over passes. Dead samples, whose gradient is zero, are left out.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from repro.finetune.encode import Sample
from repro.spec.prompts import common_prefix

Step = list[list[int]]
"""The micro-batches of one optimiser step, as positions of samples."""

MIN_SHARED = 16
"""Tokens that a step's samples must begin with alike before a pass of their own is worth it."""

Weighted = tuple[Sample, float]
"""A living sample and the weight of each of its label tokens in the step's loss."""

Weighting = Literal["micro-batch", "step-tokens"]


def shuffled(samples: int, epochs: int, seed: int) -> list[list[int]]:
    """An order of all samples for each epoch, from one generator seeded once."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(samples, generator=generator).tolist() for _ in range(epochs)]


def steps(order: Sequence[Sequence[int]], micro_batch: int, accumulation: int) -> list[Step]:
    """Cut orders of sample positions, one an epoch and all equally long, into optimiser steps."""
    starts = range(0, len(order[0]), micro_batch)
    epochs = [[list(positions[i : i + micro_batch]) for i in starts] for positions in order]
    length = len(starts)
    planned = len(epochs) * max(1, length // accumulation)
    done: list[Step] = []
    open_step: Step = []
    seen = 0
    for micro_batches in epochs:
        for place, positions in enumerate(micro_batches, 1):
            seen += 1
            open_step.append(positions)
            if seen % accumulation == 0 or (place == length <= accumulation):
                done.append(open_step)
                open_step = []
                if len(done) == planned:
                    return done
    raise AssertionError("every epoch closes its share of the planned steps")


def learning_rate(start: float, step: int, total: int) -> float:
    """The rate of a step (counted from 0): linear decay from `start`, 0 after the last."""
    return start * ((total - step) / total)


def digest(order: Sequence[Sequence[int]]) -> str:
    """SHA-256 of the order, which tells whether two runs saw their samples alike."""
    text = json.dumps([list(positions) for positions in order], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def weigh(
    step: Step, samples: Sequence[Sample], weighting: Weighting, accumulation: int
) -> list[list[Weighted]]:
    """The living samples of each micro-batch of a step, with their weights.

    "micro-batch": 1 / (accumulation x label tokens of its micro-batch). A dead micro-batch adds
    nothing, and accumulation counts it all the same. "step-tokens": 1 / label tokens of the step.
    """
    groups = [[samples[position] for position in positions] for positions in step]
    counts = [sum(sample.labels for sample in group) for group in groups]
    total = sum(counts)
    scale = [accumulation * n if weighting == "micro-batch" else total for n in counts]
    pairs = zip(groups, scale, strict=True)
    return [[(sample, 1 / n) for sample in group if sample.labels] for group, n in pairs]


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
