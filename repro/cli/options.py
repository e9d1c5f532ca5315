"""Options that `run` and `plan` share, and what they come to."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from repro import profiles, studies
from repro.cli import completion
from repro.cli.completion import listed, one_of
from repro.cli.folders import FOLDER
from repro.errors import ReproError, unknown
from repro.plan.checkpoints import Given, find
from repro.plan.select import Selection, claim_names, select, split_names
from repro.profiles import Profile
from repro.profiles.profile import LARGEST_SEED
from repro.spec.cells import Cell, Variant
from repro.spec.protocol import PROTOCOLS, Protocol
from repro.spec.study import Study
from repro.studies.paper.protocols import switches

if TYPE_CHECKING:
    from repro.data.source import Source
    from repro.plan.plan import Plan

ENGINES = click.Choice(["torch", "vllm"])

_OPTIONS = (
    click.option("--study", default=studies.DEFAULT, show_default=True, metavar="NAME|FILE",
                 help=f"What is asked: {', '.join(studies.NAMES)}, or a TOML file of your own."),
    click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE",
                 shell_complete=one_of(profiles.names),
                 help="What to run on; `repro profiles` lists them. `auto`: the largest that fits "
                 "the GPU, embedded without one."),
    click.option("--protocol", "protocol_name", metavar="NAME",
                 shell_complete=one_of(lambda: PROTOCOLS),
                 help=f"One of {', '.join(PROTOCOLS)}. [default: the profile's]"),
    click.option("--set", "overrides", multiple=True, metavar="SWITCH=VALUE",
                 shell_complete=one_of(completion.switches),
                 help="Override a switch of the protocol; `repro protocols` lists them."),
    click.option("--figures", metavar="1,2", shell_complete=listed(completion.figures),
                 help="Only the cells of these figures."),
    click.option("--claims", metavar="C9,C12", shell_complete=listed(completion.claims),
                 help="Only the cells that these claims rest on."),
    click.option("--variants", metavar="NAMES", shell_complete=listed(completion.variants),
                 help="Only these models, such as base,xsum-ft-2000."),
    click.option("--tests", metavar="NAMES", shell_complete=listed(completion.tests),
                 help="Only these test sets, such as xsum,rte."),
    click.option("--cells", metavar="NAMES", shell_complete=listed(completion.cells),
                 help="Exactly these cells, such as base.xsum.p1.2."),
    click.option("--grid", type=click.Choice(["figures", "every-shot", "full"]),
                 help="574, 616 (bars over all shot counts) or 3,744 cells. [default: figures, or "
                 "every-shot where the protocol's bars need it]"),
    click.option("--rows", type=click.IntRange(min=1), metavar="N",
                 help="Score at most N rows of a test set."),
    click.option("--seeds", metavar="42,43",
                 help="Seeds of the fine-tunes. [default: the profile's]"),
    click.option("--data-dir", type=FOLDER,
                 help="A local copy of the authors' data; checked like a download."),
    click.option("--store", type=FOLDER, envvar="REPRO_STORE",
                 default="store", show_default=True, help="Where artefacts are kept."),
    click.option("--checkpoints", type=FOLDER, metavar="DIR",
                 help="Fine-tuned models that you have: DIR/xsum-ft-2000 is evaluated and not "
                 "trained. With several seeds, DIR/xsum-ft-2000.seed43."),
    click.option("--engine", type=ENGINES, default="torch",
                 show_default=True,
                 help="What evaluates: the kit itself, or vLLM, on a GPU and where installed."),
    click.option("--skip-missing", is_flag=True,
                 help="Leave out the models whose training data is not there, and say which."),
)  # fmt: skip


_MODEL = click.option(
    "--model", "model", multiple=True, metavar="FIELD=VALUE",
    help="Override a field of the profile's [model] table, such as "
    "repo=NousResearch/Llama-2-7b-hf or revision=COMMIT.",
)  # fmt: skip


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --model to a command."""
    return _MODEL(command)


def with_model(profile: Profile, settings: tuple[str, ...]) -> Profile:
    """The profile with fields of its [model] table overridden; `kind` starts a new table."""
    table = dict(profile.model)
    for setting in sorted(settings, key=lambda s: not s.startswith("kind=")):
        name, equals, text = setting.partition("=")
        if not name or not equals:
            raise ReproError(f"--model takes FIELD=VALUE, not '{setting}'", hint="--model repo=...")
        if name == "kind" and text != table.get("kind"):
            table = {}
        table[name] = text
    return replace(profile, model=table)


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return model_options(command)


@dataclass(frozen=True)
class Request:
    """What the shared options ask for, checked as far as that goes without reading data.

    Attributes:
        chosen: why `auto` took this profile; empty where it was named.
        given: fine-tunes that are there already.
        options: of those that say where things are, and the model, what was given other than the
            default: whoever runs missing cells later needs them again.
    """

    study: Study
    profile: Profile
    chosen: str
    protocol_name: str
    overrides: dict[str, object]
    selection: Selection
    rows: int | None
    seeds: tuple[int, ...]
    data_dir: Path | None
    store: Path
    given: Given
    skip_missing: bool
    engine: str
    options: dict[str, Any]

    @property
    def protocol(self) -> Protocol:
        """The study's protocol with the switches that were set."""
        return self.study.protocol(self.protocol_name, self.overrides)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells asked for."""
        return select(self.selection, self.study)

    @property
    def test_limit(self) -> int | None:
        """Rows of a test set to score, at most; None for the protocol's number."""
        return min(filter(None, (self.rows, self.profile.sizes.test)), default=None)

    @property
    def untrained(self) -> set[Variant]:
        """Variants that are given for every seed."""
        variants = {variant for variant, _ in self.given}
        return {v for v in variants if all((v, seed) in self.given for seed in self.seeds)}


def _overrides(settings: tuple[str, ...]) -> dict[str, object]:
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in switches():
            raise unknown("switch", name, switches())
        if not equals:
            raise ReproError(f"--set {name} has no value", hint=f"--set {name}=VALUE")
        try:
            values[name] = switches()[name].parse(text)
        except ValueError as error:
            raise ReproError(f"--set: {error}", hint="repro protocols") from None
    return dict(sorted(values.items()))


def _seeds(text: str | None, profile: Profile) -> tuple[int, ...]:
    if text is None:
        return profile.seeds
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in split_names(text)))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or max(seeds) > LARGEST_SEED:
        raise ReproError(
            f"--seeds takes whole numbers from 0 to {LARGEST_SEED}, not '{text}'",
            hint="--seeds 42,43,44",
        )
    return seeds


def _check_vllm(profile: Profile, chosen: Protocol) -> None:
    """Raise where vLLM cannot do what is asked for."""
    if profile.compute.device == "cpu":
        raise ReproError(
            f"--engine vllm needs a GPU, and the profile {profile.name} computes on the CPU",
            hint="--engine torch, or a profile for a GPU: --profile small",
        )
    if chosen.rotary_precision == "rounded":
        raise ReproError(
            "--engine vllm cannot round the rotary frequencies (rotary_precision=rounded)",
            hint="--engine torch, or --set rotary_precision=float32",
        )


def parse(
    *,
    study: str,
    profile: str,
    protocol_name: str | None,
    overrides: tuple[str, ...],
    figures: str | None,
    claims: str | None,
    variants: str | None,
    tests: str | None,
    cells: str | None,
    grid: Any,  # click has checked it
    rows: int | None,
    seeds: str | None,
    data_dir: Path | None,
    store: Path,
    checkpoints: Path | None,
    skip_missing: bool,
    engine: str,
    model: tuple[str, ...],
) -> Request:
    """The request behind the options; raises ReproError for what does not exist."""
    chosen = ""
    if profile == "auto":
        from repro.plan import auto  # slow imports

        profile, why = auto.choose()
        chosen = f"profile {profile}: {why}"
    asked_for = studies.load(study)
    loaded = with_model(profiles.load(profile), model)
    name = protocol_name or loaded.protocol
    if name not in asked_for.protocols:
        raise unknown("protocol", name, asked_for.protocols)
    switched = _overrides(overrides)
    if engine == "vllm":
        _check_vllm(loaded, asked_for.protocol(name, switched))
    if grid is None:
        smallest = asked_for.protocol(name, switched).best_of == "smallest"
        grid = "figures" if smallest else "every-shot"
    selection = Selection(
        grid=grid,
        figures=split_names(figures),
        claims=claim_names(claims),
        variants=split_names(variants),
        tests=split_names(tests),
        cells=split_names(cells),
    )
    selected = dict.fromkeys(cell.variant for cell in select(selection, asked_for))
    asked = _seeds(seeds, loaded)
    return Request(
        asked_for,
        loaded,
        chosen,
        name,
        switched,
        selection,
        rows,
        asked,
        data_dir,
        store,
        find(checkpoints, selected, asked) if checkpoints else {},
        skip_missing,
        engine,
        _given(
            {
                "study": study if study.endswith(".toml") else None,
                "profile": profile if profile.endswith(".toml") else None,
                "model": list(model),
                "data-dir": data_dir,
                "store": None if store == Path("store") else store,
                "checkpoints": checkpoints,
                "engine": None if engine == "torch" else engine,
            }
        ),
    )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that have a value, paths as texts."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value
    }


def open_source(request: Request) -> "Source":
    """Where rows come from: the study's own places, then the profile's data."""
    from repro.data.own import OwnData  # slow imports

    own: Source
    if request.profile.data == "embedded":
        from repro.data.embedded import EmbeddedData

        own = EmbeddedData()
    else:
        from repro.data.upstream import UpstreamData, locate

        own = UpstreamData(locate(request.data_dir))
    return OwnData(request.study, own) if request.study.table else own


def fetch_data(request: Request, console: Console) -> None:
    """Download what the request needs of the authors' data, unless the user named a copy.

    Raises:
        ReproError: it cannot be had (3); with --skip-missing, `build_plan` finds what is missing.
    """
    from repro.data.upstream import VARIABLE, locate

    if request.profile.data != "upstream" or request.data_dir or os.environ.get(VARIABLE):
        return
    _prepare(request)
    from repro.data.fetch import progress_bar
    from repro.execute.worker import Worker
    from repro.plan.plan import needed_parts
    from repro.plan.steps import FetchData
    from repro.plan.store import Store

    parts = needed_parts(request.study, request.cells, request.protocol, request.untrained)
    wanted = tuple(part for part in parts if request.study.place(part) is None)
    try:
        with progress_bar(console) as progress:
            worker = Worker(Store(request.store), say=console.print, progress=progress)
            worker.do(FetchData(folder=locate(), parts=wanted))
    except ReproError:
        if not request.skip_missing:
            raise


def _prepare(request: Request) -> None:
    """Start torch with its determinism settings."""
    from repro.machine import numerics as machine

    compute = request.profile.compute
    machine.prepare(compute.threads, device=compute.device)


def build_plan(request: Request, say: Callable[[str], None]) -> "Plan":
    """Check the data, and plan; torch is started here, with its determinism settings.

    Raises:
        ReproError: data is missing or wrong (3), unless --skip-missing leaves its models out.
    """
    if request.chosen:
        say(request.chosen)
    _prepare(request)
    from repro.machine import numerics as machine
    from repro.models.spec import ModelSpec
    from repro.plan import plan as planning

    compute = request.profile.compute
    source = open_source(request)
    cells, left_out = planning.available(
        request.study,
        request.cells,
        source,
        request.protocol,
        skip_missing=request.skip_missing,
        untrained=request.untrained,
    )
    for variant, reason in left_out.items():
        say(f"left out: {variant.name} ({reason})")
    return planning.make_plan(
        cells,
        study=request.study,
        profile=request.profile,
        protocol_name=request.protocol_name,
        protocol=request.protocol,
        overrides=request.overrides,
        spec=ModelSpec.from_table(request.profile.model, request.profile.origin),
        source=source,
        seeds=request.seeds,
        test_limit=request.test_limit,
        numerics=machine.numerics(compute.threads, device=compute.device),
        engine=machine.engine(request.engine),
        given=request.given,
    )
