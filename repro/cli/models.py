"""`repro models` and `repro doctor`: weights, and whether a profile can run here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from repro import profiles
from repro.cli.folders import FOLDER
from repro.cli.options import ENGINES, model_options, open_source, with_model
from repro.console import new_console
from repro.errors import EXIT_MISSING, ReproError
from repro.profiles import Profile

if TYPE_CHECKING:
    from rich.console import Console

    from repro.machine.finding import Finding
    from repro.pipeline.store import Store


@click.group()
def models() -> None:
    """Base models: fetch one into the store, or build the embedded one."""


@models.command()
@click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE")
@model_options
@click.option("--store", type=FOLDER, envvar="REPRO_STORE",
              default="store", show_default=True)  # fmt: skip
def fetch(profile: str, model: tuple[str, ...], store: Path) -> None:
    """Put a profile's base weights into the store, checked against their hashes."""
    from repro.cli.progress import bars
    from repro.models.spec import ModelSpec
    from repro.pipeline.run import base_weights
    from repro.pipeline.store import Store

    loaded = with_model(profiles.load(profile), model)
    spec = ModelSpec.from_table(loaded.model, loaded.origin)
    console = new_console()
    with bars(console) as progress:
        folder = base_weights(spec, Store(store), progress.console.print, progress)
    console.print(f"base weights in {folder}")


@models.command("build-embedded")
@click.option("--out", type=FOLDER, required=True,
              help="An empty or new folder for the model.")  # fmt: skip
@click.option("--smoke", is_flag=True, help="A few steps only: shows that the recipe runs.")
def build_embedded(out: Path, smoke: bool) -> None:
    """Pre-train the micro Llama of the embedded profile from its recipe and seed."""
    from repro.models.pretrain import build

    console = new_console()

    def show(line: dict[str, float], model: object) -> None:
        console.print(", ".join(f"{name} {value:.5g}" for name, value in line.items()))

    build(out, progress=show, smoke=smoke)
    console.print(f"model, tokenizer and recipe.json in {out}", soft_wrap=True)


@click.command()
@click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE")
@model_options
@click.option(
    "--engine",
    type=ENGINES,
    default="torch",
    help="Check for vLLM too, where `repro run --engine vllm` is to follow.",
)
@click.option("--gpu", is_flag=True,
              help="Then test the GPU itself, some 5 minutes: attention, determinism, memory, "
              "evaluation and speed. `repro run` does so before its first fine-tune on a kind of "
              "GPU and driver that it has not seen.")  # fmt: skip
@click.option("--data-dir", type=FOLDER)
@click.option("--store", type=FOLDER, envvar="REPRO_STORE",
              default="store", show_default=True)  # fmt: skip
@click.option("--out", type=FOLDER, default="results",
              show_default=True)  # fmt: skip
def doctor(
    profile: str,
    model: tuple[str, ...],
    engine: str,
    gpu: bool,
    data_dir: Path | None,
    store: Path,
    out: Path,
) -> None:
    """Check whether a profile can run here, and say what mends what is wrong."""
    from repro.models.doctor import failed
    from repro.models.spec import ModelSpec
    from repro.paper.protocols import protocol
    from repro.pipeline.plan import needed_parts
    from repro.pipeline.preflight import data_findings, machine_findings
    from repro.pipeline.select import Selection, select
    from repro.pipeline.store import Store

    loaded = with_model(profiles.load(profile), model)
    spec = ModelSpec.from_table(loaded.model, loaded.origin)
    parts = needed_parts(select(Selection()), protocol(loaded.protocol))
    findings = [
        *machine_findings(loaded, spec, Store(store), [out], engine=engine),
        *data_findings(open_source(loaded, data_dir), parts),
    ]
    console = new_console()
    console.print(_table(findings))
    if gpu:
        _test_gpu(loaded, Store(store), console)
    if failed(findings):
        raise click.exceptions.Exit(EXIT_MISSING)


def _table(findings: "list[Finding]") -> Table:
    """Findings, and what to do about them."""
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "found", "needed"):
        table.add_column(heading)
    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    for finding in findings:
        level = f"[{colours[finding.level]}]{finding.level}[/]"
        found, needed = escape(finding.found), escape(finding.needed)
        table.add_row(escape(finding.what), level, found, needed)
        if finding.remedy and finding.level != "ok":
            table.add_row("", "", f"[dim]try:[/] {escape(finding.remedy)}", "")
    return table


def _test_gpu(profile: Profile, store: "Store", console: "Console") -> None:
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
    precision = "float32" if profile.compute.dtype == "float32" else "bfloat16"
    record = ensure(store.root, found, [precision], say=console.print, again=True)
    ways = ", ".join(f"{way} in {name}" for name, way in record.attention.items())
    shared = "" if record.share_prefix else "; evaluation shares no prefix"
    console.print(f"attention: {ways}; memory {record.memory_factor:.2f} of the plan{shared}")
    record.require()
