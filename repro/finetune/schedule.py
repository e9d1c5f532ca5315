"""Which samples make up which optimiser step, in which order, and at which learning rate.

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
"""

import hashlib
import json
from collections.abc import Sequence

import torch

Step = list[list[int]]
"""The micro-batches of one optimiser step, as positions of samples."""


def shuffled(samples: int, epochs: int, seed: int) -> list[list[int]]:
    """An order of all samples for each epoch, from one generator seeded once."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(samples, generator=generator).tolist() for _ in range(epochs)]


def steps(order: Sequence[Sequence[int]], micro_batch: int, accumulation: int) -> list[Step]:
    """Cut the epochs' orders into optimiser steps.

    Args:
        order: sample positions, one list an epoch, all of the same length.
    """
    epochs = [
        [list(positions[i : i + micro_batch]) for i in range(0, len(positions), micro_batch)]
        for positions in order
    ]
    length = len(epochs[0])
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
