"""What a run needs, checked before it starts anything."""

import math
from collections.abc import Sequence
from pathlib import Path

from repro.data.source import Part, Source
from repro.errors import EXIT_MISSING, ReproError
from repro.models import doctor
from repro.models.doctor import Finding
from repro.models.memory import evaluation_bytes, finetune_peak_bytes, weights_bytes
from repro.models.spec import ModelSpec
from repro.paper.cells import BASE
from repro.pipeline.plan import TORCH, Plan, weights_key
from repro.pipeline.store import Store
from repro.profiles import Profile

SMALLEST = 1024
"""Tokens that must fit: passes are halved where memory runs out, down to one sample."""


def machine_findings(
    profile: Profile,
    spec: ModelSpec,
    store: Store,
    folders: Sequence[Path],
    *,
    tuned: bool = True,
    engine: str = TORCH,
) -> list[Finding]:
    """Checks of Python, packages, GPU, memory, disk, folders, hub access and weights.

    Args:
        tuned: whether anything is to be fine-tuned; the base alone needs less.
        engine: what evaluates, as a plan has it.
    """
    compute = profile.compute
    gpu_memory_gb = compute.gpu_memory_gb
    if not tuned and spec.architecture is not None:
        alone = evaluation_bytes(spec.architecture, _dtype(profile), tokens=SMALLEST)
        gpu_memory_gb = math.ceil(alone / 1e9)
    needs = doctor.Needs(
        device=compute.device,
        gpus=compute.gpus,
        gpu_memory_gb=gpu_memory_gb,
        memory_gb=compute.memory_gb,
        disk_gb=compute.disk_gb,
        folders=(store.root, *folders),
        extras=("run",) if engine == TORCH else ("run", "vllm"),
    )
    return doctor.check(spec, needs, weights_present=store.has("weights", weights_key(spec)))


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
    tuned = any(job.variant != BASE for job in plan.jobs)
    findings = machine_findings(
        plan.profile, plan.spec, store, [out], tuned=tuned, engine=plan.engine
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
    if compute.gpus:
        lines[0] += f", {compute.gpus} GPU(s) of {compute.gpu_memory_gb:g} GB"
    sizes = plan.spec.architecture
    tuned = sum(job.variant != BASE for job in plan.jobs)
    if sizes is None:
        return lines
    dtype = _dtype(plan.profile)
    evaluating = evaluation_bytes(sizes, dtype, tokens=compute.evaluate_tokens) / 1e9
    cached = f"{compute.evaluate_tokens:,} tokens cached"
    lines.append(f"memory at most: evaluating {evaluating:.3g} GB ({cached})")
    if tuned:
        tokens = compute.train_tokens
        peak = finetune_peak_bytes(sizes, bfloat16=dtype == "bfloat16", tokens=tokens) / 1e9
        one = weights_bytes(sizes, dtype) / 1e9
        lines[-1] += f", fine-tuning {peak:.3g} GB (passes of {tokens:,} tokens)"
        lines.append(f"weights: {one:.2g} GB a fine-tune; all {tuned} kept: {one * tuned:.3g} GB")
    return lines
