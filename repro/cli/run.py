"""`repro run`, `repro plan` and `repro doctor`."""

import json
import shlex
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from repro import studies
from repro.cli.folders import FOLDER
from repro.cli.options import build_plan, fetch_data, open_source, parse, with_options
from repro.console import new_console
from repro.errors import EXIT_MISSING, ReproError
from repro.late import uncollected
from repro.machine.diagnosis import Cause, Diagnosis, causes, failed
from repro.machine.kinds import kinds
from repro.plan.select import Request
from repro.printable import counted

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(short_help="Fine-tune and evaluate; finished steps are kept.")
@with_options
@click.option("--out", type=FOLDER,
              help="Results folder. [default: results/PROFILE-PROTOCOL, behind the name of a study "
              "other than paper]")  # fmt: skip
@click.option("--keep-models", type=click.Choice(["none", "last", "all"]),
              help="Which fine-tuned weights stay in the store; none drops the base's too, "
              "all for 25 fine-tunes of 7B is 340 GB. [default: the profile's]")  # fmt: skip
@click.option("--attention", type=click.Choice(["flex", "grouped"]),
              help="How packed samples attend in fine-tuning on a GPU. "
              "[default: what the self-test of the GPU says]")  # fmt: skip
@click.option("--track", type=click.Choice(["tensorboard", "trackio", "wandb"]),
              help="Record training curves there; tensorboard writes to OUT/curves. [default: "
              "nothing]")  # fmt: skip
@click.option("--workers", metavar="N|auto",
              help="Processes that do steps side by side; auto: one a GPU, or on a CPU one for "
              "each of the profile's threads. Bytes do not depend on it. [default: 1, or auto on "
              "Ray]")  # fmt: skip
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local",
              show_default=True,
              help="Where workers are: on this machine, or on a Ray cluster.")  # fmt: skip
@click.option("--address", metavar="HOST:PORT|auto",
              help="Of the Ray cluster's head. [default: a cluster of this machine alone]",
              )  # fmt: skip
@click.option("--verify", is_flag=True,
              help="Then do what `repro verify` does, with its exit code, and write the report to "
              "OUT/report.")  # fmt: skip
@click.option("--full", is_flag=True, help="With --verify: print everything.")
def run(
    out: Path | None,
    keep_models: Literal["none", "last", "all"] | None,
    attention: Literal["flex", "grouped"] | None,
    track: str | None,
    workers: str | None,
    executor: Literal["local", "ray"],
    address: str | None,
    verify: bool,
    full: bool,
    **options: Any,
) -> None:
    """Fine-tune and evaluate whatever the selection needs and the store does not hold yet.

    Interrupted or killed, the same command goes on from there. `repro verify` shows the scores.
    """
    with uncollected():
        request = parse(**options)
        if attention == "flex" and request.profile.compute.device == "cpu":
            raise ReproError(
                f"--attention flex needs a GPU, and the profile {request.profile.name} has none",
                hint="leave --attention out",
            )
        if full and not verify:
            raise ReproError("--full is of --verify", hint="add --verify")
        if address is not None and executor != "ray":
            raise ReproError(
                "--address is of a Ray cluster", hint=f"--executor ray --address {address}"
            )
        console = new_console()
        if track is not None:
            from repro.finetune.curves import require as require_tracker

            require_tracker(track)
        fetch_data(request, console)
        compute = request.profile.compute
        if executor == "local" and workers not in (None, "1") and compute.device == "cpu":
            from repro.execute.forked import warm_up

            warm_up(compute.threads)  # beside the plan
        plan = build_plan(request, console.print)
        from repro.bars import bars
        from repro.execute import cluster
        from repro.execute.local import places
        from repro.execute.run import run as execute
        from repro.execute.timing import in_words
        from repro.plan.preflight import require
        from repro.plan.store import Store

    ray, profile = executor == "ray", request.profile
    with cluster.connected(address) if ray else nullcontext():
        tuned = any(model.training for model in plan.models)
        here = "1" if ray else workers or "1"
        (like, *_) = own = places(here, profile, request.spec, tuned=tuned)
        if ray:
            own = cluster.places(workers or "auto", like)
        store = Store(request.store)
        study = "" if request.study.name == studies.DEFAULT else f"{request.study.name}-"
        default = Path("results") / f"{study}{profile.name}-{request.protocol_name}"
        folder = out or default
        keep = keep_models or profile.keep_models
        for finding in require(plan, store, folder, keep=keep, workers=len(own)):
            console.print(f"note: {finding.what}: {finding.found}; {finding.remedy}")
        with bars(console) as progress:
            timing = execute(
                plan,
                store,
                folder,
                keep_models=keep,
                say=progress.console.print,
                attention=attention,
                track=track,
                progress=progress,
                options=request.options | ({"attention": attention} if attention else {}),
                workers=own,
                on_ray=ray,
            )
    console.print(in_words(timing))
    cells = sum(len(model.cells) for model in plan.models)
    console.print(
        f"{counted(cells, 'cell')} in {folder}/results.jsonl, their samples in {folder}/samples/"
    )
    if not verify:
        console.print(f"next: repro verify {shlex.quote(str(folder))}", soft_wrap=True)
        return
    from repro.report.commands import conclude, stages
    from repro.report.model import report

    with stages(console) as stage:
        found = report(folder, stage=stage)
    if code := conclude(found, console, full=full, out=folder / "report"):
        raise click.exceptions.Exit(code)


@click.command(short_help="Print what `repro run` would do, and what it costs.")
@with_options
@click.option("--workers", metavar="N|auto",
              help="Say how long as many workers take, wherever they are.")  # fmt: skip
@click.option("--gpus", metavar="KIND:COUNT",
              help=f"Plan for these GPUs, which need not be here: {', '.join(kinds())}, or a TOML "
              "file of your own.")  # fmt: skip
@click.option("--price", type=click.FloatRange(min=0), metavar="DOLLARS",
              help="Of an hour of a GPU, or without --gpus of a worker: say what it costs.",
              )  # fmt: skip
def plan(workers: str | None, gpus: str | None, price: float | None, **options: Any) -> None:
    """Print what `repro run` would do with the same options: models, cells, tokens, time.

    Needs neither data, weights nor torch: what is not there is counted by the kit's own numbers,
    and stands as still to do.
    """
    from repro.cli.planning import planned

    planned(parse(**options), new_console(), workers=workers, gpus=gpus, price=price)


@click.command(short_help="Say what keeps `repro run` from finishing here.")
@with_options
@click.option("--out", type=FOLDER, default="results", show_default=True,
              help="Where results would go.")  # fmt: skip
@click.option("--gpu", is_flag=True,
              help="Then test the GPU itself, 4 to 8 minutes: attention, determinism, memory, "
              "evaluation and speed. `repro run` does so before its first fine-tune on a kind of "
              "GPU and driver that it has not seen.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, and no table.")
def doctor(out: Path, gpu: bool, as_json: bool, **options: Any) -> None:
    """Check whether `repro run` with the same options can finish here, and say what mends it.

    Exit code 3 if it cannot.
    """
    request = parse(**options)
    findings = look(request, out)
    wrong = causes(findings)
    console = new_console()
    if as_json:
        told = {
            "profile": request.profile.name,
            "can_run": not failed(findings),
            "findings": [asdict(finding) for finding in findings],
            "causes": [
                {"remedy": one.remedy, "level": one.level, "count": len(one.findings)}
                for one in wrong
            ],
        }
        click.echo(json.dumps(told, indent=1))
    else:
        show(findings, wrong, console)
    if gpu:
        _test_gpu(request, new_console(stderr=as_json))
    if failed(findings):
        raise click.exceptions.Exit(EXIT_MISSING)


def look(request: Request, out: Path) -> list[Diagnosis]:
    """All checks for a request, machine first, data last; of the models that are not left out."""
    from repro.plan.plan import needed_parts, without_missing
    from repro.plan.preflight import data_findings, machine_findings
    from repro.plan.store import Store
    from repro.spec.cells import BASE

    source = open_source(request)
    kept, left_out = without_missing(request, source)
    if kept.cells:
        request = kept
    tuned = bool(request.trained)
    machine = machine_findings(
        request.profile,
        request.spec,
        Store(request.store),
        [out],
        based=tuned or any(cell.variant == BASE for cell in request.cells),
        tuned=tuned,
        engine=request.engine,
    )
    data = data_findings(source, needed_parts(request))
    if kept.cells:
        data += [
            Diagnosis("data", "warn", f"{variant.name} is left out: {why}", "", "repro data fetch")
            for variant, why in left_out.items()
        ]
    return [*machine, *data]


def show(findings: list[Diagnosis], wrong: list[Cause], console: Console) -> None:
    """A line a check, those of one cause in one; then the remedies, each whole on its line."""
    columns = [Column(heading, overflow="fold") for heading in ("check", "", "found", "needed")]
    table = Table(*columns, box=None, pad_edge=False)
    fine = [finding for finding in findings if finding.level == "ok"]
    for one in [*fine, *(cause.summary for cause in wrong)]:
        table.add_row(one.what, Text(one.level, _COLOURS[one.level]), one.found, one.needed)
    console.print(table)
    if wrong:
        console.print("\nwhat to do, the most needed first:")
    for number, cause in enumerate(wrong, 1):
        about = cause.summary.what
        console.print(f"{number}. {about}: {cause.remedy}", soft_wrap=True)


def _test_gpu(request: Request, console: Console) -> None:
    """The self-test, anew; raises ReproError where there is no GPU or nothing may run on it."""
    from repro.machine.gpus import probe_cuda
    from repro.machine.selftest.run import ensure

    found = probe_cuda()
    if not found.memory:
        raise ReproError(
            "no GPU to test" + (f": {found.trouble}" if found.trouble else ""),
            hint="see the checks above",
            exit_code=EXIT_MISSING,
        )
    precisions = [request.profile.compute.precision]
    record = ensure(request.store, found, precisions, say=console.print, again=True)
    ways = ", ".join(f"{way} in {name}" for name, way in record.attention.items())
    shared = "" if record.share_prefix else "; evaluation shares no prefix"
    shared += "; decoding replays a graph" if record.replayed else ""
    console.print(f"attention: {ways}; memory {record.memory_factor:.2f} of the plan{shared}")
    record.require()
