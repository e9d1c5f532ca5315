"""Attention over samples packed into one sequence, without padding.

A token sees the tokens of its own sample up to itself, and the tokens that all samples begin with,
whose keys and values come from a pass of their own. Registered with transformers as the attention
`NAME`; a model's forward pass hands it the `packing`.

"flex" is FlexAttention over the whole sequence; "grouped" is one call of SDPA a group of samples of
similar length, padded at the right end, where causal attention never looks. See README.md.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from repro.finetune import flex
from repro.machine.transfer import to_device

Way = Literal["flex", "grouped"]

NAME = "repro_packed"

KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (1, heads, tokens, head size) of each layer."""

_SIMILAR = 0.8
"""Samples of at least this share of the longest one's length make a group."""


class _Group(NamedTuple):
    """Samples that attend in one call of SDPA."""

    samples: int
    tokens: torch.Tensor  # places in the sequence (samples x longest), any where a sample has ended
    mask: torch.Tensor | None  # added to scores (longest, shared + longest); None: plainly causal


class Packing:
    """Which tokens of a pass belong together.

    Args:
        lengths: tokens of each sample behind the shared ones, in the order of the sequence,
            longest first.
        shared: keys and values of the tokens before every sample; empty without.
        keep: whether to note the pass's own keys and values in `kept`, to be shared by others.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        device: torch.device,
        shared: KeysValues,
        *,
        keep: bool = False,
        way: Way = "grouped",
    ) -> None:
        self.shared, self.keep = shared, keep
        self.kept: KeysValues = {}
        before, dtype = 0, torch.float32
        if shared:
            before, dtype = shared[0][0].shape[2], shared[0][0].dtype
        self._block_mask: BlockMask | None = None
        if way == "flex":
            self._block_mask = flex.block_mask(lengths, before, device)
        else:
            self._groups, self._place = _groups(lengths, before, dtype, device)

    def attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """The output (1, tokens, heads, head size) of a layer for its own tokens' states."""
        shared = self.shared.get(module.layer_idx)
        if self._block_mask is not None:
            return flex.attend(query, key, value, self._block_mask, scaling=scaling, shared=shared)
        outputs = []
        for group in self._groups:
            rows, keys, values = (_rows(states, group) for states in (query, key, value))
            if shared:
                first_keys, first_values = (s.expand(group.samples, -1, -1, -1) for s in shared)
                keys = torch.cat([first_keys, keys], dim=2)
                values = torch.cat([first_values, values], dim=2)
            heads = rows.shape[1] // keys.shape[1]
            if heads > 1 and rows.device.type != "cpu":
                # Fused kernels of GPUs take a mask, or heads that share keys, not both.
                keys, values = (s.repeat_interleave(heads, dim=1) for s in (keys, values))
            output = scaled_dot_product_attention(
                rows,
                keys,
                values,
                attn_mask=group.mask,
                is_causal=group.mask is None,
                scale=scaling,
                enable_gqa=rows.shape[1] != keys.shape[1],
            )
            outputs.append(output.transpose(1, 2).flatten(0, 1))
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return output.index_select(0, self._place)[None]


def _rows(states: torch.Tensor, group: _Group) -> torch.Tensor:
    """States (1, heads, tokens, size) of the pass as (samples, heads, longest, size)."""
    picked = states[0].transpose(0, 1).index_select(0, group.tokens)
    return picked.unflatten(0, (group.samples, -1)).transpose(1, 2)


def _groups(
    lengths: Sequence[int], before: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[_Group], torch.Tensor]:
    """The groups, and the place of each token in their concatenated outputs."""
    groups: list[_Group] = []
    places: list[int] = []
    first = begin = filled = 0
    while first < len(lengths):
        longest = lengths[first]
        tokens: list[int] = []
        after = first
        while after < len(lengths) and lengths[after] >= _SIMILAR * longest:
            length = lengths[after]
            tokens += range(begin, begin + length)
            tokens += [begin] * (longest - length)
            places += range(filled, filled + length)
            begin += length
            filled += longest
            after += 1
        mask = None
        if before:
            hidden = torch.ones(longest, before + longest, dtype=torch.bool).triu(before + 1)
            mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, -torch.inf)
            mask = to_device(mask, device)
        groups.append(_Group(after - first, to_device(torch.tensor(tokens), device), mask))
        first = after
    return groups, to_device(torch.tensor(places), device)


def _forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packing: Packing,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function, as transformers calls it."""
    # Under autocast the rotation leaves queries and keys in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    layer = module.layer_idx
    if packing.keep and layer not in packing.kept:  # activation checkpointing comes here twice
        packing.kept[layer] = (key, value)
    return packing.attend(module, query, key, value, scaling), None


AttentionInterface.register(NAME, _forward)
