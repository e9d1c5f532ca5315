"""What a profile needs of memory and disk, in words. Needs no torch and no data."""

from repro.models.memory import evaluation_bytes, finetune_peak_bytes, weights_bytes
from repro.models.spec import ModelSpec
from repro.pipeline import placement
from repro.profiles import Profile


def weights_dtype(profile: Profile) -> str:
    """In which precision weights are kept and evaluated."""
    return "float32" if profile.compute.dtype == "float32" else "bfloat16"


def needs(profile: Profile, spec: ModelSpec, tuned: int) -> list[str]:
    """Lines on memory and disk.

    Args:
        tuned: the number of fine-tunes.
    """
    compute, sizes = profile.compute, spec.architecture
    lines = [f"needs: {compute.memory_gb:g} GB of memory, {compute.disk_gb:g} GB of disk"]
    if compute.gpus and sizes is None:
        lines[0] += f", {compute.gpus} GPU(s) of {compute.gpu_memory_gb:g} GB"
    if sizes is None:
        return lines
    dtype = weights_dtype(profile)
    evaluating = evaluation_bytes(sizes, dtype, tokens=compute.evaluate_tokens) / 1e9
    cached = f"{compute.evaluate_tokens:,} tokens cached"
    lines.append(f"memory at most: evaluating {evaluating:.3g} GB ({cached})")
    if tuned:
        tokens = compute.train_tokens
        peak = finetune_peak_bytes(sizes, bfloat16=dtype == "bfloat16", tokens=tokens) / 1e9
        one = weights_bytes(sizes, dtype) / 1e9
        lines[-1] += f", fine-tuning {peak:.3g} GB (passes of {tokens:,} tokens)"
        if compute.gpus:
            lines.append(f"fine-tuning at least: {placement.ways(sizes, compute)}")
        lines.append(f"weights: {one:.2g} GB a fine-tune; all {tuned} kept: {one * tuned:.3g} GB")
    return lines
