"""`repro export`: results and test sets in the shapes of other tools."""

import shlex
from pathlib import Path
from typing import Any

import click

from repro.cli.folders import FOLDER
from repro.cli.options import build_plan, fetch_data, parse, with_options
from repro.console import new_console
from repro.errors import ReproError
from repro.printable import counted

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
        from repro.export.hub import push as upload

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
    request = parse(**options | {"variants": options["variants"] or "base"})
    console = new_console()
    fetch_data(request, console)
    plan = build_plan(request, console.print)
    from repro.execute.worker import base_weights
    from repro.export.tasks import write_tasks
    from repro.models.load import load_tokenizer
    from repro.plan.store import Store

    tokenizer = load_tokenizer(base_weights(plan.spec, Store(request.store), console.print, None))
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
        (place / _MARK).write_text("written by repro export\n", encoding="utf-8")

    files = replace_folder(out, _MARK, marked)
    new_console().print(f"{out}: {counted(len(files) - 1, 'file')}")


_MARK = ".repro-export"
"""By which an older export is known."""
