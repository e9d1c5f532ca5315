"""Attention over a shared-prefix KV cache: rows that begin alike use one copy of it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "shared_prefix"

Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, [1, key-value heads, shared tokens, head size]."""


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    shared_prefix: Layers | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as models of transformers call it, over shared tokens and each row's own.

    Several tokens a row (prefill) see a copy of the shared keys and values that lives as long as
    the layer. A single one (decoding) needs none: all rows' queries meet the shared keys in one
    matrix product, their own keys in another, and one softmax goes over both.

    Args:
        query: [rows, heads, tokens, head size].
        key, value: each row's own, [rows, key-value heads, own tokens, head size].
        attention_mask: [rows, 1, tokens, own tokens], True where a token sees an own one; shared
            tokens are seen by all. Or what `added` makes of it. As transformers makes it where
            nothing is shared.

    Returns:
        [rows, tokens, heads, head size], and no weights.
    """
    if not shared_prefix:
        more = {"scaling": scaling, **kwargs}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    assert attention_mask is not None
    keys, values = shared_prefix[module.layer_idx]
    if query.shape[2] == 1:
        return _attend_once(query, key, value, attention_mask, keys, values, scaling), None
    rows, shared = len(query), keys.shape[2]
    key = torch.cat([keys.expand(rows, -1, -1, -1), key], dim=2)
    value = torch.cat([values.expand(rows, -1, -1, -1), value], dim=2)
    mask = attention_mask
    if mask.dtype == torch.bool:
        mask = F.pad(mask, (shared, 0), value=True)
    if query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)
    # The CPU kernel takes grouped heads with a mask, which spares their copies.
    grouped = query.shape[1] != key.shape[1]
    found = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=grouped
    )
    return found.transpose(1, 2).contiguous(), None


def added(mask: torch.Tensor, shared: int, dtype: torch.dtype) -> torch.Tensor:
    """A mask as what is added to scores, [rows, 1, tokens, shared + own tokens].

    The CPU kernel would make it anew in every layer.
    """
    seen = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, -torch.inf)
    return F.pad(seen, (shared, 0))


def _attend_once(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """One token a row; shapes as in `attend`."""
    rows, heads, _, size = query.shape
    groups, shared = keys.shape[1:3]

    def all_rows(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.transpose(0, 1).reshape(groups, rows * (heads // groups), -1)

    def by_row(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view(groups, rows, heads // groups, -1).transpose(0, 1)

    query = (query * scaling).view(rows, groups, heads // groups, size)
    before = by_row(all_rows(query) @ keys[0].transpose(1, 2))
    own = (query @ key.transpose(2, 3)).masked_fill(~mask, float("-inf"))
    scores = torch.cat([before, own], dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    found = weights[..., shared:] @ value + by_row(all_rows(weights[..., :shared]) @ values[0])
    return found.view(rows, 1, heads, size)


AttentionInterface.register(NAME, attend)
