"""What happened in a fine-tune, as its model's folder tells it. Needs no torch."""

from dataclasses import dataclass
from typing import Any

FACTS = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What happened in a fine-tune.

    Attributes:
        recipe: the recipe's settings.
        task: name of the task; demonstrations: how many stood before every row.
        order_sha256: digest of the order of samples.
        samples: rows; steps: optimiser steps taken.
        input_tokens: of one epoch, after cutting; label_tokens: those that carry a label.
        cut_targets: samples that lost a part of their target; dead_samples: all of it.
        dead_micro_batches: micro-batches without any label, for each epoch.
        unused_samples: samples at the very end of the order that fill no whole step.
        losses: of each step, the objective whose gradient was taken (under "micro-batch" dead
            micro-batches count as 0); null where the step had no label.
        gradient_norms: of each step, before clipping.
        weight_change: mean |fine-tuned - base| over all weights as saved, see `weight_change`.
        versions: of the packages; machine: device, threads, processes, token budget at the end
            (and the planned one, where memory ran out), and where the memory lay.
        timing: seconds and tokens a second; the only part that differs between equal runs.
    """

    recipe: dict[str, Any]
    task: str
    demonstrations: int
    order_sha256: str
    samples: int
    steps: int
    input_tokens: int
    label_tokens: int
    cut_targets: int
    dead_samples: int
    dead_micro_batches: list[int]
    unused_samples: int
    losses: list[float | None]
    gradient_norms: list[float]
    weight_change: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    timing: dict[str, float]
