"""What a model needs: bytes on disk and in memory, arithmetic, and the time that follows.

Estimates for plans and preflight, by the formulas of the audit (sections E1 to E3). Needs no torch.
GB are 1e9 bytes throughout.
"""

from dataclasses import dataclass

from repro.models.spec import Architecture

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""

FINETUNE_BYTES = 16
"""Bytes a parameter in full fine-tuning: either bfloat16 weights and gradients (4) with a float32
master copy and AdamW's two moments (12), or all four of them in float32."""

MOMENTS_BYTES = 8
"""Of these, AdamW's moments."""


def weights_bytes(sizes: Architecture, dtype: str) -> int:
    """Bytes of the weights, on disk or loaded; the same for every fine-tune of it that is kept."""
    return sizes.parameters * BYTES[dtype]


BUCKET = 2**24
"""Weights whose moments go to the GPU and back together where they lie in main memory."""

SLOTS = 3
"""Buckets whose moments are on the GPU at once: on their way there, in use, on their way back."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the 16 bytes a weight of a fine-tune lie; by default on every GPU, whole.

    Attributes:
        sharded: every GPU holds a part of each decoder layer, and embeddings, head and last norm
            whole; layers are put together one by one, and their activations computed twice.
        offloaded: AdamW's moments lie in main memory.
        recast: under bfloat16 autocast, no copy of the weights is kept: each is rounded for each
            use. A sharded model's weights never are kept.
    """

    sharded: bool = False
    offloaded: bool = False
    recast: bool = False


WHOLE = Placement()


def finetune_peak_bytes(
    sizes: Architecture,
    *,
    bfloat16: bool,
    tokens: int,
    placement: Placement = WHOLE,
    gpus: int = 1,
    shared: int = 0,
    copies: int = 1,
    lora_rank: int = 0,
) -> int:
    """Most bytes held at once on a GPU in fine-tuning, where a step takes several passes.

    That is when a pass goes over into its backward part, gradients of the passes before in place.
    What the backward part reads of a layer was counted in `repro.finetune`: per token 9 states of
    the width, two of keys and values and 4 of the MLP's, all float32; under bfloat16 autocast the
    two norms keep 4 in float32, all others are halved, and weights of linear layers are held a
    second time in 2 bytes. On top comes what the last MLP's backward part makes, or the gradient of
    a matrix of the MLP or of the head, in bfloat16 and float32, before it is added up. Counted on a
    CPU, and on a GPU (docs/first-gpu-run.md).

    Sharded, a layer's input is kept instead, and everything else for one layer at a time. Of whole
    layers there are up to 7: weights in use, those that come next and the buffer they arrive in,
    gradients, and two buffers that they leave from, one of them still in flight, and one to spare.
    Under autocast the first four are in bfloat16; the buffers of gradients always are in float32.
    That is reasoned from FSDP2's code for a GPU; on a CPU, where buffers are freed at once, 4 to 6
    fewer were counted.

    The keys and values of a shared prefix are held in each layer for its own pass, for the passes
    to come and as gradients; a pass concatenates them with its own, once for each of its calls of
    attention's rows.

    Args:
        bfloat16: whether matrix products are in bfloat16 (autocast); else all is float32.
        tokens: of the pass, a shared prefix and all samples behind it.
        gpus: among which layers are sharded.
        shared: tokens of the shared prefix.
        copies: of the prefix's keys and values in a pass: one with FlexAttention, one a sample
            with grouped attention.
        lora_rank: of LoRA's changes; weights are then held in float32 alone, and what is trained
            are the changes. Not of sharded models.
    """
    width, inner = sizes.hidden, sizes.intermediate
    pair = 2 * width * sizes.kv_heads // sizes.heads
    if bfloat16:
        kept, made = 32 * width + 2 * pair + 8 * inner, 4 * width + 6 * inner
    else:
        kept, made = 4 * (9 * width + pair + 4 * inner), 4 * (width + 3 * inner)
    number = BYTES["bfloat16" if bfloat16 else "float32"]
    prefix = shared * pair * number * (2 + copies)
    weight = FINETUNE_BYTES - (MOMENTS_BYTES if placement.offloaded else 0)
    copied = sizes.parameters - (0 if sizes.tied else sizes.vocabulary * width)
    copy = BYTES["bfloat16"] if bfloat16 and not placement.recast else 0
    gradient = BYTES["float32"] + (BYTES["bfloat16"] if bfloat16 else 0)
    slots = SLOTS * MOMENTS_BYTES * min(BUCKET, sizes.parameters) if placement.offloaded else 0
    if not placement.sharded:
        state = sizes.parameters * weight + copied * copy
        if lora_rank:
            changed = lora_rank * sizes.layers * (8 * width + pair + 3 * (width + inner))
            state = sizes.parameters * BYTES["float32"] + copied * copy + changed * weight
        head = gradient * sizes.vocabulary * width
        mlp = gradient * inner * width + tokens * number * (width + inner)
        passed = tokens * sizes.layers * kept + max(tokens * made, head, mlp)
        return state + slots + passed + sizes.layers * prefix
    layer, rest = _layer_and_rest(sizes)
    state = weight * (rest + -(-sizes.layers * layer // gpus))
    state += BYTES["bfloat16"] * rest if bfloat16 else 0
    working = layer * (4 * number + 3 * BYTES["float32"])
    passed = tokens * (sizes.layers * 4 * width + kept + made) + sizes.layers * prefix
    return state + slots + working + passed


def finetune_main_bytes(sizes: Architecture, placement: Placement, gpus: int) -> int:
    """Bytes of main memory that a fine-tune takes beside those of one process without moments.

    Every process keeps the base's weights that it holds in float32, to tell how far they moved.
    """
    layer, rest = _layer_and_rest(sizes)
    held = gpus * sizes.parameters
    if placement.sharded:
        held = gpus * rest + sizes.layers * layer
    moments = MOMENTS_BYTES * held if placement.offloaded else 0
    return BYTES["float32"] * (held - sizes.parameters) + moments


def _layer_and_rest(sizes: Architecture) -> tuple[int, int]:
    """Weights of a decoder layer, and of all that is no part of one."""
    rest = (1 if sizes.tied else 2) * sizes.vocabulary * sizes.hidden + sizes.hidden
    return (sizes.parameters - rest) // sizes.layers, rest


def cache_bytes(sizes: Architecture, dtype: str) -> int:
    """Bytes that one token's keys and values take while evaluating (AUDIT E3)."""
    width = sizes.kv_heads * sizes.hidden // sizes.heads
    return 2 * sizes.layers * width * BYTES[dtype]


def evaluation_peak_bytes(
    sizes: Architecture,
    dtype: str,
    *,
    rows: int = 1,
    own: int,
    new: int = 0,
    shared: int = 0,
    cached: bool = True,
) -> int:
    """Most bytes held at once while a batch of an evaluation is computed.

    That is when the batch's prompts go through the last layer: weights, keys and values of the
    shared tokens once and of every row's own, with room for those to come, and what a layer
    holds, in numbers a token: in its MLP three times the inner width and four times its own; in its
    attention five widths and a copy of all keys and values that a row sees. Angles and masks
    come on top. Counted on a CPU; kernels of a GPU may hold a little more or less.

    Args:
        own: tokens that each row has for itself.
        new: tokens of a generation.
        shared: tokens that all rows begin with.
        cached: whether keys and values are kept, as generations need them.
    """
    width, number = sizes.hidden, BYTES[dtype]
    pair = 2 * width * sizes.kv_heads // sizes.heads
    tokens, sight = rows * own, shared + own
    around = tokens * (2 * width // sizes.heads * number + own)
    layer = tokens * (3 * sizes.intermediate + 4 * width) * number
    if shared:
        kept = 0 if cached else tokens * pair
        attention = (rows * sight * pair + tokens * 5 * width + kept) * number
        layer = max(layer, attention)
        around += tokens * sight * number
    held = shared + rows * (own + new) * cached
    return weights_bytes(sizes, dtype) + held * cache_bytes(sizes, dtype) + layer + around


def evaluation_bytes(sizes: Architecture, dtype: str, *, tokens: int) -> int:
    """Most bytes held at once with batches of so many tokens; prompts take most where all are long.

    Shared tokens come on top, `cache_bytes` each.
    """
    own = min(tokens, sizes.context)
    return evaluation_peak_bytes(sizes, dtype, rows=tokens // own, own=own)
