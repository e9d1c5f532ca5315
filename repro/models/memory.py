"""What a model needs: bytes on disk and in memory, arithmetic, and the time that follows.

Estimates for plans and preflight, by the formulas of the audit (sections E1 to E3). Needs no torch.
GB are 1e9 bytes throughout.
"""

from repro.models.spec import Architecture

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""

FINETUNE_BYTES = 16
"""Bytes a parameter in full fine-tuning: either bfloat16 weights and gradients (4) with a float32
master copy and AdamW's two moments (12), or all four of them in float32."""


def weights_bytes(sizes: Architecture, dtype: str) -> int:
    """Bytes of the weights, on disk or loaded; the same for every fine-tune of it that is kept."""
    return sizes.parameters * BYTES[dtype]


def finetune_bytes(sizes: Architecture) -> int:
    """Bytes for weights, gradients and optimiser of full fine-tuning (AUDIT E1).

    Activations come on top: they grow with the tokens of a pass.
    """
    return sizes.parameters * FINETUNE_BYTES


def cache_bytes(sizes: Architecture, dtype: str) -> int:
    """Bytes that one token's keys and values take while evaluating (AUDIT E3)."""
    width = sizes.kv_heads * sizes.hidden // sizes.heads
    return 2 * sizes.layers * width * BYTES[dtype]


def evaluation_bytes(sizes: Architecture, dtype: str, *, tokens: int) -> int:
    """Bytes for the weights and the cached keys and values of so many tokens at once.

    Args:
        tokens: of all sequences in a pass, new ones included; a shared context counts once.
    """
    return weights_bytes(sizes, dtype) + tokens * cache_bytes(sizes, dtype)


def training_flops(parameters: float, tokens: float) -> float:
    """Floating-point operations of training on so many tokens: 6 N t, no recomputation."""
    return 6.0 * parameters * tokens


def forward_flops(parameters: float, tokens: float) -> float:
    """Floating-point operations of reading or generating so many tokens: 2 N t."""
    return 2.0 * parameters * tokens


def seconds(flops: float, *, peak: float, utilisation: float = 0.4) -> float:
    """Seconds for so many operations on a device of `peak` operations a second (AUDIT E1)."""
    return flops / (peak * utilisation)
