"""What a run needs, checked before it starts anything."""

import math
from collections.abc import Sequence
from pathlib import Path

from repro.data.source import Part, Source
from repro.errors import EXIT_MISSING, ReproError
from repro.models import doctor
from repro.models.doctor import Finding, Probes
from repro.models.memory import evaluation_bytes, finetune_peak_bytes, weights_bytes
from repro.models.spec import Architecture, ModelSpec
from repro.paper.cells import BASE
from repro.pipeline import placement
from repro.pipeline.pace import LINK, pace
from repro.pipeline.plan import TORCH, Plan, weights_key
from repro.pipeline.store import Store
from repro.profiles import Profile
from repro.profiles.profile import Compute

STEP_TOKENS = 4096
"""Tokens of a step that placements are compared by: 16 samples of 256."""


def machine_findings(
    profile: Profile,
    spec: ModelSpec,
    store: Store,
    folders: Sequence[Path],
    *,
    based: bool = True,
    tuned: bool = True,
    engine: str = TORCH,
    probes: Probes | None = None,
) -> list[Finding]:
    """Checks of Python, packages, GPU, memory, disk, folders, hub access and weights.

    Args:
        based: whether the base's weights are needed.
        tuned: whether anything is to be fine-tuned; evaluating alone needs less.
        engine: what evaluates, as a plan has it.
        probes: of the machine; by default of this one.
    """
    compute, sizes = profile.compute, spec.architecture
    gpus, gpu_memory_gb, memory_gb = compute.gpus, compute.gpu_memory_gb, compute.memory_gb
    tuning: list[Finding] = []
    if compute.device == "cuda" and sizes is not None:
        alone = evaluation_bytes(sizes, _dtype(profile), tokens=placement.SMALLEST)
        gpus, gpu_memory_gb = 1, math.ceil(alone / 1e9)
        probes = probes or Probes()
        if tuned:
            choice = placement.here(spec, compute, probes)
            tuning = [_tuning_finding(choice, sizes, compute, probes)]
            if choice is not None:
                gpu_memory_gb = max(gpu_memory_gb, math.ceil(choice.peak_bytes / 1e9))
                gpus, memory_gb = choice.gpus, memory_gb + math.ceil(choice.more_bytes / 1e9)
    needs = doctor.Needs(
        device=compute.device,
        gpus=gpus,
        gpu_memory_gb=gpu_memory_gb,
        bfloat16=compute.dtype == "protocol",
        compiles=tuned,
        memory_gb=memory_gb,
        disk_gb=compute.disk_gb,
        folders=(store.root, *folders),
        extras=("run",) if engine == TORCH else ("run", "vllm"),
    )
    present = not based or store.has("weights", weights_key(spec))
    return doctor.check(spec, needs, weights_present=present, probes=probes) + tuning


def _tuning_finding(
    choice: placement.Choice | None, sizes: Architecture, compute: Compute, probes: Probes
) -> Finding:
    """Whether fine-tuning fits, and how."""
    what = "fine-tuning"
    if choice is not None:
        gb = f"{choice.peak_bytes / 1e9:.3g} GB"
        step = pace(
            sizes, choice, bfloat16=compute.dtype != "float32", step_tokens=STEP_TOKENS
        ).seconds(STEP_TOKENS, compute.train_rate, 1)
        found = f"{choice}; a step of {STEP_TOKENS:,} tokens in about {step:.2g} s"
        return Finding(what, "ok", found, f"{gb} (passes of {choice.tokens:,} tokens)")
    gpus = ", ".join(f"{size / 1e9:.0f} GB" for size in probes.cuda().memory) or "none"
    found = f"GPUs: {gpus}; main memory: {probes.memory() / 1e9:.0f} GB"
    remedy = (
        "evaluate the base, or fine-tunes that you have: repro run --variants base, or "
        "--checkpoints DIR"
    )
    return Finding(what, "fail", found, placement.ways(sizes, compute), remedy)


def _dtype(profile: Profile) -> str:
    return "float32" if profile.compute.dtype == "float32" else "bfloat16"


def data_findings(source: Source, parts: Sequence[Part]) -> list[Finding]:
    """Whether the rows are there and match their hashes; one finding, or one a missing file."""
    problems = source.missing(parts)
    if not problems:
        return [Finding("data", "ok", f"{len(parts)} files", f"{source.name}, all as pinned")]
    return [Finding("data", "fail", str(p), source.name, p.hint) for p in problems]


def require(plan: Plan, store: Store, out: Path) -> list[Finding]:
    """Start nothing that cannot finish; returns what is worth a look all the same.

    Raises:
        ReproError: what is missing, with its remedy (3).
    """
    tuned = any(job.to_tune(store.has) for job in plan.jobs)
    based = tuned or any(job.variant == BASE for job in plan.jobs)
    findings = machine_findings(
        plan.profile, plan.spec, store, [out], based=based, tuned=tuned, engine=plan.engine
    )
    found = doctor.failed(findings)
    if found:
        told = "; ".join(f"{f.what}: {f.found} (needed: {f.needed})" for f in found)
        raise ReproError(
            told,
            hint=found[0].remedy or f"repro doctor --profile {plan.profile.name}",
            exit_code=EXIT_MISSING,
        )
    return [finding for finding in findings if finding.level == "warn"]


def needs(plan: Plan, store: Store) -> list[str]:
    """Lines on memory and disk for the plan."""
    compute = plan.profile.compute
    lines = [f"needs: {compute.memory_gb:g} GB of memory, {compute.disk_gb:g} GB of disk"]
    sizes = plan.spec.architecture
    if compute.gpus and sizes is None:
        lines[0] += f", {compute.gpus} GPU(s) of {compute.gpu_memory_gb:g} GB"
    tuned = sum(job.variant != BASE for job in plan.jobs)
    if sizes is None:
        return lines
    dtype = _dtype(plan.profile)
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
            lines += _paces(sizes, compute)
        else:
            tokens = compute.train_tokens
            peak = finetune_peak_bytes(sizes, bfloat16=dtype == "bfloat16", tokens=tokens) / 1e9
            lines.append(f"fine-tuning: {peak:.3g} GB (passes of {tokens:,} tokens)")
        lines.append(f"weights: {one:.2g} GB a fine-tune; all {tuned} kept: {one * tuned:.3g} GB")
    return lines


def _paces(sizes: Architecture, compute: Compute) -> list[str]:
    """What each placement takes in time, beside one GPU that holds everything."""
    told = []
    bfloat16 = compute.dtype != "float32"
    step = STEP_TOKENS / compute.train_rate
    for way, gpus in ((placement.OFFLOADED, 1), (placement.SHARDED, 2), (placement.BOTH, 2)):
        choice = placement.Choice(placement=way, gpus=gpus, tokens=placement.LONGEST)
        found = pace(sizes, choice, bfloat16=bfloat16, step_tokens=STEP_TOKENS)
        told.append(f"{choice} {found.seconds(STEP_TOKENS, compute.train_rate, 1):.2g} s")
    return [
        f"a step of {STEP_TOKENS:,} tokens, by the rates below and {LINK / 1e9:g} GB/s between "
        f"devices: whole on 1 GPU {step:.2g} s, {', '.join(told)}"
    ]
