"""How long a fine-tune takes by where its memory lies: computing, and moving weights and moments.

Reasoned from bytes and links, not measured, unless the self-test of the GPU has measured it.
"""

import math
from dataclasses import dataclass

from repro.finetune.recipe import ACCUMULATION, MICRO_BATCH
from repro.machine.selftest.record import Record
from repro.models.memory import BYTES, MOMENTS_BYTES
from repro.models.spec import Architecture
from repro.plan.placement import Choice
from repro.profiles.profile import Compute

MAIN = 20e9
"""Bytes a second each way between a GPU and main memory: PCIe 4.0 x16 at 80 % of its bandwidth."""

MEMORY = 1.5e12
"""Bytes a second in a GPU's own memory: an A100 of 40 GB at its rated bandwidth."""

RECOMPUTED = 4 / 3
"""Arithmetic of a step whose activations are computed twice."""

SAMPLES = MICRO_BATCH * ACCUMULATION
"""Samples of an optimiser step."""

STEP_TOKENS = 4096
"""Tokens of a step that placements are compared by: 16 samples of 256."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a fine-tune: `factor` times those that its tokens take, and `fixed` a step."""

    factor: float = 1.0
    fixed: float = 0.0

    def seconds(self, tokens: float, rate: float, steps: float) -> float:
        """Of so many tokens in so many steps, with a profile's rate in tokens a second."""
        return self.factor * tokens / rate + self.fixed * steps


def pace(sizes: Architecture, choice: Choice, *, bfloat16: bool, step_tokens: float = 0.0) -> Pace:
    """The pace of a placement; what the GPU's self-test has measured replaces what is reasoned.

    Args:
        step_tokens: of an optimiser step, from which the passes of a sharded model follow.
    """
    where, gpus, weights = choice.placement, choice.gpus, sizes.parameters
    passes = max(1, math.ceil(step_tokens / gpus / max(1, choice.tokens)))
    number = 2 * BYTES["float32"]
    if where.sharded:
        # Gathered for the forward and the backward part, gradients summed in float32.
        number = passes * (2 * BYTES["bfloat16" if bfloat16 else "float32"] + BYTES["float32"])
    fixed = number * weights * (gpus - 1) / gpus / choice.link
    if where.offloaded:
        fixed += _moved(weights / (gpus if where.sharded else 1), choice.record)
    if where.recast:
        rate = choice.record.rates.get("copy_bytes", MEMORY) if choice.record else MEMORY
        # Read and rounded in the forward and in the backward part.
        fixed += passes * 2 * weights * (BYTES["float32"] + BYTES["bfloat16"]) / rate
    return Pace((RECOMPUTED if where.sharded else 1.0) / gpus, fixed)


def training_seconds(
    compute: Compute,
    sizes: Architecture | None,
    choice: Choice | None,
    *,
    tokens: float,
    steps: float,
) -> float:
    """Seconds of so many tokens in so many steps, by a profile's rate and the pace of a placement.

    Args:
        sizes, choice: without either, of one device that holds everything.
    """
    if not tokens or not steps or sizes is None or choice is None:
        return tokens / compute.train_rate
    bfloat16 = compute.precision == "bfloat16"
    found = pace(sizes, choice, bfloat16=bfloat16, step_tokens=tokens / steps)
    return found.seconds(tokens, compute.train_rate, steps)


def _moved(weights: float, record: Record | None) -> float:
    """Seconds in which the moments of so many weights come and, at the same time, go."""
    if record and {"whole", "offloaded"} <= set(record.seconds):
        extra = max(0.0, record.seconds["offloaded"] - record.seconds["whole"])
        return extra * weights / record.parameters
    return MOMENTS_BYTES * weights / MAIN
