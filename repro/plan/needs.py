"""What a profile needs of memory and disk, in words. Needs no torch and no data."""

from repro.models.memory import evaluation_bytes, finetune_peak_bytes, weights_bytes
from repro.models.spec import Architecture, ModelSpec
from repro.plan import placement
from repro.plan.pace import STEP_TOKENS, training_seconds
from repro.profiles import Profile
from repro.profiles.profile import Compute


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
    least = evaluation_bytes(sizes, dtype, tokens=placement.SMALLEST) / 1e9
    most = evaluation_bytes(sizes, dtype, tokens=compute.evaluate_tokens) / 1e9
    lines.append(
        f"evaluating: {least:.3g} GB at least (one prompt of {placement.SMALLEST:,} tokens), "
        f"{most:.3g} GB for whole batches of {compute.evaluate_tokens:,} tokens; batches are "
        "halved until they fit"
    )
    if tuned:
        one = weights_bytes(sizes, dtype) / 1e9
        if compute.gpus:
            lines.append(f"fine-tuning at least: {placement.ways(sizes, compute)}")
            lines.append(_paces(sizes, compute))
        else:
            tokens = compute.train_tokens
            peak = finetune_peak_bytes(sizes, bfloat16=dtype == "bfloat16", tokens=tokens) / 1e9
            lines.append(f"fine-tuning: {peak:.3g} GB (passes of {tokens:,} tokens)")
        lines.append(f"weights: {one:.2g} GB a fine-tune; all {tuned} kept: {one * tuned:.3g} GB")
    return lines


def _paces(sizes: Architecture, compute: Compute) -> str:
    """What each placement takes in time, beside one GPU that holds everything."""
    told = []
    for way, gpus in ((placement.OFFLOADED, 1), (placement.SHARDED, 2), (placement.BOTH, 2)):
        choice = placement.Choice(placement=way, gpus=gpus, tokens=placement.LONGEST)
        seconds = training_seconds(compute, sizes, choice, tokens=STEP_TOKENS, steps=1)
        told.append(f"{choice} {seconds:.2g} s")
    return (
        f"a step of {STEP_TOKENS:,} tokens, by the rates above and {placement.LINK / 1e9:g} GB/s "
        f"between devices: whole on 1 GPU {STEP_TOKENS / compute.train_rate:.2g} s, "
        f"{', '.join(told)}"
    )
