"""FlexAttention over packed samples: compiled once for all lengths, or an error; see README.md."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad

from repro.errors import EXIT_MISSING, ReproError
from repro.machine.transfer import to_device

BLOCK = 128
LEAST = 2
"""Blocks of queries at least: torch compiles a graph of its own for dimensions of 1."""

LIMIT = 64
"""Graphs that torch may compile before it is an error; one to three are expected."""

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, BlockMask], torch.Tensor]


def graphs() -> int:
    """Graphs that torch has compiled in this process, whatever for."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def block_mask(lengths: Sequence[int], before: int, device: torch.device) -> BlockMask:
    """Which keys each query sees: those of the shared tokens, and its own sample's up to itself.

    Keys are those of the shared tokens, then the pass's; both are padded to whole blocks. Padding
    queries are one more sample, which nobody reads. Blocks follow from the lengths on the host,
    since all pairs of a query and a key would take 3 bytes each on the device.

    Args:
        lengths: tokens of each sample behind the `before` shared ones, in the sequence's order.
    """
    tokens = sum(lengths)
    queries = max(LEAST, -(-tokens // BLOCK)) * BLOCK
    keys = -(-(before + queries) // BLOCK) * BLOCK
    counts = torch.tensor([*lengths, queries - tokens])
    begins = torch.tensor([0, *accumulate(lengths)])
    first = before + begins.repeat_interleave(counts, output_size=queries)
    last = before + torch.arange(queries)

    top, bottom = slice(None, None, BLOCK), slice(BLOCK - 1, None, BLOCK)
    left = torch.arange(0, keys, BLOCK)
    right = left + BLOCK - 1
    some = (left < before) | (right >= first[top, None]) & (left <= last[bottom, None])
    # Keys that all queries of a block see go on behind the shared ones where all are of one
    # sample, the first.
    begin = first[bottom].where(first[bottom] > before, 0)
    whole = (right < before) | (left >= begin[:, None]) & (right <= last[top, None])
    partial = some & ~whole
    limits = (torch.full((queries,), before), first, last)
    # One tensor each: a number as an index would become a tensor on the device, inside the compiled
    # graph, and torch keeps no such graph on disk for the next process.
    end, own_first, own_last = (to_device(limit.int(), device) for limit in limits)

    def visible(_row: Any, _head: Any, query: Any, key: Any) -> Any:
        own = (key >= own_first[query]) & (key <= own_last[query])
        return own | (key < end[query])

    made: BlockMask = BlockMask.from_kv_blocks(
        *_ordered(partial),
        *_ordered(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=visible,
        seq_lengths=(queries, keys),
    )
    for name, value in vars(made).items():  # its own `to` waits for the device each time
        if isinstance(value, torch.Tensor):
            setattr(made, name, to_device(value, device))
    return made


def _ordered(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a table of blocks, the number of set ones in each row, and their columns first."""
    columns = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], columns.int()[None, None]


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: BlockMask,
    *,
    scaling: float,
    shared: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Attention (1, tokens, heads, head size) of packed samples.

    Args:
        query, key, value: of the pass, (1, heads, tokens, head size); shared: of shared tokens.
        mask: as `block_mask` makes it.

    Raises:
        ReproError: torch would compile too often, or not at all (3).
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit  # slow to import

    queries, keys = mask.seq_lengths
    compiled = _compiled(scaling, query.shape[1] != key.shape[1])
    if shared:
        key, value = (torch.cat(pair, dim=2) for pair in zip(shared, (key, value), strict=True))
    try:
        output = compiled(_up_to(query, queries), _up_to(key, keys), _up_to(value, keys), mask)
    except FailOnRecompileLimitHit as error:
        raise ReproError(
            f"torch would compile FlexAttention more than {LIMIT} times",
            hint="take grouped attention instead: repro run --attention grouped",
            exit_code=EXIT_MISSING,
        ) from error
    return output[:, :, : query.shape[2]].transpose(1, 2).contiguous()


def _up_to(states: torch.Tensor, count: int) -> torch.Tensor:
    """States padded to so many tokens, in one piece of memory."""
    return pad(states, (0, 0, 0, count - states.shape[2])).contiguous()


@cache
def _compiled(scaling: float, grouped: bool, backend: str = "inductor") -> Attend:
    """The compiled attention for a scale, with heads that share keys or without."""
    # Raises at its limit, since a whole graph is demanded.
    torch._dynamo.config.recompile_limit = LIMIT
    # Only lengths are to vary: kernels take the scale as a constant.
    torch._dynamo.config.specialize_float = True
    return torch.compile(_plain(scaling, grouped), fullgraph=True, dynamic=True, backend=backend)


def _plain(scaling: float, grouped: bool, *, must_compile: bool = True) -> Attend:
    """The attention, to be compiled."""

    def flex(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: BlockMask
    ) -> torch.Tensor:
        if must_compile and not torch.compiler.is_compiling():
            raise ReproError(
                "torch does not compile FlexAttention here, and would hold all scores at once",
                hint="unset TORCH_COMPILE_DISABLE, or: repro run --attention grouped",
                exit_code=EXIT_MISSING,
            )
        output: torch.Tensor = flex_attention(
            query,
            key,
            value,
            block_mask=mask,
            scale=scaling,
            enable_gqa=grouped,
            kernel_options={"FORCE_USE_FLEX_ATTENTION": True},
        )
        return output

    return flex
