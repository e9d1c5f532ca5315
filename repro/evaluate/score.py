"""Label scoring: one forward pass a prompt, never decoding (paper section 3; AUDIT A5)."""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from repro import clock
from repro.evaluate.batches import PADDING, Budget, in_batches
from repro.evaluate.forward import prefill, require_finite
from repro.evaluate.prefix import SharedPrefix
from repro.machine.transfer import to_device


def label_logits(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    labels: Mapping[str, int],
    budget: Budget,
    *,
    pad: int,
    prefix: SharedPrefix | None = None,
) -> list[dict[str, float]]:
    """The logit of each label's token behind each prompt, as exact float32 values.

    Args:
        labels: label -> token id.
        pad: id that fills short rows; masked.
        prefix: holds what all prompts begin with; None computes each prompt whole.

    Raises:
        ReproError: a logit is not finite, or a single prompt does not fit into memory.
    """
    ids = to_device(torch.tensor(list(labels.values())), model.device)

    def work(rows: list[int]) -> list[dict[str, float]]:
        with clock.part("prefill"):
            batch = prefill(model, [prompts[row] for row in rows], prefix, pad=pad)
            values = require_finite(batch.logits[:, ids]).float().tolist()
        return [dict(zip(labels, row, strict=True)) for row in values]

    costs = [prefix.cost(prompt) if prefix else len(prompt) for prompt in prompts]
    return in_batches(costs, budget, work, padding=PADDING)


def best_label(logits: Mapping[str, float]) -> str:
    """The label with the largest logit; of equal ones the first."""
    return max(logits, key=lambda label: logits[label])
