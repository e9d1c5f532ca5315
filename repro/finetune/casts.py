"""Linear layers in bfloat16 on float32 weights, as autocast computes them, bit for bit.

Each layer turns its gradient into float32 at once, where autocast keeps all until the backward
part ends; see README.md. Copies made again for each use cost time instead of memory.
"""

from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class Casts:
    """Computes all linear layers of a model in bfloat16, until `close`.

    A weight is rounded once a step if it is `kept`, or for each use.
    """

    def __init__(self, model: torch.nn.Module, *, kept: bool) -> None:
        self.kept = kept
        self._copies: dict[torch.Tensor, torch.Tensor] = {}
        self._layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
        for layer in self._layers:
            layer.forward = partial(self._compute, layer)  # type: ignore[method-assign]

    def close(self) -> None:
        """Give the layers their own computation back."""
        self.forget()
        for layer in self._layers:
            del layer.forward

    def forget(self) -> None:
        """Drop all copies, as weights are about to change."""
        self._copies.clear()

    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight in bfloat16."""
        if not self.kept:
            return weight.detach().to(torch.bfloat16)
        if weight not in self._copies:
            self._copies[weight] = weight.detach().to(torch.bfloat16)
        return self._copies[weight]

    def _compute(self, layer: torch.nn.Linear, states: torch.Tensor) -> torch.Tensor:
        bias = None if layer.bias is None else layer.bias.to(torch.bfloat16)
        states = states.to(torch.bfloat16)
        output: torch.Tensor = _Linear.apply(states, layer.weight, bias, self)
        return output


class _Linear(torch.autograd.Function):
    """A linear layer that saves its weight in float32, which is there anyway."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        casts: Casts,
    ) -> torch.Tensor:
        ctx.save_for_backward(states if weight.requires_grad else None)
        # Itself, since activation checkpointing would hand back another tensor of its values.
        ctx.weight, ctx.casts = weight, casts
        return linear(states, casts.of(weight), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The products that autograd makes of a matrix product, in its order of factors."""
        (states,), weight = ctx.saved_tensors, ctx.weight
        rows = gradient.flatten(0, -2)
        to_states = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_states = (rows @ ctx.casts.of(weight)).unflatten(0, gradient.shape[:-1])
        if ctx.needs_input_grad[1]:
            to_weight = (rows.t() @ states.flatten(0, -2)).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            to_bias = rows.sum(0)
        return to_states, to_weight, to_bias, None
