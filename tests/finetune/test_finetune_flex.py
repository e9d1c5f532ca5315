"""FlexAttention over packed samples: its blocks, how often it is compiled, and errors."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask

from repro.errors import ReproError
from repro.finetune import flex

CPU = torch.device("cpu")
LENGTHS = [
    [1],
    [128],
    [129],
    [300],
    [256, 256],
    [128] * 4,
    [200, 128, 100, 56, 28],
    [90, 60, 30, 29, 7, 1, 1, 1],
    [1] * 60,
    [2048],
    [700, 700, 640],
]


@pytest.mark.parametrize("before", [0, 1, 20, 128, 140, 256, 700])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_blocks_are_those_of_all_pairs(lengths: list[int], before: int) -> None:
    found = flex.block_mask(lengths, before, CPU)
    tokens = sum(lengths)
    sample = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    queries, keys = found.seq_lengths
    assert queries % 128 == keys % 128 == 0
    assert queries >= max(256, tokens)
    assert keys >= before + queries

    def visible(_row: object, _head: object, query: torch.Tensor, key: torch.Tensor) -> object:
        own = key - before
        real = (query < tokens) & (own < tokens)
        alike = sample[query.clamp(max=tokens - 1)] == sample[own.clamp(0, tokens - 1)]
        padding = (query >= tokens) & (own >= tokens)  # sees itself, for want of anything else
        return (key < before) | (own >= 0) & (own <= query) & (real & alike | padding)

    expected = create_block_mask(visible, None, None, queries, keys, device="cpu")
    for name in ("kv", "full_kv", "q", "full_q"):
        count = getattr(found, f"{name}_num_blocks")
        torch.testing.assert_close(count, getattr(expected, f"{name}_num_blocks"))
        one, other = (getattr(mask, f"{name}_indices") for mask in (found, expected))
        used = torch.arange(one.shape[-1]) < count[..., None]
        torch.testing.assert_close(one * used, other * used)
    pairs = [torch.arange(queries)[:, None], torch.arange(keys)[None]]
    assert torch.equal(found.mask_mod(0, 0, *pairs), visible(0, 0, *pairs))


def attend(lengths: list[int], before: int, heads: int = 2) -> torch.Tensor:
    tokens = sum(lengths)
    # As a model leaves them: transposed, not contiguous.
    query = torch.randn(1, tokens, heads, 16).transpose(1, 2)
    key, value = torch.randn(2, 1, tokens, 2, 16).transpose(2, 3)
    shared = tuple(torch.randn(2, 1, 2, before, 16)) if before else None
    mask = flex.block_mask(lengths, before, CPU)
    with torch.no_grad():
        return flex.attend(
            query, key, value, mask, scaling=0.25, shared=(shared[0], shared[1]) if shared else None
        )


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled without kernels: graphs are those of a GPU, the kernels need none."""
    torch._dynamo.reset()
    flex._compiled.cache_clear()
    compiled = flex._compiled
    monkeypatch.setattr(flex, "_compiled", lambda *words: compiled(*words, "eager"))
    with torch._dynamo.config.patch(recompile_limit=torch._dynamo.config.recompile_limit):
        yield
    torch._dynamo.reset()
    compiled.cache_clear()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.usefixtures("traced")
def test_few_graphs_for_all_lengths() -> None:
    before = flex.graphs()
    generator = random.Random(0)
    lengths = [generator.choices(range(1, 400), k=generator.randint(1, 6)) for _ in range(20)]
    for number, some in enumerate([*LENGTHS, *lengths]):
        for shared in (0, (1, 20, 128, 700)[number % 4]):
            assert attend(some, shared).shape == (1, sum(some), 2, 16)
    assert flex.graphs() - before <= 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("traced")
def test_too_many_graphs_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "LIMIT", 1)
    attend([60], 0)
    with pytest.raises(ReproError, match="more than 1 times") as caught:
        attend([60], 0, heads=4)
    assert "--attention grouped" in caught.value.hint


def test_what_is_not_compiled_is_an_error() -> None:
    with (
        torch.compiler.set_stance("force_eager"),
        pytest.raises(ReproError, match="all scores at once"),
    ):
        attend([60], 0)
