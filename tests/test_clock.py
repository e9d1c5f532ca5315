"""Time by part, and FLOPs against torch's own count."""

import time
from contextlib import suppress

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from repro.clock import Clock, ModelSizes


def test_parts_inside_others_are_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    found = Clock()
    now += 1
    with found.part("outer"):
        now += 2
        with found.part("inner"):
            now += 4
        now += 8
        with suppress(ValueError), found.part("inner"):
            now += 16
            raise ValueError
    now += 32
    assert found.seconds == {"outer": 10, "inner": 20}
    assert found.total == 63


@pytest.mark.parametrize("tied", [True, False])
def test_flops_are_those_that_torch_counts(tied: bool) -> None:
    """Torch counts matrix products of whole squares: every token with every other."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config).eval()
    rows, tokens = 3, 10
    counter = FlopCounterMode(display=False)
    with (
        counter,
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model(input_ids=torch.ones((rows, tokens), dtype=torch.long), use_cache=False)
    found = Clock()
    assert found.flops("prefill") == 0
    found.sizes = ModelSizes.of(model)
    found.count("prefill", tokens=rows * tokens, pairs=rows * tokens**2, rows=rows * tokens)
    # Norms and biases are counted as weights here, and not by torch; they are few.
    assert found.flops("prefill") == pytest.approx(counter.get_total_flops(), rel=0.05)
    assert found.flops("train") == 0
    found.count("train", tokens=rows * tokens, pairs=rows * tokens**2, rows=rows * tokens)
    assert found.flops("train") == 3 * found.flops("prefill")
