"""Attention over shared and own tokens, against the formula in double precision."""

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.evaluate.attention import added, attend


def plain(query, keys, values, mask, scaling):
    """One row, one head, one token at a time."""
    rows, heads, tokens, _ = query.shape
    per_group = heads // keys.shape[1]
    found = torch.empty(rows, tokens, heads, values.shape[3], dtype=query.dtype)
    for row in range(rows):
        for head in range(heads):
            for token in range(tokens):
                seen = mask[row, 0, token].nonzero()[:, 0]
                group = head // per_group
                weights = (keys[row, group, seen] @ query[row, head, token] * scaling).exp()
                mixed = weights @ values[row, group, seen] / weights.sum()
                found[row, token, head] = mixed
    return found


@given(
    rows=st.integers(1, 4),
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    shared=st.integers(0, 5),
    tokens=st.integers(1, 4),
    earlier=st.integers(0, 3),
    scores=st.booleans(),
    seed=st.integers(0, 100),
)
def test_equals_attention_over_a_copy_a_row(
    rows, groups, per_group, shared, tokens, earlier, scores, seed
):
    torch.manual_seed(seed)
    make = {"dtype": torch.float64}
    size, own = 4, earlier + tokens
    query = torch.randn(rows, groups * per_group, tokens, size, **make)
    key, value = torch.randn(2, rows, groups, own, size, **make)
    keys, values = torch.randn(2, 1, groups, shared, size, **make)
    padding = torch.randint(0, own, (rows,))
    mask = torch.arange(own)[None] >= padding[:, None]
    causal = torch.ones(tokens, own, dtype=torch.bool).tril(earlier)
    itself = torch.arange(own)[None] == torch.arange(tokens)[:, None] + earlier
    mask = (mask[:, None] & causal | itself)[:, None]
    module = SimpleNamespace(layer_idx=1, num_key_value_groups=per_group, is_causal=True)
    wrong = torch.full_like(keys, torch.nan), torch.full_like(values, torch.nan)
    layers = [wrong, (keys, values)] if shared else []
    told = added(mask, shared, torch.float64) if scores and tokens > 1 else mask
    found, _ = attend(module, query, key, value, told, scaling=0.7, shared_prefix=layers)
    expected = plain(
        query,
        torch.cat([keys.expand(rows, -1, -1, -1), key], dim=2),
        torch.cat([values.expand(rows, -1, -1, -1), value], dim=2),
        torch.cat([torch.ones(rows, 1, tokens, shared, dtype=torch.bool), mask], dim=-1),
        0.7,
    )
    # The softmax of a single token is in float32, as in the models; the rest is in float64.
    tolerance = 1e-6 if tokens == 1 and shared else 1e-12
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
