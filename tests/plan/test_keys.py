"""Every switch and every setting changes exactly the content keys that it declares."""

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import datasets
import pytest

from repro import profiles
from repro.data.source import features
from repro.errors import ReproError
from repro.evaluate import Settings
from repro.finetune import Recipe, recipe_from
from repro.models.spec import ModelSpec
from repro.plan.plan import Plan, make_plan
from repro.plan.select import Request
from repro.profiles import Profile
from repro.profiles.profile import Compute, Scale, Sizes
from repro.spec.cells import BASE, Cell
from repro.spec.keys import declared
from repro.spec.protocol import Protocol
from repro.spec.tasks import Kind, Part, Task
from repro.studies.paper.protocols import protocol, switches
from repro.studies.paper.study import study

NAMES = (
    "base.paws.p1.0",
    "base.paws.p1.2",
    "base.xsum.p1.0",
    "base.xsum.p2.1",
    "paws-ft-2000.paws.p1.0",
    "paws-fticl2-2000.xsum.p1.1",
)
CELLS = tuple(Cell.parse(name) for name in NAMES)
CONTENT = [
    # Each kind of row that some switch drops: empty, repeated, without majority, shown, implied.
    ("", "b", "yes"),
    ("one", "two", "yes"),
    ("one", "two", "no"),
    ("dash", "dash", "-"),
    ("shown", "shown", "yes"),
    ("leak", "leaked", "yes"),
    *((f"a{i}", f"b{i}", "no") for i in range(600)),
]


class Rows:
    """A source whose rows every switch that drops rows finds something in."""

    def __init__(self, name: str = "upstream", mark: str = "") -> None:
        self.name = name
        self.mark = mark

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        content = CONTENT
        if part.split == "demonstrations":
            content = [("shown", "shown", "yes"), *((f"s{i}", "t", "no") for i in range(7))]
        elif part.split == "train":
            content = [*CONTENT[:2], ("shown", "shown", "yes"), ("leak", "leaked", "yes")]
            content += [(f"t{i}", f"u{i}", "no") for i in range(300)]
        rows = []
        for number, (one, two, label) in enumerate(content):
            texts = dict(zip(task.fields, (one, two), strict=False))
            rows.append({"row": number, **texts, "output": label + self.mark * (not task.labels)})
        return datasets.Dataset.from_list(rows, features=features(task))

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        return []


def plan(profile: Profile, chosen: Protocol, source: Rows | None = None) -> Plan:
    return make_plan(
        Request(
            study=study(),
            profile=profile,
            protocol_name="published-code",
            protocol=chosen,
            cells=CELLS,
            seeds=profile.seeds,
        ),
        source or Rows(),
        # As `machine.numerics` has them, which depends on nothing else of a profile.
        numerics={"device": profile.compute.device, "threads": profile.compute.threads},
    )


Keys = Mapping[str, str]


def keys(found: Plan) -> dict[str, Keys]:
    """All content keys by kind and name."""
    models = [model for model in found.models if model.variant != BASE]
    return {
        "base": {"base": found.base_key},
        "model": {model.variant.name: model.key for model in models},
        "cell": {cell.cell.name: cell.key for model in found.models for cell in model.cells},
    }


def changed(before: dict[str, Keys], after: dict[str, Keys]) -> dict[str, set[str]]:
    return {
        kind: {name for name in own if own[name] != after[kind].get(name)}
        for kind, own in before.items()
    }


MODELS = {"paws-ft-2000", "paws-fticl2-2000"}
TUNED = {name for name in NAMES if not name.startswith("base")}
GENERATED = {n for n in NAMES if study().task_of(Cell.parse(n)).kind is Kind.GENERATION}
PAWS = {name for name in NAMES if ".paws." in name}

# What changes under each declaration, in the grid above.
CHANGES: dict[str, dict[str, set[str]]] = {
    "base": {"base": {"base"}, "model": MODELS, "cell": set(NAMES)},
    "model": {"model": MODELS, "cell": TUNED},
    "cell": {"cell": set(NAMES)},
    "model rows": {"model": MODELS, "cell": TUNED},
    "cell rows": {"cell": set(NAMES)},
    "cell precision": {"cell": {name for name in GENERATED if name.startswith("base")}},
}
# Rows of texts have no label without majority, and only Paws has labels that are implied.
NARROWER = {"gold_dash": {"cell": PAWS}, "leaked_rows": {"cell": PAWS}}


def expected(name: str, keys: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"base": set(), "model": set(), "cell": set()}
    for key in keys:
        for kind, names in NARROWER.get(name, CHANGES[key]).items():
            found[kind] |= names
    return found


def others(kind: Any, value: Any) -> list[Any]:
    """Other values of a switch or setting."""
    if get_origin(kind) is Literal:
        return [other for other in get_args(kind) if other != value]
    while get_origin(kind) in (UnionType, Union, Annotated):  # optional, or with bounds
        kind = get_args(kind)[0]
    if kind is bool:
        return [not value]
    if kind is str:
        return [f"{value} more"]
    if kind in (int, float):
        return [kind((value or 0) + 3)]
    raise AssertionError(kind)


GPU = replace(
    profiles.load("embedded"),
    compute=replace(profiles.load("embedded").compute, dtype="protocol"),
    sizes=Sizes(train={"2000": 200}),
)
"""A profile in which no setting is without effect."""


@pytest.mark.parametrize("name", [one.name for one in fields(Protocol)])
def test_a_switch_changes_the_keys_that_it_declares(name: str) -> None:
    chosen = protocol("published-code")
    before = keys(plan(GPU, chosen))
    for other in (
        others(switches()[name].kind, getattr(chosen, name))
        if not (allowed := switches()[name].allowed)
        else [value for value in allowed if value != getattr(chosen, name)]
    ):
        after = keys(plan(GPU, replace(chosen, **{name: other})))
        assert changed(before, after) == expected(name, declared(Protocol)[name]), other


SPECIAL: dict[tuple[type, str], Callable[[Profile], Any]] = {
    (Profile, "seeds"): lambda profile: (7,),
    (Profile, "model"): lambda profile: {"kind": "local", "path": "/nowhere"},
    (Sizes, "train"): lambda profile: {"2000": 100},
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, one.name)
        for kind in (Profile, Sizes, Scale, Compute)
        for one in fields(kind)
        if one.name not in ("sizes", "scale", "compute")
    ],
)
def test_a_setting_changes_the_keys_that_it_declares(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: Any = {Profile: GPU, Sizes: GPU.sizes, Scale: GPU.scale, Compute: GPU.compute}[kind]
    chosen = protocol("published-code")
    before = keys(plan(GPU, chosen))
    source = Rows()
    if (kind, name) == (Profile, "data"):
        source = Rows("embedded", mark=" .")  # other rows
    spec = next(one for one in fields(kind) if one.name == name)
    if (kind, name) in SPECIAL:
        values = [SPECIAL[kind, name](GPU)]
    else:
        values = others(typing.cast(Any, spec.type), getattr(table, name))
    for value in values:
        other = replace(table, **{name: value})
        section = {Sizes: "sizes", Scale: "scale", Compute: "compute"}.get(kind)
        profile = replace(GPU, **{section: other}) if section else other
        if (kind, name) == (Profile, "model"):
            monkeypatch.setattr(
                "repro.plan.plan.weights_key", lambda spec: f"weights of {spec.kind}"
            )
            before = keys(plan(GPU, chosen))
            monkeypatch.setattr(
                ModelSpec, "from_table", classmethod(lambda cls, table, origin: _Other())
            )
        after = keys(plan(profile, chosen, source))
        wanted = expected(name, declared(kind)[name])
        if (kind, name) == (Profile, "data"):
            wanted = {"base": set(), "model": set(), "cell": GENERATED}  # labels stay
        assert changed(before, after) == wanted, value


class _Other:
    kind = "other"


@pytest.mark.parametrize("kind", [Recipe, Settings])
def test_every_setting_of_a_step_is_in_its_key(kind: type) -> None:
    """A recipe is in the key of its fine-tune, settings in those of cells, whole."""
    own: Any = recipe_from(protocol("published-code"), seed=1, dtype="float32")
    if kind is Settings:
        own = Settings(token_budget=1, max_new_tokens=1)
    told = own.settings if kind is Recipe else vars(own)
    for one in fields(kind):
        if one.name in ("checkpoint", "lora_rank"):  # only where they are used
            assert replace(own, **{one.name: 3}).settings[one.name] == 3
        else:
            assert told[one.name] == getattr(own, one.name)
