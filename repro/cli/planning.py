"""`repro plan`: the full plan where all is there, else an outline from the kit's counts."""

from collections.abc import Sequence
from importlib.util import find_spec

from rich.console import Console

from repro.cli.options import Request, build_plan
from repro.errors import EXIT_MISSING, ReproError
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan import auto, placement
from repro.plan.cost import Row, duration
from repro.plan.makespan import makespan
from repro.plan.needs import needs
from repro.plan.outline import outline
from repro.plan.table import plan_table
from repro.printable import counted
from repro.spec.cells import BASE


def planned(
    request: Request, console: Console, workers: int | None = None, price: float | None = None
) -> None:
    """Print the plan of a request.

    Args:
        workers: how many there would be, here or elsewhere.
        price: of a worker's hour.
    """
    lacking = _lacking()
    spec = ModelSpec.from_table(request.profile.model, request.profile.origin)
    choice = _here(request, spec)
    if not lacking:
        try:
            rows, counted = _full(request, console, choice)
        except ReproError as error:
            if error.exit_code != EXIT_MISSING:
                raise
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
    notes = [
        f"profile {request.profile.name}, protocol {request.protocol_name}"
        + "".join(f", {name}={value}" for name, value in request.overrides.items()),
        f"base model: {spec.describe()}",
        f"tokens: {counted}; prompts with each context once; new ones at most",
        f"time: by the rates of {request.profile.compute.measured}",
        *needs(request.profile, spec, tuned),
    ]
    if tuned and choice is not None:
        notes.append(f"fine-tuning here: {choice}")
    if lacking:
        notes.append(f"not looked up: what the store holds already ({lacking})")
    console.print(plan_table(rows, notes))
    if workers is not None or price is not None:
        console.print(_with_workers(rows, workers or 1, price))


def _with_workers(rows: Sequence[Row], workers: int, price: float | None) -> str:
    """Wall time, hours and cost with some workers."""
    found = makespan(rows, workers)
    hours = workers * found.seconds / 3600
    told = (
        f"with {counted(workers, 'worker')}: {duration(found.seconds)} from start to end, "
        f"{hours:.3g} worker hours of which they compute {found.busy / 3600:.3g}; no schedule "
        f"takes less than {duration(found.least)}"
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
