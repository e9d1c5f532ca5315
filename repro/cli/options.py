"""Options that `run`, `plan` and others share, and what they come to."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console

from repro import profiles, studies
from repro.cli.folders import FOLDER
from repro.errors import ReproError, unknown
from repro.plan.select import Request, claim_names, find_given, select, split_names
from repro.profiles import Profile
from repro.profiles.profile import LARGEST_SEED
from repro.spec.protocol import PROTOCOLS, Protocol, typed
from repro.spec.study import Study
from repro.studies.paper.protocols import switches

if TYPE_CHECKING:
    from repro.data.source import Source
    from repro.plan.plan import Plan


def listed(
    names: Callable[[Study], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes the last name of a comma-separated list; names already in it are left out."""

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        before, comma, last = typed.rpartition(",")
        taken = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names(studies.load(studies.DEFAULT))
            if name.lower().startswith(last.lower()) and name not in taken
        ]

    return complete


def _settings(_: Study) -> Iterable[str]:
    """Switches with each value that some protocol has."""
    for switch in switches().values():
        for value in dict.fromkeys(switch.values.values()):
            yield f"{switch.name}={typed(value)}"


store_option = click.option("--store", type=FOLDER, envvar="REPRO_STORE", default="store",
                            show_default=True, help="Where artefacts are kept.")  # fmt: skip
_OPTIONS = (
    click.option("--study", default=studies.DEFAULT, show_default=True, metavar="NAME|FILE",
                 help=f"What is asked: {', '.join(studies.NAMES)}, or a TOML file of your own."),
    click.option("--profile", default="embedded", show_default=True, metavar="NAME|FILE",
                 shell_complete=listed(lambda _: profiles.names()),
                 help="What to run on; `repro profiles` lists them. `auto`: the largest that fits "
                 "the GPU, embedded without one."),
    click.option("--protocol", "protocol_name", metavar="NAME",
                 shell_complete=listed(lambda _: PROTOCOLS),
                 help=f"One of {', '.join(PROTOCOLS)}. [default: the profile's]"),
    click.option("--set", "overrides", multiple=True, metavar="SWITCH=VALUE",
                 shell_complete=listed(_settings),
                 help="Override a switch of the protocol; `repro protocols` lists them."),
    click.option("--figures", metavar="1,2", shell_complete=listed(lambda study: study.figures),
                 help="Only the cells of these figures."),
    click.option("--claims", metavar="C9,C12", shell_complete=listed(lambda study: study.claims),
                 help="Only the cells that these claims rest on."),
    click.option("--variants", metavar="NAMES",
                 shell_complete=listed(lambda study: [v.name for v in study.variants]),
                 help="Only these models, such as base,xsum-ft-2000."),
    click.option("--tests", metavar="NAMES", shell_complete=listed(lambda study: study.datasets),
                 help="Only these test sets, such as xsum,rte."),
    click.option("--cells", metavar="NAMES",
                 shell_complete=listed(lambda study: [c.name for c in study.everything]),
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
    store_option,
    click.option("--checkpoints", type=FOLDER, metavar="DIR",
                 help="Fine-tuned models that you have: DIR/xsum-ft-2000 is evaluated and not "
                 "trained. With several seeds, DIR/xsum-ft-2000.seed43."),
    click.option("--engine", type=click.Choice(["torch", "vllm"]), default="torch",
                 show_default=True,
                 help="What evaluates: the kit itself, or vLLM, on a GPU and where installed."),
    click.option("--skip-missing", is_flag=True,
                 help="Leave out the models whose training data is not there, and say which."),
)  # fmt: skip

model_option = click.option(
    "--model", "model", multiple=True, metavar="FIELD=VALUE",
    help="Override a field of the profile's [model] table, such as "
    "repo=NousResearch/Llama-2-7b-hf or revision=COMMIT.",
)  # fmt: skip


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return model_option(command)


def hiding_protocol(command: Any) -> Any:
    """Leave the options that choose a protocol out of the help of a command that refuses them."""
    for option in command.params:
        if option.name in ("protocol_name", "overrides"):
            option.hidden = True
    return command


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
        return tuple(dict.fromkeys(profile.seeds))
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


def parse(**options: Any) -> Request:
    """The request behind the shared options, by name; raises ReproError for what does not exist."""
    given, chosen = SimpleNamespace(**options), ""
    if given.profile == "auto":
        from repro.plan import auto  # slow imports

        given.profile, why = auto.choose()
        chosen = f"profile {given.profile}: {why}"
    study, profile = studies.load(given.study), profiles.load(given.profile)
    profile = with_model(profile, given.model)
    name = given.protocol_name or profile.protocol
    if name not in study.protocols:
        raise unknown("protocol", name, study.protocols)
    overrides = _overrides(given.overrides)
    protocol = study.protocol(name, overrides)
    if given.engine == "vllm":
        _check_vllm(profile, protocol)
    for other in ("grid", "figures", "claims", "variants", "tests"):
        if given.cells is not None and getattr(given, other) is not None:
            raise ReproError(
                f"--cells names every cell that is run; --{other} would narrow nothing",
                hint=f"leave out --{other}, or --cells",
            )
    cells = select(
        study,
        grid=given.grid or ("figures" if protocol.best_of == "smallest" else "every-shot"),
        figures=split_names(given.figures),
        claims=claim_names(given.claims),
        variants=split_names(given.variants),
        tests=split_names(given.tests),
        cells=split_names(given.cells),
    )
    if given.data_dir and profile.data == "embedded":
        raise ReproError(
            f"--data-dir: the profile {profile.name} has its own data",
            hint="leave it out, or take a profile of the authors' data: --profile small-cpu",
        )
    seeds, folder = _seeds(given.seeds, profile), given.checkpoints
    told = {
        "study": given.study if given.study.endswith(".toml") else None,
        "profile": given.profile if given.profile.endswith(".toml") else None,
        "model": list(given.model),
        "data-dir": given.data_dir and str(given.data_dir),
        "store": None if given.store == Path("store") else str(given.store),
        "checkpoints": folder and str(folder),
        "engine": None if given.engine == "torch" else given.engine,
    }
    tuned = dict.fromkeys(cell.variant for cell in cells)
    return Request(
        study=study,
        profile=profile,
        protocol_name=name,
        protocol=protocol,
        overrides=overrides,
        cells=cells,
        seeds=seeds,
        rows=given.rows,
        given=find_given(folder, tuned, seeds) if folder else {},
        skip_missing=given.skip_missing,
        engine=given.engine,
        data_dir=given.data_dir,
        store=given.store,
        chosen=chosen,
        options={name: value for name, value in told.items() if value},
    )


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

    With --skip-missing, `build_plan` finds what cannot be had.
    """
    from repro.data.fetch import fetch, progress_bar
    from repro.data.upstream import VARIABLE, locate

    if request.profile.data != "upstream" or request.data_dir or os.environ.get(VARIABLE):
        return
    from repro.plan.plan import needed_parts
    from repro.plan.store import Store

    Store(request.store)  # whatever is wrong with it is told first
    wanted = tuple(part for part in needed_parts(request) if request.study.place(part) is None)
    try:
        with progress_bar(console) as progress:
            fetch(locate(), parts=wanted, progress=progress)
    except ReproError:
        if not request.skip_missing:
            raise


def build_plan(request: Request, say: Callable[[str], None]) -> "Plan":
    """Check the data, and plan; torch is started here, with its determinism settings.

    Raises:
        ReproError: data is missing or wrong (3), unless --skip-missing leaves its models out.
    """
    if request.chosen:
        say(request.chosen)
    from repro.machine import numerics as machine

    compute = request.profile.compute
    machine.prepare(compute.threads, device=compute.device)
    from repro.plan import plan as planning

    source = open_source(request)
    request, left_out = planning.available(request, source)
    for variant, reason in left_out.items():
        say(f"left out: {variant.name} ({reason})")
    numerics = machine.numerics(compute.threads, device=compute.device)
    engine = machine.engine(request.engine)
    return planning.make_plan(request, source, numerics=numerics, engine=engine)
