"""`repro run` and `repro plan`."""

from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from repro.cli.options import build_plan, fetch_data, parse, with_options
from repro.errors import EXIT_FAILED, ReproError


@click.command()
@with_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Results folder. [default: results/PROFILE-PROTOCOL]")  # fmt: skip
@click.option("--keep-models", type=click.Choice(["none", "last", "all"]),
              help="Which fine-tuned weights stay in the store; none drops the base's too, "
              "all for 25 fine-tunes of 7B is 340 GB. [default: the profile's]")  # fmt: skip
@click.option("--attention", type=click.Choice(["flex", "grouped"]),
              help="How packed samples attend in fine-tuning on a GPU. "
              "[default: what the self-test of the GPU says]")  # fmt: skip
@click.option("--verify", is_flag=True,
              help="Then print what `repro verify` says and write the report to OUT/report. Exit "
              "code 1 if numbers do not reproduce; 0 where no reference is stored.")  # fmt: skip
def run(
    out: Path | None,
    keep_models: str | None,
    attention: Literal["flex", "grouped"] | None,
    verify: bool,
    **options: Any,
) -> None:
    """Fine-tune and evaluate whatever the selection needs and the store does not hold yet.

    Interrupted or killed, the same command goes on from there. `repro verify` shows the scores.
    """
    request = parse(**options)
    if attention == "flex" and request.profile.compute.device == "cpu":
        raise ReproError(
            f"--attention flex needs a GPU, and the profile {request.profile.name} has none",
            hint="leave --attention out",
        )
    console = Console(highlight=False)
    fetch_data(request, console)
    plan = build_plan(request, console.print)
    from repro.cli.progress import bars
    from repro.pipeline.preflight import require
    from repro.pipeline.run import Runner
    from repro.pipeline.spent import in_words
    from repro.pipeline.store import Store
    from repro.report.commands import finish

    store = Store(request.store)
    folder = out or Path("results") / f"{request.profile.name}-{request.protocol_name}"
    for finding in require(plan, store, folder):
        console.print(f"note: {finding.what}: {finding.found}; {finding.remedy}", markup=False)
    with bars(console) as progress:
        runner = Runner(
            plan,
            store,
            folder,
            keep_models=keep_models or request.profile.keep_models,
            say=progress.console.print,
            attention=attention,
            progress=progress,
        )
        runner.run()
    console.print(in_words(runner.spent))
    cells = sum(len(job.cells) for job in plan.jobs)
    console.print(f"{cells} cells in {folder}/results.jsonl, their samples in {folder}/samples/")
    if not verify:
        console.print(f"next: repro verify {folder}", markup=False)
    elif finish(folder, console, bars(console)):
        raise click.exceptions.Exit(EXIT_FAILED)


@click.command()
@with_options
def plan(**options: Any) -> None:
    """Print what `repro run` would do with the same options: models, cells, tokens, time."""
    request = parse(**options)
    console = Console(highlight=False)
    found = build_plan(request, console.print)
    from repro.pipeline import placement
    from repro.pipeline.estimate import costs, counter
    from repro.pipeline.preflight import needs
    from repro.pipeline.store import Store
    from repro.report.plan import plan_table

    store = Store(request.store)
    count, counted = counter(found, store)
    compute = found.profile.compute
    choice = placement.here(found.spec, compute) if compute.device == "cuda" else None
    spent = costs(found, count, store.has, choice)
    if choice is not None:
        console.print(f"fine-tuning here: {choice}")
    console.print(plan_table(found, store, spent, counted=counted, needs=needs(found, store)))
