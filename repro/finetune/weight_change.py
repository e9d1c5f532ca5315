"""How far fine-tuning moved the weights from the base (section 5.3 of the paper)."""

import re
from collections import defaultdict
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import reduce  # type: ignore[import-untyped]
from torch.distributed.tensor import DTensor

from repro.finetune.shard import is_sharded, own


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights in main memory, in the dtype they have; of a sharded model its part."""
    return {
        name: own(parameter).detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
    }


def mean_absolute_change(
    model: Any, before: dict[str, torch.Tensor], vocabulary: int
) -> dict[str, Any]:
    """Mean over all weights of |fine-tuned - base|, in all and by kind of weight.

    Rows added for a pad token are left out: the base has none. Tied weights count once. For a
    sharded model, all processes add up their parts.

    Args:
        before: from `snapshot`.
        vocabulary: rows of the embedding before any were added.

    Returns:
        {"all": mean, "by_weight": {"model.layers.*.mlp.up_proj.weight": mean, ...}}.
    """
    embedding = model.get_input_embeddings().num_embeddings
    sharded, main = is_sharded(model), PartialState().is_main_process
    moved: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        kind = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        after, old = own(parameter).detach(), before[name]
        if not isinstance(parameter, DTensor) and len(old) == embedding:
            after, old = after[:vocabulary], old[:vocabulary]
        difference = after.double() - old.to(after.device).double()
        counted = not sharded or main or isinstance(parameter, DTensor)
        moved[kind] += difference.abs().sum().item() * counted
        count[kind] += difference.numel() * counted
    if sharded:
        sums = torch.tensor([list(moved.values()), list(count.values())], dtype=torch.float64)
        for kind, total, weights in zip(
            moved, *reduce(sums.to(model.device), "sum").tolist(), strict=True
        ):
            moved[kind], count[kind] = total, int(weights)
    return {
        "all": sum(moved.values()) / sum(count.values()),
        "by_weight": {kind: moved[kind] / count[kind] for kind in sorted(moved)},
    }
