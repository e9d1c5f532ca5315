"""`repro plan`: the full plan where all is there, else an outline from the kit's counts."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

from rich.console import Console

from repro.cli.options import build_plan
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.forked import room
from repro.machine.kinds import kinds, of
from repro.machine.selftest.record import of_kind
from repro.models.memory import evaluation_bytes, finetune_peak_bytes, weights_bytes
from repro.models.probes import Probes
from repro.plan import auto, placement
from repro.plan.cost import Row, duration, makespan, plan_table
from repro.plan.layout import AUTO, NODE, Layout, at, elsewhere, main_gb, number_of
from repro.plan.outline import outline
from repro.plan.placement import STEP_TOKENS, training_seconds
from repro.plan.select import Request
from repro.printable import counted
from repro.profiles import Profile
from repro.spec.cells import BASE

MOST = 4096
"""Workers that a plan is made for."""


class Elsewhere(NamedTuple):
    """GPUs that need not be here.

    Attributes:
        told: number and kind; where: the same with main memory.
        profile: with its rates on them; rates: where these come from, in words.
    """

    told: str
    where: str
    laid: Layout
    profile: Profile
    rates: str


def planned(
    request: Request,
    console: Console,
    *,
    workers: str | None = None,
    gpus: str | None = None,
    price: float | None = None,
) -> None:
    """Print the plan of a request.

    Args:
        workers: how many there would be, here or elsewhere.
        gpus: kind and number, of a machine that need not be here.
        price: of an hour of a GPU, or without them of a worker.
    """
    spec, own_study = request.spec, request.study.table is not None
    there = _elsewhere(request, gpus) if gpus else None
    if there is not None:
        request = replace(request, profile=there.profile)
        lacking, choice = "the machine may be another one", there.laid.choice
    else:
        lacking, choice = _lacking(), _here(request)
    # Of a study of the user's own nothing is counted beforehand.
    if not lacking or (there is not None and own_study and not _lacking()):
        try:
            rows, how = _full(request, console, choice)
            lacking = ""
        except ReproError as error:
            if error.exit_code != EXIT_MISSING or own_study:
                raise
            lacking = str(error).split("; ")[0]
    if lacking:
        rows, how = outline(request, choice)
    tuned = sum(row.name != BASE.name for row in rows)
    rates = there.rates if there else f"by the rates of {request.profile.compute.measured}"
    notes = [
        f"profile {request.profile.name}, protocol {request.protocol_name}"
        + "".join(f", {name}={value}" for name, value in request.overrides.items()),
        f"base model: {spec.describe()}",
        f"tokens: {how}; prompts with each context once; new ones at most",
        f"time: {rates}",
        *_needs(request, tuned),
    ]
    if tuned and choice is not None:
        notes.append(f"fine-tuning {f'on {there.where}' if there else 'here'}: {choice}")
    if lacking:
        notes.append(f"not looked up: what the store holds already ({lacking})")
    console.print(plan_table(rows, notes))
    if there is not None:
        groups, size = there.laid.groups, there.laid.size
        told = f"{groups} times {size} for a worker"
        number = number_of(workers or AUTO, groups, groups, told, there.told)
        console.print(_with_workers(rows, number, price, gpus=number * size))
    elif workers is not None or price is not None:
        compute = request.profile.compute
        if workers == AUTO and compute.device != "cpu":
            raise ReproError(
                "--workers auto depends on the GPUs", hint="add --gpus h100:8, or a number"
            )
        number = number_of(workers or "1", room(compute.threads), MOST, f"at most {MOST}", "a plan")
        console.print(_with_workers(rows, number, price))


def _elsewhere(request: Request, gpus: str) -> Elsewhere:
    """The GPUs that a plan is asked for, with the profile's rates on them."""
    compute, spec = request.profile.compute, request.spec
    if compute.device != "cuda":
        raise ReproError(
            f"--gpus is for profiles that compute on a GPU; {request.profile.name} does not",
            hint="--profile llama2-7b or small",
        )
    kind, count = of(gpus)
    told = f"{count} x {kind.name}"
    where = f"{told} ({main_gb(count):,} GB of main memory{' each 8' if count > NODE else ''})"
    record, tuned = of_kind(request.store, kind.told), bool(request.trained)
    laid = elsewhere(request.profile, spec, kind, count, tuned=tuned, record=record)
    if tuned and laid.choice is None:
        assert spec.architecture is not None
        needed = placement.ways(spec.architecture, compute)
        raise ReproError(
            f"{told} cannot fine-tune {spec.describe()}: {needed}",
            hint="more or larger GPUs, --variants base, or --profile llama2-7b-lora",
        )
    reference = kinds().get(compute.rated, kind)
    if record is not None and "matmul_flops" in record.rates:
        basis = f"as the self-test measured {record.rates['matmul_flops'] / 1e12:.0f} TFLOP/s on it"
    else:
        basis = f"derived from its rated {kind.tflops:g} TFLOP/s and {kind.memory:g} GB/s"
    rates = f"{compute.measured}; on {kind.name} {basis}, {kind.link:g} GB/s between devices"
    own = replace(request.profile, compute=at(compute, reference, kind, record))
    return Elsewhere(told, where, laid, own, rates)


def _needs(request: Request, tuned: int) -> list[str]:
    """Lines on memory and disk, for so many fine-tunes."""
    compute, sizes = request.profile.compute, request.spec.architecture
    lines = [f"needs: {compute.memory_gb:g} GB of memory, {compute.disk_gb:g} GB of disk"]
    if sizes is None:
        if compute.gpus:
            lines[0] += f", {compute.gpus} GPU(s) of {compute.gpu_memory_gb:g} GB"
        return lines
    least, most = (
        evaluation_bytes(sizes, compute.precision, tokens=tokens) / 1e9
        for tokens in (placement.SMALLEST, compute.evaluate_tokens)
    )
    lines.append(
        f"evaluating: {least:.3g} GB at least (one prompt of {placement.SMALLEST:,} tokens), "
        f"{most:.3g} GB for whole batches of {compute.evaluate_tokens:,} tokens; batches are "
        "halved until they fit"
    )
    if not tuned:
        return lines
    if compute.gpus:
        told = [f"whole on 1 GPU {STEP_TOKENS / compute.train_rate:.2g} s"]
        for way, gpus in ((placement.OFFLOADED, 1), (placement.SHARDED, 2), (placement.BOTH, 2)):
            choice = placement.Choice(placement=way, gpus=gpus, tokens=placement.LONGEST)
            seconds = training_seconds(compute, sizes, choice, tokens=STEP_TOKENS, steps=1)
            told.append(f"{choice} {seconds:.2g} s")
        lines.append(f"fine-tuning at least: {placement.ways(sizes, compute)}")
        lines.append(
            f"a step of {STEP_TOKENS:,} tokens, by the rates above and {placement.LINK / 1e9:g} "
            f"GB/s between devices: {', '.join(told)}"
        )
    else:
        tokens, bfloat16 = compute.train_tokens, compute.precision == "bfloat16"
        peak = finetune_peak_bytes(sizes, bfloat16=bfloat16, tokens=tokens) / 1e9
        lines.append(f"fine-tuning: {peak:.3g} GB (passes of {tokens:,} tokens)")
    one = weights_bytes(sizes, compute.precision) / 1e9
    lines.append(f"weights: {one:.2g} GB a fine-tune; all {tuned} kept: {one * tuned:.3g} GB")
    return lines


def _with_workers(rows: Sequence[Row], workers: int, price: float | None, *, gpus: int = 0) -> str:
    """Wall time, hours and cost with some workers."""
    found = makespan(rows, workers)
    hours = (gpus or workers) * found.seconds / 3600
    each = "GPU" if gpus else "worker"
    whom = counted(workers, "worker")
    if gpus > workers:
        whom += f" of {gpus // workers} GPUs"
    busy = found.busy / found.seconds / workers if found.seconds else 1
    told = (
        f"with {whom}: {duration(found.seconds)} from start to end, {hours:.3g} {each} hours; "
        f"workers are busy for {busy:.0%}; no schedule takes less than {duration(found.least)}"
    )
    return told + (f"; {hours * price:,.2f} at {price:g} an hour" if price is not None else "")


def _lacking() -> str:
    """What the full plan needs and is not installed; empty where all is."""
    for name in ("torch", "datasets", "transformers"):
        try:
            found = find_spec(name)
        except ImportError:
            found = None
        if found is None:
            return f"{name} is not installed"
    return ""


def _here(request: Request) -> placement.Choice | None:
    """Where a fine-tune's memory would lie; None without a GPU, for which torch need not start."""
    compute = request.profile.compute
    if compute.device != "cuda" or not auto.has_gpu() or find_spec("torch") is None:
        return None
    probes = Probes()
    record = placement.measured(request.store, compute, probes)
    return placement.here(request.spec, compute, probes, record=record)


def _full(
    request: Request, console: Console, choice: placement.Choice | None
) -> tuple[list[Row], str]:
    """The costs of the full plan, and how tokens were counted."""
    if request.profile.data == "upstream":
        from repro.data.upstream import locate

        # Without its folder no file of the data is there; torch need not start to see that.
        folder = locate(request.data_dir)
        if not folder.is_dir():
            raise ReproError(
                f"the data is not at {folder}",
                hint="repro data fetch"
                + (f" --data-dir {shlex.quote(str(folder))}" if request.data_dir else ""),
                exit_code=EXIT_MISSING,
            )
    plan = build_plan(request, console.print)
    from repro.plan.estimate import costs, counter
    from repro.plan.store import Store

    store = Store(request.store)
    count, counted = counter(plan, store)
    return costs(plan, count, store.has, choice), counted
