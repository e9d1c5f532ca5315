"""A whole run: the results folder held, its record, the steps, and where the time went."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from repro import clock
from repro.bars import Relay
from repro.execute.collect import budgets, collect, write_prompts
from repro.execute.local import Place, Processes
from repro.execute.progress import Whole
from repro.execute.schedule import Alone, Schedule
from repro.execute.timing import time_line
from repro.execute.worker import Done, Say, Worker
from repro.files import write_atomically
from repro.lines import Line, append_line
from repro.machine import numerics as machine
from repro.machine.gpus import probe_cuda
from repro.machine.selftest import record as selftest
from repro.plan.estimate import by_characters, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import Curves, FineTune, Keep, Step, Way, needed, steps_of, with_drops
from repro.plan.store import Store
from repro.results.schema import CURVES, FORMAT, RUN, TIMINGS
from repro.results.writing import asked, claim_folder, study_record


def run(
    plan: Plan,
    store: Store,
    out: Path,
    *,
    keep_models: Keep,
    say: Say,
    attention: Way | None = None,
    track: str | None = None,
    progress: Progress | None = None,
    options: Mapping[str, Any] | None = None,
    workers: Sequence[Place] = (),
    on_ray: bool = False,
) -> Line:
    """Do the steps of a plan that the store does not hold yet, and write the results.

    Args:
        keep_models: which fine-tuned weights stay; with "none" the base weights go too, once
            everything is done.
        attention, track, options: as of the command, the last for run.json.
        workers: where worker processes compute; this process does all with fewer than two.
        on_ray: workers are actors on the cluster that this process is connected to.

    Returns:
        Where the time went, see `repro.execute.timing`.
    """
    request = plan.request
    with claim_folder(out, plan.identity, request.study), clock.measuring() as whole:

        def write_record() -> None:
            write_atomically(out / RUN, _record(plan, store, out, options or {}))

        write_record()
        with clock.part("prompts"):
            write_prompts(out, plan)
        to = None if track is None else Curves(track, (out / CURVES).absolute())
        steps = _steps(plan, store, out, attention, to, say)
        if not steps:
            say("all cells were there already")
        seconds = seconds_of(plan, by_characters)
        shown = Whole(store, steps, seconds, progress, say)
        own = Worker(store, say=say, progress=Relay(lambda bar: shown.told("", bar)))

        def done(step: Step, took: Done) -> None:
            whole.absorb(took.measured)
            for line in took.lines:
                append_line(out / TIMINGS, line)
            shown.finished(step, took)

        try:
            todo = with_drops(steps, keep_models)
            with shown.shown():
                if on_ray:
                    from repro.execute.on_ray import Actors  # only where it is asked for

                    numerics = plan.identity["numerics"]
                    assert isinstance(numerics, Mapping)
                    with Actors(store, workers, say, shown, numerics) as actors:
                        Schedule(todo, actors, own, done, seconds).finish()
                elif len(workers) > 1:
                    with Processes(store, workers, say, shown) as processes:
                        Schedule(todo, processes, own, done, seconds).finish()
                else:
                    Schedule(todo, Alone(own, shown), own, done, {}).finish()
        finally:
            with clock.part("results"):
                collect(out, plan, plan.models, store)
                write_record()
        line = time_line(whole, request.profile.compute, max(1, len(workers)))
        append_line(out / TIMINGS, line)
        if keep_models == "none":
            store.drop("weights", plan.base_key)
        return line


def _steps(
    plan: Plan, store: Store, out: Path, attention: Way | None, track: Curves | None, say: Say
) -> list[Step]:
    """The steps that are needed, as the self-test of the GPU allows them."""
    steps = needed(steps_of(plan, out, way=attention, track=track), store.find)
    compute = plan.request.profile.compute
    if compute.device != "cuda":
        return steps
    from repro.machine.selftest.run import ensure, known

    if any(isinstance(step, FineTune) for step in steps):
        tested = ensure(store.root, probe_cuda(), [compute.precision], say=say)
    elif (found := known(store.root, probe_cuda(), [compute.precision])) is None:
        return steps
    else:  # a run that goes on evaluates as it began
        tested = found
    tested.write(out / selftest.FILE)
    tested.require()
    allowed = steps_of(plan, out, tested=tested, way=attention, track=track)
    return needed(allowed, store.find)


def _record(plan: Plan, store: Store, out: Path, options: Mapping[str, Any]) -> str:
    request = plan.request
    record = {
        "format": FORMAT,
        "study": study_record(request.study),
        "identity": plan.identity,
        "asked": asked(
            out,
            [cell.cell.name for model in plan.models for cell in model.cells],
            [model.seed for model in plan.models if model.seed is not None],
        ),
        "options": dict(options),
        "model": dict(request.profile.model),
        "data": request.profile.data,
        "switches": vars(request.protocol),
        "source": machine.source_state(),
        "lock_sha256": machine.lock_sha256(),
        "versions": machine.versions(),
        "machine": machine.describe(),
        "budgets": budgets(plan, store),
    }
    return json.dumps(record, indent=1) + "\n"
