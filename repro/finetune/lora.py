"""LoRA: low-rank changes of the decoder's matrices, for cards that cannot hold a full fine-tune.

Every matrix W of a decoder layer becomes W + SCALE x B A, of which only A (rank, in) and B (out,
rank) are trained: B begins as zeros, A as peft's does (uniform within 1 / sqrt(in)). At the end the
changes are added to the matrices. Embeddings, head and norms stay as they are.
"""

from typing import Any

import torch
from torch import nn

SCALE = 2.0
"""By which the low-rank product is multiplied, whatever the rank: peft's lora_alpha / r."""


class Changed(nn.Module):
    """A frozen linear layer with a low-rank change."""

    def __init__(self, frozen: nn.Linear, rank: int, generator: torch.Generator) -> None:
        """The same A for the same generator, on any device."""
        super().__init__()
        weight = frozen.weight
        self.frozen = frozen.requires_grad_(False)
        self.down = nn.Linear(frozen.in_features, rank, bias=False, device="meta")
        self.up = nn.Linear(rank, frozen.out_features, bias=False, device="meta")
        bound = frozen.in_features**-0.5
        drawn = torch.rand(rank, frozen.in_features, generator=generator) * 2 * bound - bound
        self.down.weight = nn.Parameter(drawn.to(weight))
        self.up.weight = nn.Parameter(weight.new_zeros(frozen.out_features, rank))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The layer's output for states (..., in)."""
        output: torch.Tensor = self.frozen(states)
        return output + SCALE * self.up(self.down(states))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the change added to its weight."""
        self.frozen.weight += SCALE * (self.up.weight @ self.down.weight)
        return self.frozen


def attach(model: Any, rank: int, seed: int) -> None:
    """Freeze a model, and give each matrix of its decoder layers a change to be trained."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.get_decoder().layers:
        for parent in list(layer.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, Changed(child, rank, generator))


def merge(model: Any) -> None:
    """Add all changes to their matrices, and leave the model as it was made."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Changed):
                setattr(parent, name, child.merged())
    model.requires_grad_(True)
