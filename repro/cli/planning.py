"""`repro plan`: the full plan where all is there, else an outline from the kit's counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from rich.console import Console

from repro.cli.options import Request, build_plan
from repro.errors import EXIT_MISSING, ReproError
from repro.machine.kinds import kinds, of
from repro.machine.selftest.record import of_kind
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan import auto, placement
from repro.plan.cost import Row, duration
from repro.plan.layout import AUTO, NODE, Layout, at, elsewhere, main_gb, number_of
from repro.plan.makespan import makespan
from repro.plan.needs import needs
from repro.plan.outline import outline
from repro.plan.placement import ways
from repro.plan.table import plan_table
from repro.printable import counted
from repro.profiles import Profile
from repro.spec.cells import BASE

MOST = 4096
"""Workers that a plan is made for."""


@dataclass(frozen=True)
class Elsewhere:
    """GPUs that need not be here.

    Attributes:
        told: number and kind; where: the same with main memory.
        rates: where their rates come from, in words.
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
    spec = ModelSpec.from_table(request.profile.model, request.profile.origin)
    there = _elsewhere(request, spec, gpus) if gpus else None
    if there is not None:
        request = replace(request, profile=there.profile)
        lacking, choice = "the machine may be another one", there.laid.choice
    else:
        lacking, choice = _lacking(), _here(request, spec)
    # Of a study of the user's own nothing is counted beforehand.
    if not lacking or (there is not None and request.study.table is not None and not _lacking()):
        try:
            rows, counted = _full(request, console, choice)
            lacking = ""
        except ReproError as error:
            if error.exit_code != EXIT_MISSING or request.study.table is not None:
                raise  # nothing is counted of a study from a file
            lacking = str(error).split("; ")[0]
    if lacking:
        found = outline(
            request.cells,
            study=request.study,
            profile=request.profile,
            protocol=request.protocol,
            seeds=request.seeds,
            test_limit=request.test_limit,
            given=request.given,
            choice=choice,
        )
        rows, counted = found.rows, found.counted
    tuned = sum(row.name != BASE.name for row in rows)
    rates = there.rates if there else f"by the rates of {request.profile.compute.measured}"
    notes = [
        f"profile {request.profile.name}, protocol {request.protocol_name}"
        + "".join(f", {name}={value}" for name, value in request.overrides.items()),
        f"base model: {spec.describe()}",
        f"tokens: {counted}; prompts with each context once; new ones at most",
        f"time: {rates}",
        *needs(request.profile, spec, tuned),
    ]
    if tuned and choice is not None:
        notes.append(f"fine-tuning {f'on {there.where}' if there else 'here'}: {choice}")
    if lacking:
        notes.append(f"not looked up: what the store holds already ({lacking})")
    console.print(plan_table(rows, notes))
    if there is not None:
        laid = there.laid
        number = number_of(
            workers or AUTO,
            laid.groups,
            laid.groups,
            f"{laid.groups} times {laid.size} for a worker",
            there.told,
        )
        console.print(_with_workers(rows, number, price, gpus=number * laid.size))
    elif workers is not None or price is not None:
        number = number_of(workers or "1", 1, MOST, f"at most {MOST}", "a plan")
        console.print(_with_workers(rows, number, price))


def _elsewhere(request: Request, spec: ModelSpec, gpus: str) -> Elsewhere:
    """The GPUs that a plan is asked for, with the profile's rates on them.

    Raises:
        ReproError: the profile computes on a CPU, or its model does not fit (2).
    """
    compute = request.profile.compute
    if compute.device != "cuda":
        raise ReproError(
            f"--gpus is for profiles that compute on a GPU; {request.profile.name} does not",
            hint="--profile llama2-7b or small",
        )
    kind, count = of(gpus)
    told = f"{count} x {kind.name}"
    where = f"{told} ({main_gb(count):,} GB of main memory{' each 8' if count > NODE else ''})"
    record = of_kind(request.store, kind.told)
    tuned = any(cell.variant not in (BASE, *request.untrained) for cell in request.cells)
    laid = elsewhere(request.profile, spec, kind, count, tuned=tuned, record=record)
    if tuned and laid.choice is None:
        assert spec.architecture is not None
        raise ReproError(
            f"{told} cannot fine-tune {spec.describe()}: {ways(spec.architecture, compute)}",
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


def _here(request: Request, spec: ModelSpec) -> placement.Choice | None:
    """Where a fine-tune's memory would lie; None without a GPU, for which torch need not start."""
    compute = request.profile.compute
    if compute.device != "cuda" or not auto.has_gpu() or find_spec("torch") is None:
        return None
    probes = Probes()
    record = placement.measured(request.store, compute, probes)
    return placement.here(spec, compute, probes, record=record)


def _full(
    request: Request, console: Console, choice: placement.Choice | None
) -> tuple[Sequence[Row], str]:
    if request.profile.data == "upstream":
        _require_folder(request)
    plan = build_plan(request, console.print)
    from repro.plan.estimate import costs, counter
    from repro.plan.store import Store

    store = Store(request.store)
    count, counted = counter(plan, store)
    return costs(plan, count, store.has, choice), counted


def _require_folder(request: Request) -> None:
    """Without its folder no file of the data is there; torch need not start to see that."""
    from repro.data.upstream import locate

    folder = locate(request.data_dir)
    if not folder.is_dir():
        raise ReproError(f"the data is not at {folder}", exit_code=EXIT_MISSING)
