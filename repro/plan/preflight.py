"""What a run needs, checked before it starts anything."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from repro.data.source import Source
from repro.errors import EXIT_MISSING, ReproError
from repro.machine.diagnosis import Diagnosis, failed
from repro.models import doctor
from repro.models.memory import BYTES, evaluation_bytes
from repro.models.probes import Probes
from repro.models.spec import Architecture, ModelSpec
from repro.plan import placement
from repro.plan.estimate import Count, by_characters, counter
from repro.plan.placement import STEP_TOKENS, training_seconds
from repro.plan.plan import TORCH, Plan, Training, weights_key
from repro.plan.steps import Keep
from repro.plan.store import Store
from repro.printable import counted
from repro.profiles import Profile
from repro.profiles.profile import Compute
from repro.spec.cells import BASE, Variant
from repro.spec.prompts import fill
from repro.spec.tasks import Part

_GUESSED = 0.75
"""Of a number of tokens that is guessed from characters, what is there at the least."""


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
        checkpoints: models that lie on the disk together.
        probes: of the machine; by default of this one.
    """
    compute, sizes = profile.compute, spec.architecture
    gpus, gpu_memory_gb, memory_gb = compute.gpus, compute.gpu_memory_gb, compute.memory_gb
    one_gb = sizes.parameters * BYTES[compute.precision] / 1e9 if sizes else 0.0
    tuning: list[Diagnosis] = []
    if compute.device == "cuda" and sizes is not None:
        alone = evaluation_bytes(sizes, compute.precision, tokens=placement.SMALLEST)
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
        disk_gb=compute.disk_gb + max(0, checkpoints - 1) * one_gb,
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
    if problems := source.missing(parts):
        return [Diagnosis("data", "fail", str(p), source.name, p.hint) for p in problems]
    files = counted(len(parts), "file")
    return [Diagnosis("data", "ok", files, f"{source.name}, all as pinned")]


def require(
    plan: Plan, store: Store, out: Path, *, keep: Keep = "last", workers: int = 1
) -> list[Diagnosis]:
    """Start nothing that cannot finish; returns what is worth a look all the same.

    Args:
        keep: which fine-tuned weights stay; workers: as many models lie in the store on the way.

    Raises:
        ReproError: what is missing, with its remedy (3); demonstrations that do not fit (2).
    """
    (count, _), profile = counter(plan, store), plan.request.profile
    for model in plan.models:
        first = model.seed == plan.request.seeds[0]  # whose rows are those of the others
        if model.training is not None and first and model.to_tune(store.has):
            _require_room(model.variant, model.training, count)
    to_tune = sum(model.to_tune(store.has) for model in plan.models)
    tuned = to_tune > 0
    together = max(Counter(m.trained_as for m in plan.models if m.training).values(), default=1)
    findings = machine_findings(
        profile,
        plan.request.spec,
        store,
        [out],
        based=tuned
        or any(
            model.variant == BASE and not all(store.has("cell", cell.key) for cell in model.cells)
            for model in plan.models
        ),
        tuned=tuned,
        engine=plan.engine,
        checkpoints=to_tune if keep == "all" else min(to_tune, workers * together),
    )
    found = failed(findings)
    if found:
        told = "; ".join(f"{f.what}: {f.found} (needed: {f.needed})" for f in found)
        raise ReproError(
            told,
            hint=found[0].remedy or f"repro doctor --profile {profile.name}",
            exit_code=EXIT_MISSING,
        )
    return [finding for finding in findings if finding.level == "warn"]


def _require_room(variant: Variant, training: Training, count: Count) -> None:
    """Start no fine-tune whose demonstrations leave no target, see `repro.finetune.encode`."""
    limit, shots = training.recipe.max_length, variant.train_shots
    if not limit or not shots:
        return
    task, text = training.template.task, training.template.text
    rows, before = training.rows.to_list(), training.before
    # Cut from the right, a run learns as long as one row has a target left; where the row itself is
    # shortened, what cannot be must fit in every row.
    if training.recipe.truncation_side == "right":
        own = [fill(task, text, row) for row in rows]
        pick = min
    else:
        bare = dict.fromkeys(task.fields, "")
        own = [fill(task, text, {**row, **bare}) + row["output"] for row in rows]
        pick = max
    at = pick(range(len(rows)), key=lambda i: len(before[i]) + len(own[i]))
    shown, rest = count([before[at], own[at]])
    if count is by_characters:
        shown, rest = round(shown * _GUESSED), round(rest * _GUESSED)
    if shown + rest < limit:
        return
    fit = max(0, (limit - rest) * shots // shown)
    raise ReproError(
        f"{variant.name}: {shots} demonstrations take {shown} tokens and the rest of a "
        f"sample {rest}, and samples are cut at {limit}, so that no target is left to be learnt",
        hint=f"about {fit} fit; or cut nothing: repro run --set max_length=0",
    )
