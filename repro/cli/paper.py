"""The paper itself: `repro claims`, `findings`, `flaws`, `audit` and `protocols`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from repro.cli.folders import FOLDER
from repro.cli.options import build_plan, fetch_data, hiding_protocol, parse, with_options
from repro.console import new_console
from repro.errors import ReproError
from repro.plan.select import Request, split_names
from repro.printable import counted
from repro.report.citations import NAME, linked
from repro.spec.protocol import PROTOCOLS, typed
from repro.studies.paper.protocols import switches


@click.command(short_help="Do the findings follow from the published figures?")
def claims() -> None:
    """Print whether each of the paper's findings follows from its own published figures."""
    from repro.report.tables import paper_parts

    console = new_console()
    for part in paper_parts():
        console.print(part)


@click.command(short_help="Which findings hold on a stored model, as a document.")
@click.option("--profile", "profiles", multiple=True, default=("small", "small-cpu"),
              show_default=True,
              help="Whose stored runs; of one model, the largest first.")  # fmt: skip
@click.option("--expected", type=FOLDER,
              help="Where runs are stored. [default: expected_results]")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False),
              default="docs/findings.md", show_default=True,
              help="The document; its pictures go into a folder beside it.")  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A document that gets the table of findings, such as README.md.")  # fmt: skip
def findings(
    profiles: tuple[str, ...], expected: Path | None, out: Path, into: Path | None
) -> None:
    """Write which findings hold on a stored model, and which survive a mended flaw.

    Needs stored runs only: no data, no weights, no GPU.
    """
    from repro.report.documents import write_findings
    from repro.verify.published import default_folder
    from repro.verify.survival import stored_conditions

    root = expected or default_folder()
    found = [stored_conditions(root, profile) for profile in dict.fromkeys(profiles)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_findings(found, out, into)
    new_console().print(f"findings in {out}", soft_wrap=True)


@hiding_protocol
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
    from repro.execute.local import places
    from repro.execute.run import run as execute
    from repro.execute.worker import base_weights
    from repro.models.load import load_tokenizer
    from repro.plan.plan import Plan
    from repro.plan.preflight import require
    from repro.plan.store import Store
    from repro.plan.touched import Touched
    from repro.report.documents import flaws as document
    from repro.results.runs import Run
    from repro.verify.flaws import CORRECTED, mended
    from repro.verify.flaws import flaws as judged
    from repro.verify.reading import read_results

    def computed(plan: Plan, name: str) -> Run:
        folder, store = results / name, Store(request.store)
        at = places(workers, request.profile, request.spec)
        require(plan, store, folder, keep=request.profile.keep_models, workers=len(at))
        with bars(console) as progress:
            execute(
                plan,
                store,
                folder,
                keep_models=request.profile.keep_models,
                say=progress.console.print,
                progress=progress,
                options=request.options,
                workers=at,
            )
        (run,) = read_results(folder).runs
        # The folder may hold more, of an earlier selection.
        keys = {cell.key for model in plan.models for cell in model.cells}
        return replace(run, cells={k: cell for k, cell in run.cells.items() if cell.key in keys})

    def planned(asked: Request) -> Plan:
        fetch_data(asked, console)
        return build_plan(asked, console.print)

    first = planned(request)
    published = computed(first, request.protocol_name)
    weights = base_weights(request.spec, Store(request.store), console.print, None)
    touched = Touched(first, load_tokenizer(weights))
    alone = mended(request.protocol, request.study.protocols[CORRECTED])
    under = {name: request.under(request.protocol_name, {name: own}) for name, own in alone.items()}
    runs = {}
    for name, asked in (under | {CORRECTED: request.under(CORRECTED, {})}).items():
        part = touched.part(planned(asked))
        cells = sum(len(model.cells) for model in part.models)
        console.print(f"{name}: {counted(cells, 'cell')} touched")
        if cells:
            runs[name] = computed(part, name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(document(published, judged(published, runs)), encoding="utf-8")
    console.print(f"flaws in {out}", soft_wrap=True)


@click.command(short_help="Recompute what is wrong with the published code.")
@click.option("--data", type=click.Choice(["upstream", "embedded"]), default="upstream",
              show_default=True, help="The authors' data, held against stored values; or the "
              "embedded data, beside these.")  # fmt: skip
@click.option("--data-dir", type=FOLDER, help="A copy of the authors' data.")
@click.option("--tokenizer", type=FOLDER, envvar="REPRO_LLAMA2_TOKENIZER",
              help="A folder with the Llama-2 tokenizer.json.")  # fmt: skip
@click.option("--only", metavar="IDS", help="Only these findings, such as A2,A4.")
@click.option("--all", "every", is_flag=True,
              help="Print every value, not only differing ones or other than 0.")  # fmt: skip
@click.option("-o", "--out", type=FOLDER, help="Write the report in every form to this folder.")
def audit(
    data: str,
    data_dir: Path | None,
    tokenizer: Path | None,
    only: str | None,
    every: bool,
    out: Path | None,
) -> None:
    """Recompute what is wrong with the published code and data, without any model.

    With `--data embedded`, print what the same code finds in the data that the kit makes itself.
    """
    from repro.audit import run, run_embedded

    console = new_console()
    names = split_names(only) or None
    if data == "embedded":
        raise click.exceptions.Exit(run_embedded(names, out, console, every=every))
    raise click.exceptions.Exit(run(data_dir, tokenizer, names, out, console, every=every))


@click.command(short_help="Print the switches between code, text and corrections.")
def protocols() -> None:
    """Print every switch between the published code, the paper's text and the repaired protocol.

    Change single ones with `repro run --set SWITCH=VALUE`.
    """
    columns = [Column(heading, no_wrap=True) for heading in ("switch", *PROTOCOLS, "audit")]
    values = Table(*columns, box=None, pad_edge=False)
    whole = Column("switch", no_wrap=True)
    reasons = Table(whole, "reason", title="Why", title_justify="left", box=None, pad_edge=False)
    for switch in switches().values():
        shown = [typed(switch.values[name]) for name in PROTOCOLS]
        values.add_row(switch.name, *shown, linked(switch.audit))
        reasons.add_row(switch.name, switch.reason)
    new_console().print(values, f"\naudit: sections of {NAME}\n", reasons)
