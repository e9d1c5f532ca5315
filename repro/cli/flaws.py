"""`repro flaws`: what mending each flaw of the published code changes, as a document."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from repro.cli.folders import FOLDER
from repro.cli.options import Request, build_plan, fetch_data, parse, with_options
from repro.console import new_console
from repro.errors import ReproError
from repro.printable import counted


@click.command(short_help="What each flaw of the code does to the scores.")
@with_options
@click.option("--workers", metavar="N|auto", default="1", show_default=True,
              help="Processes that do steps side by side.")  # fmt: skip
@click.option("--results", type=FOLDER, default="results/flaws", show_default=True,
              help="Holds a results folder for each switch.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The document, such as docs/embedded-flaws.md.")  # fmt: skip
def flaws(workers: str, results: Path, out: Path, **options: Any) -> None:
    """Run the published protocol, then each switch of `corrected` alone and all together.

    Under a switch only the cells are run that it touches. Writes a document with a table.
    """
    if options["overrides"] or options["protocol_name"]:
        raise ReproError("flaws sets protocol and switches itself", hint="leave them out")
    request = parse(**options)
    console = new_console()
    from repro.bars import bars
    from repro.execute.places import places
    from repro.execute.run import run as execute
    from repro.models.load import load_tokenizer
    from repro.plan.plan import Plan
    from repro.plan.preflight import require
    from repro.plan.store import Store
    from repro.plan.touched import Touched
    from repro.report.documents import flaws as document
    from repro.results.runs import Run
    from repro.verify.flaws import flaws as judged
    from repro.verify.reading import read_results

    def computed(plan: Plan, name: str) -> Run:
        folder, store = results / name, Store(request.store)
        require(plan, store, folder)
        with bars(console) as progress:
            execute(
                plan,
                store,
                folder,
                keep_models=request.profile.keep_models,
                say=progress.console.print,
                progress=progress,
                options=request.options,
                workers=places(workers, request.profile, plan.spec),
            )
        (run,) = read_results(folder).runs
        # The folder may hold more, of an earlier selection.
        keys = {cell.key for model in plan.models for cell in model.cells}
        return replace(run, cells={k: cell for k, cell in run.cells.items() if cell.key in keys})

    def planned(asked: Request) -> Plan:
        fetch_data(asked, console)
        return build_plan(asked, console.print)

    first = planned(request)
    published = computed(first, first.protocol_name)
    weights = Store(request.store).find("weights", first.base_key)
    assert weights is not None
    touched = Touched(first, load_tokenizer(weights))
    runs = {}
    for name, mended in _mended(request):
        part = touched.part(planned(mended))
        cells = sum(len(model.cells) for model in part.models)
        console.print(f"{name}: {counted(cells, 'cell')} touched")
        if cells:
            runs[name] = computed(part, name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(document(published, judged(published, runs)), encoding="utf-8")
    console.print(f"flaws in {out}", soft_wrap=True)


def _mended(request: Request) -> Iterator[tuple[str, Request]]:
    """The request with each switch of `corrected` alone, then with all of them."""
    from repro.verify.flaws import CORRECTED, mended

    values = mended(request.protocol, request.study.protocols[CORRECTED])
    for name, value in values.items():
        yield name, replace(request, overrides={name: value})
    yield CORRECTED, replace(request, protocol_name=CORRECTED)
