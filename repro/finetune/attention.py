"""Attention over samples that lie behind each other in one sequence, without padding.

A token sees the tokens of its own sample up to itself, and the tokens that all samples begin with,
whose keys and values come from a pass of their own. Nothing else: samples never mix. Registered
with transformers as the attention `NAME`; a model's forward pass hands it the `packing`.

On a GPU it is FlexAttention over the whole sequence. On a CPU it is one call a group of samples of
similar length, filled up at the right end, where causal attention never looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward

NAME = "repro_packed"

KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (1, heads, tokens, head size) of each layer."""

_SIMILAR = 0.8
"""On a CPU, samples of at least this share of the longest one's length make a group."""


@dataclass(frozen=True)
class _Group:
    """Samples that attend in one call on a CPU.

    Attributes:
        samples: their number.
        tokens: places in the sequence (samples x longest), row by row; where a sample has ended,
            any place.
        mask: added to the scores (longest, shared + longest); None for plainly causal.
    """

    samples: int
    tokens: torch.Tensor
    mask: torch.Tensor | None


class Packing:
    """Which tokens of a pass belong together.

    Args:
        lengths: tokens of each sample behind the shared ones, in the order of the sequence,
            longest first.
        device: where the pass is computed.
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
    ) -> None:
        self.shared = shared
        self.keep = keep
        self.kept: KeysValues = {}
        before, dtype = 0, torch.float32
        if shared:
            before, dtype = shared[0][0].shape[2], shared[0][0].dtype
        self._block_mask: BlockMask | None = None
        if device.type == "cpu":
            self._groups, self._place = _groups(lengths, before, dtype)
        else:
            self._block_mask = _block_mask(lengths, before, device)

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
            if shared:
                key = torch.cat([shared[0], key], dim=2)
                value = torch.cat([shared[1], value], dim=2)
            return flex_attention_forward(
                module, query, key, value, self._block_mask, scaling=scaling
            )[0]
        outputs = []
        for group in self._groups:
            rows, keys, values = (_rows(states, group) for states in (query, key, value))
            if shared:
                first_keys, first_values = (s.expand(group.samples, -1, -1, -1) for s in shared)
                keys = torch.cat([first_keys, keys], dim=2)
                values = torch.cat([first_values, values], dim=2)
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
    lengths: Sequence[int], before: int, dtype: torch.dtype
) -> tuple[list[_Group], torch.Tensor]:
    """The groups, and the place of each token in their outputs behind each other."""
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
        groups.append(_Group(after - first, torch.tensor(tokens), mask))
        first = after
    return groups, torch.tensor(places)


def _block_mask(lengths: Sequence[int], before: int, device: torch.device) -> BlockMask:
    """The mask for FlexAttention, whose keys are those of the shared tokens, then the pass's."""
    counts = torch.tensor(lengths)
    sample = torch.arange(len(lengths)).repeat_interleave(counts).to(device)
    place = torch.arange(len(sample), device=device)
    of_key, key_place = pad(sample, (before, 0), value=-1), pad(place, (before, 0))

    def visible(_row: Any, _head: Any, query: Any, key: Any) -> Any:
        own = (of_key[key] == sample[query]) & (key_place[key] <= place[query])
        return own | (of_key[key] == -1)

    return create_block_mask(visible, None, None, len(sample), len(of_key), device=str(device))


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
