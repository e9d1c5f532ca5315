"""What a run needs, checked before it starts anything."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from repro.data.source import Source
from repro.errors import EXIT_MISSING, ReproError
from repro.machine.diagnosis import Diagnosis, failed
from repro.models import doctor
from repro.models.memory import evaluation_bytes
from repro.models.probes import Probes
from repro.models.spec import Architecture, ModelSpec
from repro.plan import placement
from repro.plan.lengths import require_room
from repro.plan.needs import weights_dtype
from repro.plan.pace import STEP_TOKENS, training_seconds
from repro.plan.plan import TORCH, Plan, weights_key
from repro.plan.store import Store
from repro.printable import counted
from repro.profiles import Profile
from repro.profiles.profile import Compute
from repro.spec.cells import BASE
from repro.spec.tasks import Part


def machine_findings(
    profile: Profile,
    spec: ModelSpec,
    store: Store,
    folders: Sequence[Path],
    *,
    based: bool = True,
    tuned: bool = True,
    engine: str = TORCH,
    checkpoints: int = 1,
    probes: Probes | None = None,
) -> list[Diagnosis]:
    """Checks of Python, packages, GPU, memory, disk, folders, hub access and weights.

    Args:
        based: whether the base's weights are needed.
        tuned: whether anything is to be fine-tuned; evaluating alone needs less.
        engine: what evaluates, as a plan has it.
        checkpoints: models of one training, which lie on the disk together until evaluated.
        probes: of the machine; by default of this one.
    """
    compute, sizes = profile.compute, spec.architecture
    gpus, gpu_memory_gb, memory_gb = compute.gpus, compute.gpu_memory_gb, compute.memory_gb
    bytes_each = 4 if compute.dtype == "float32" else 2
    one_gb = sizes.parameters * bytes_each / 1e9 if sizes else 0.0
    tuning: list[Diagnosis] = []
    if compute.device == "cuda" and sizes is not None:
        alone = evaluation_bytes(sizes, weights_dtype(profile), tokens=placement.SMALLEST)
        gpus, gpu_memory_gb = 1, math.ceil(alone / 1e9)
        probes = probes or Probes()
        if tuned:
            record = placement.measured(store.root, compute, probes)
            choice = placement.here(spec, compute, probes, record=record)
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
        disk_gb=compute.disk_gb + (checkpoints - 1) * one_gb,
        folders=(store.root, *folders),
        extras=("run",) if engine == TORCH else ("run", "vllm"),
    )
    present = not based or store.has("weights", weights_key(spec))
    return doctor.check(spec, needs, weights_present=present, probes=probes) + tuning


def _tuning_finding(
    choice: placement.Choice | None, sizes: Architecture, compute: Compute, probes: Probes
) -> Diagnosis:
    """Whether fine-tuning fits, and how."""
    what = "fine-tuning"
    if choice is not None:
        gb = f"{choice.peak_bytes / 1e9:.3g} GB"
        step = training_seconds(compute, sizes, choice, tokens=STEP_TOKENS, steps=1)
        found = f"{choice}; a step of {STEP_TOKENS:,} tokens in about {step:.2g} s"
        return Diagnosis(what, "ok", found, f"{gb} (passes of {choice.tokens:,} tokens)")
    gpus = ", ".join(f"{size / 1e9:.0f} GB" for size in probes.cuda().memory) or "none"
    found = f"GPUs: {gpus}; main memory: {probes.memory() / 1e9:.0f} GB"
    remedy = (
        "evaluate the base, or fine-tunes that you have: repro run --variants base, or "
        "--checkpoints DIR"
    )
    return Diagnosis(what, "fail", found, placement.ways(sizes, compute), remedy)


def data_findings(source: Source, parts: Sequence[Part]) -> list[Diagnosis]:
    """Whether the rows are there and match their hashes; one finding, or one a missing file."""
    problems = source.missing(parts)
    if not problems:
        return [
            Diagnosis("data", "ok", counted(len(parts), "file"), f"{source.name}, all as pinned")
        ]
    return [Diagnosis("data", "fail", str(p), source.name, p.hint) for p in problems]


def require(plan: Plan, store: Store, out: Path) -> list[Diagnosis]:
    """Start nothing that cannot finish; returns what is worth a look all the same.

    Raises:
        ReproError: what is missing, with its remedy (3); demonstrations that do not fit (2).
    """
    require_room(plan, store)
    tuned = any(model.to_tune(store.has) for model in plan.models)
    based = tuned or any(model.variant == BASE for model in plan.models)
    findings = machine_findings(
        plan.profile,
        plan.spec,
        store,
        [out],
        based=based,
        tuned=tuned,
        engine=plan.engine,
        checkpoints=max(Counter(m.training for m in plan.models if m.recipe).values(), default=1),
    )
    found = failed(findings)
    if found:
        told = "; ".join(f"{f.what}: {f.found} (needed: {f.needed})" for f in found)
        raise ReproError(
            told,
            hint=found[0].remedy or f"repro doctor --profile {plan.profile.name}",
            exit_code=EXIT_MISSING,
        )
    return [finding for finding in findings if finding.level == "warn"]
