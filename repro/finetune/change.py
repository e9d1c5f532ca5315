"""How far fine-tuning moved the weights from the base (section 5.3 of the paper)."""

import re
from collections import defaultdict
from typing import Any

import torch


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights in main memory, in the dtype they have."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
    }


def mean_absolute_change(
    model: Any, before: dict[str, torch.Tensor], vocabulary: int
) -> dict[str, Any]:
    """Mean over all weights of |fine-tuned - base|, in all and by kind of weight.

    Rows added for a pad token are left out: the base has none. Tied weights count once.

    Args:
        before: from `snapshot`.
        vocabulary: rows of the embedding before any were added.

    Returns:
        {"all": mean, "by_weight": {"model.layers.*.mlp.up_proj.weight": mean, ...}}.
    """
    embedding = model.get_input_embeddings().num_embeddings
    moved: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        kind = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        after, old = parameter.detach(), before[name]
        if len(old) == embedding:
            after, old = after[:vocabulary], old[:vocabulary]
        difference = after.double() - old.to(after.device).double()
        moved[kind] += difference.abs().sum().item()
        count[kind] += difference.numel()
    return {
        "all": sum(moved.values()) / sum(count.values()),
        "by_weight": {kind: moved[kind] / count[kind] for kind in sorted(moved)},
    }
