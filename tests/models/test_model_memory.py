"""Estimates against the audit's own figures (sections E1 and E3)."""

import pytest

from repro.models import memory
from repro.models.spec import Architecture, pins

LLAMA = Architecture(**pins()["architecture"]["llama2-7b"])
LLAMA_70B = Architecture(**pins()["architecture"]["llama2-70b"])


def test_full_fine_tuning_of_7b_takes_108_gb():
    assert LLAMA.parameters * memory.FINETUNE_BYTES / 1e9 == pytest.approx(108, abs=0.5)


def test_main_memory_of_a_fine_tune():
    sizes = Architecture(
        layers=2, hidden=10, intermediate=18, heads=1, kv_heads=1, vocabulary=29, context=99
    )
    layer, rest = 4 * 100 + 3 * 180 + 20, 2 * 290 + 10
    assert sizes.parameters == 2 * layer + rest
    for sharded, offloaded, gpus, held in [
        (False, False, 1, {}),
        (False, False, 2, {4: 2 * layer + rest}),  # another copy of the base
        (True, False, 2, {4: rest}),  # in parts, but for what lies outside layers
        (False, True, 1, {8: 2 * layer + rest}),  # two moments
        (True, True, 2, {4: rest, 8: 2 * layer + 2 * rest}),
    ]:
        placement = memory.Placement(sharded=sharded, offloaded=offloaded)
        expected = sum(size * count for size, count in held.items())
        assert memory.finetune_main_bytes(sizes, placement, gpus) == expected


def test_25_kept_fine_tunes_of_7b_take_340_gb():
    assert 25 * memory.weights_bytes(LLAMA, "bfloat16") / 1e9 == pytest.approx(340, rel=0.01)


def test_cache_of_a_token():
    assert memory.cache_bytes(LLAMA, "float16") == 512 * 1024
    # Grouped-query attention: 8 of 64 heads, 80 layers, 128 wide.
    assert memory.cache_bytes(LLAMA_70B, "bfloat16") == 2 * 80 * 8 * 128 * 2


@pytest.mark.parametrize(
    ("prompt_tokens", "gib"),
    [(658_699, 329), (127_582, 70)],  # CNN/DailyMail, 4 shots, without and with a shared prefix
)
def test_cache_of_250_sequences_of_the_largest_cell(prompt_tokens, gib):
    tokens = prompt_tokens + 250 * 60
    assert tokens * memory.cache_bytes(LLAMA, "float16") / 2**30 == pytest.approx(gib, abs=0.5)
