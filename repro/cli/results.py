"""From results to answers: `repro verify`, `report`, `compare`, `merge`, `expected`, `export`."""

import shlex
from pathlib import Path
from typing import Any

import click

from repro import profiles, studies
from repro.cli.folders import FOLDER, STUDY
from repro.cli.options import build_plan, fetch_data, listed, parse, with_options
from repro.console import new_console
from repro.errors import ReproError
from repro.plan.select import claim_names
from repro.printable import counted

_EXPECTED = click.option("--expected", type=FOLDER, help="A reference folder, or one with several. "
                         "[default: expected_results]")  # fmt: skip


@click.command(short_help="Do the numbers reproduce, and do the claims hold?")
@click.argument("results", type=FOLDER)
@_EXPECTED
@click.option("--level", type=click.Choice(["L0", "L1", "L2", "L3"]),
              help="Compare at this level of evidence only.")  # fmt: skip
@click.option("--claims", metavar="C9,C12", shell_complete=listed(lambda study: study.claims),
              help="Only these claims and the cells they rest on.")  # fmt: skip
@click.option("--full", is_flag=True, help="Print everything: all cells, comparisons and points.")
@STUDY
def verify(
    results: Path,
    expected: Path | None,
    level: str | None,
    claims: str | None,
    full: bool,
    study: str | None,
) -> None:
    """Verdicts on a results folder: do its numbers reproduce, and do the paper's claims hold.

    L0: bit for bit. L1: same weights, against stored predictions. L2: retrained, against stored
    seeds. L3: against the paper's published numbers.

    Exit code 0: nothing differs and nothing is missing. 1: something differs. 3: something is
    missing, such as cells, rows, seeds or a reference. Claims count for it only where the run's
    model and data are the paper's.
    """
    from repro.report.commands import conclude, stages
    from repro.report.model import report
    from repro.verify.verdicts import Level

    console, asked = new_console(), claim_names(claims) or None
    with stages(console) as stage:
        found = report(
            results,
            expected=expected,
            level=Level(level) if level else None,
            asked=asked,
            study=studies.load(study) if study else None,
            stage=stage,
        )
    raise click.exceptions.Exit(conclude(found, console, asked, full=full))


@click.command(short_help="Write verdicts as HTML, Markdown, JUnit XML, JSON, CSV.")
@click.argument("results", type=FOLDER)
@click.option("-o", "--out", type=FOLDER, required=True, help="The report folder; an older report "
              "there is replaced.")  # fmt: skip
@_EXPECTED
@click.option("--price", type=click.FloatRange(min=0), metavar="DOLLARS",
              help="Of a device's hour: say what the run cost.")  # fmt: skip
@click.option("--carbon", type=click.FloatRange(min=0), metavar="KG",
              help="CO2e of a device's hour (its kW times its grid's kg a kWh): say what the run "
              "emitted.")  # fmt: skip
@STUDY
def report(
    results: Path,
    out: Path,
    expected: Path | None,
    price: float | None,
    carbon: float | None,
    study: str | None,
) -> None:
    """Write what `repro verify` finds as HTML, Markdown, JUnit XML, JSON, CSV and figures.

    Exit code 0 once all is written, whatever the verdicts: for these ask `repro verify`.
    """
    from repro.report.commands import stages, write_report
    from repro.report.model import report as gather
    from repro.results.spent import Rates

    console, asked = new_console(), studies.load(study) if study else None
    with stages(console) as stage:
        rates = Rates(price, carbon)
        found = gather(results, expected=expected, study=asked, rates=rates, stage=stage)
    write_report(found, out, console)


@click.command(short_help="Hold results B against results A.")
@click.argument("a", type=FOLDER)
@click.argument("b", type=FOLDER)
def compare(a: Path, b: Path) -> None:
    """Hold results B against results A: another machine, version or protocol."""
    from repro.report.commands import compare as command

    raise click.exceptions.Exit(command(a, b, new_console()))


@click.command(short_help="Join results of one plan from several machines.")
@click.argument("results", type=FOLDER, nargs=-1, required=True)
@click.option("-o", "--out", type=FOLDER, required=True, help="The new results folder.")
def merge(results: tuple[Path, ...], out: Path) -> None:
    """Join results folders of one plan that were computed on several machines.

    Every cell keeps its machine in run.json. Where two folders trained a model apart, all its cells
    come from the one that has more of them.
    """
    from repro.results.merge import merge as join

    found = join(results, out)
    console = new_console()
    console.print(f"{counted(found.cells, 'cell')} in {out}/results.jsonl", soft_wrap=True)
    for name in found.left_out:
        console.print(f"left out: {name}", soft_wrap=True)
    console.print(f"next: repro verify {shlex.quote(str(out))}", soft_wrap=True)


@click.group()
def expected() -> None:
    """Reference folders: what results are held against."""


@expected.command()
@click.argument("results", type=FOLDER, nargs=-1, required=True)
@click.option("-o", "--out", type=FOLDER, required=True, help="The new reference folder.")
def record(results: tuple[Path, ...], out: Path) -> None:
    """Make a reference folder from one or more results folders.

    Reference folders may be among them: that is how a stored one gets further cells or seeds.
    """
    from repro.report.commands import record_expected
    from repro.report.tables import reference_parts

    console = new_console()
    for part in reference_parts(record_expected(results, out, console)):
        console.print(part)


@expected.command()
@click.argument("folder", type=FOLDER)
def show(folder: Path) -> None:
    """Print what a reference folder holds."""
    from repro.report.tables import reference_parts
    from repro.verify.reference import load_reference

    console = new_console()
    for part in reference_parts(load_reference(folder)):
        console.print(part)


@click.command("import-upstream", short_help="Make a results folder of the authors' own results.")
@click.argument("folder", type=FOLDER)
@click.option("-o", "--out", type=FOLDER, default=Path("results/upstream"), show_default=True,
              help="The new results folder.")  # fmt: skip
@click.option("--profile", type=click.Choice(profiles.names()), default="llama2-7b",
              show_default=True, help="Whose model was evaluated.")  # fmt: skip
@click.option("--base", default="llama-2-7b", show_default=True,
              help="The base model's folder, as the file names have it.")  # fmt: skip
def import_upstream(folder: Path, out: Path, profile: str, base: str) -> None:
    """Make a results folder from the JSON files that the authors' evaluation wrote.

    Scores are computed anew. Seeds, logits and losses are unknown, so that the numbers can be
    held against the paper (L3) only.
    """
    from repro.verify.upstream_results import import_results

    found = import_results(folder, out, profile=profile, base=base)
    models = len({cell.variant for cell in found.cells})
    console = new_console()
    console.print(
        f"{found.folder}: {counted(len(found.cells), 'cell')} of {counted(models, 'model')}",
        soft_wrap=True,
    )
    console.print(f"next: repro verify {shlex.quote(str(found.folder))}", soft_wrap=True)


_MARK = ".repro-export"
"""By which an older export is known; it lists what was written."""

_WRITERS = {
    "lm-eval": ("repro.export.harness", "write_harness"),
    "inspect": ("repro.export.inspect", "write_inspect"),
    "hf-dataset": ("repro.export.cards", "write_dataset"),
    "hf-model-card": ("repro.export.cards", "write_model_cards"),
    "csv": ("repro.export.tables", "write_csv"),
}


class _Export(click.Group):
    """A group whose command `folder` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["folder", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Export, short_help="Results and test sets in the shapes of other tools.")
def export() -> None:
    """Write results, or the test sets themselves, in the shapes of other tools.

    `repro export RESULTS --format lm-eval -o OUT` is short for `repro export folder RESULTS ...`.
    """


_OUT = click.option("-o", "--out", type=FOLDER, required=True,
                    help="A new folder, or an older export, which is replaced.")  # fmt: skip


@export.command(short_help="A results folder; need not be named.")
@click.argument("results", type=FOLDER)
@click.option("--format", "form", type=click.Choice(list(_WRITERS)), required=True,
              help="Whose shape.")  # fmt: skip
@_OUT
@click.option("--push", metavar="OWNER/NAME",
              help="Of hf-dataset and hf-model-card: also upload it to the Hugging Face hub, as a "
              "private repository; a model card goes to OWNER/NAME-MODEL.")  # fmt: skip
def folder(results: Path, form: str, out: Path, push: str | None) -> None:
    """Write results as logs of lm-evaluation-harness or Inspect, for the hub, or as CSV."""
    from importlib import import_module

    import repro

    if push and not form.startswith("hf-"):
        raise ReproError("--push is of the formats hf-dataset and hf-model-card", hint=f"-o {out}")
    found = repro.load(results)
    if len(found.records) != 1:
        raise ReproError(
            f"{results} holds {counted(len(found.records), 'run')}",
            hint="name the folder of one of them",
        )
    module, name = _WRITERS[form]
    console = new_console()
    for warning in found.warnings:
        console.print(f"note: {warning}")
    _write(lambda place: getattr(import_module(module), name)(found, place), out)
    if push:
        from repro.export.cards import push as upload

        if form == "hf-dataset":
            upload(out, push, "dataset", console.print)
        else:
            for card in sorted(out.glob("*/README.md")):
                upload(card.parent, f"{push}-{card.parent.name}", "model", console.print)


@export.command(short_help="Test sets as tasks of lm-evaluation-harness.")
@with_options
@_OUT
def tasks(out: Path, **options: Any) -> None:
    """Write test sets as tasks of lm-evaluation-harness, with the prompts of a protocol.

    A task a cell that `repro run` with the same options would evaluate, of the base if no
    --variants are named. Prompts hold the BOS tokens of the profile's model.
    """
    if options["cells"] is None and options["variants"] is None:
        options["variants"] = "base"
    request = parse(**options)
    console = new_console()
    fetch_data(request, console)
    plan = build_plan(request, console.print)
    from repro.execute.worker import base_weights
    from repro.export.tasks import write_tasks
    from repro.models.load import load_tokenizer
    from repro.plan.store import Store

    weights = base_weights(request.spec, Store(request.store), console.print, None)
    tokenizer = load_tokenizer(weights)
    left_out: list[str] = []
    why = (
        "the tokens that this protocol scores for their labels are no text behind their prompts "
        "(docs/AUDIT.md, A5)"
    )

    def fill(place: Path) -> None:
        left_out.extend(write_tasks(plan, tokenizer, place))
        if not any(place.glob("*.yaml")):
            raise ReproError(f"no task is left: {why}", hint="--set label_tokens=in-context")

    _write(fill, out)
    if left_out:
        console.print(
            f"left out: {', '.join(left_out)}: {why}; --set label_tokens=in-context has them"
        )
    first = next(out.glob("*.yaml")).stem
    console.print(
        f"next: lm_eval run --include_path {shlex.quote(str(out))} --tasks {first} "
        "--model hf --model_args pretrained=MODEL,add_bos_token=False",
        soft_wrap=True,
    )


def _write(fill: Any, out: Path) -> None:
    from repro.report.folder import replace_folder

    def marked(place: Path) -> None:
        fill(place)
        names = "".join(f"{path.name}\n" for path in sorted(place.iterdir()))
        (place / _MARK).write_text(names, encoding="utf-8")

    mark = out / _MARK
    before = mark.read_text(encoding="utf-8").splitlines() if mark.is_file() else []
    files = replace_folder(out, _MARK, marked, own=before)
    new_console().print(f"{out}: {counted(len(files) - 1, 'file')}")
