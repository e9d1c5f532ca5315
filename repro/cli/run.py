"""`repro run` and `repro plan`."""

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import click

from repro import studies
from repro.cli.folders import FOLDER
from repro.cli.options import Request, build_plan, fetch_data, parse, with_options
from repro.console import new_console
from repro.errors import ReproError
from repro.late import uncollected
from repro.machine.kinds import kinds
from repro.printable import counted


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
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where workers are: on this machine, or on a Ray cluster.",
)
@click.option(
    "--address",
    metavar="HOST:PORT|auto",
    help="Of the Ray cluster's head. [default: a cluster of this machine alone]",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Then do what `repro verify` does, with its exit code, and write the report to "
    "OUT/report.",
)
@click.option("--full", is_flag=True, help="With --verify: print everything.")  # fmt: skip
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
        if address is not None and executor != "ray":
            raise ReproError(
                "--address is of a Ray cluster", hint=f"--executor ray --address {address}"
            )
        console = new_console()
        if track is not None:
            from repro.finetune.curves import require as require_tracker

            require_tracker(track)
        fetch_data(request, console)
        plan = build_plan(request, console.print)
        from repro.bars import bars
        from repro.execute import cluster
        from repro.execute.places import places
        from repro.execute.run import run as execute
        from repro.execute.timing import in_words
        from repro.plan.preflight import require
        from repro.plan.store import Store

    ray = executor == "ray"
    with cluster.connected(address) if ray else nullcontext():
        tuned = any(model.recipe for model in plan.models)
        here = "1" if ray else workers or "1"
        (like, *_) = own = places(here, request.profile, plan.spec, tuned=tuned)
        if ray:
            own = cluster.places(workers or "auto", like)
        store = Store(request.store)
        folder = out or default_folder(request)
        for finding in require(plan, store, folder):
            console.print(f"note: {finding.what}: {finding.found}; {finding.remedy}")
        with bars(console) as progress:
            timing = execute(
                plan,
                store,
                folder,
                keep_models=keep_models or request.profile.keep_models,
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


def default_folder(request: Request) -> Path:
    """Where results go that no --out names."""
    study = "" if request.study.name == studies.DEFAULT else f"{request.study.name}-"
    return Path("results") / f"{study}{request.profile.name}-{request.protocol_name}"


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
