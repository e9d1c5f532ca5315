"""The steps of a run: values that say what is to be made of what.

A step can be pickled and done in another process that sees the same store. It leaves its outputs
in the store under their content keys, and doing it again changes nothing. A plan is a list of
steps; `needed` leaves those whose outputs are asked for and not there, `ready` those that can
start.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

from datasets import Dataset

from repro.evaluate import Settings
from repro.finetune import Recipe
from repro.machine.selftest.record import Record
from repro.models.spec import ModelSpec
from repro.plan.plan import TORCH, Plan, PlannedCell, PlannedModel
from repro.profiles.profile import Compute
from repro.spec.prompts import Template
from repro.spec.protocol import Protocol
from repro.spec.tasks import Part

Keep = Literal["none", "last", "all"]
Way = Literal["flex", "grouped"]


class Artefact(NamedTuple):
    """Something in the store. Of kind "results" nothing is kept: the results folder has them."""

    kind: str
    key: str


@dataclass(frozen=True, kw_only=True)
class FetchData:
    """The authors' files of some parts, downloaded into a folder. Planning needs them."""

    folder: Path
    parts: tuple[Part, ...]
    inputs = outputs = ()
    name = "data"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Base weights in the kit's own layout."""

    key: str
    spec: ModelSpec
    inputs = ()
    name = "weights"

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return (Artefact("weights", self.key),)


class Curves(NamedTuple):
    """A tracker of accelerate, and the folder that it writes to if it writes files."""

    tracker: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """A fine-tuned model and the facts of its training, and those of checkpoints on the way.

    Attributes:
        key: of the model at the end of the recipe.
        passing: number of steps -> key of the checkpoint after so many, in ascending order; one at
            the very end may be among them.
        label: what stands before its messages.
        base: key of the base weights.
        rotary: precision of the rotary frequencies.
        tested: what the self-test of the machine's GPU has measured, if there is a record.
        way: how packed samples attend; None for the device's own.
        track: what records its training curves; None for nothing.
    """

    key: str
    name: str
    label: str
    base: str
    spec: ModelSpec
    compute: Compute
    rotary: str
    recipe: Recipe
    template: Template
    rows: Dataset
    demonstrations: Dataset
    contexts: tuple[str, ...]
    tested: Record | None = None
    way: Way | None = None
    track: Curves | None = None
    passing: tuple[tuple[int, str], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all models that it makes."""
        return *(key for _, key in self.passing), self.key

    def only(self, keys: Collection[str]) -> "FineTune":
        """The step that makes these of its models alone: training ends with the last of them."""
        kept = tuple((steps, key) for steps, key in self.passing if key in keys)
        if self.key in keys:
            return replace(self, passing=kept)
        *passing, (last, key) = kept
        recipe = replace(self.recipe, checkpoint=last)
        return replace(self, passing=tuple(passing), key=key, recipe=recipe)

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        return (Artefact("weights", self.base),)

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return tuple(
            Artefact(kind, key) for key in dict.fromkeys(self.keys) for kind in ("model", "facts")
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Cells of one model in one precision.

    Attributes:
        key: of the model.
        label: what stands before its messages.
        weights: where the model is in the store, or its own folder where it was given.
        cells: ordered so that contexts can be extended.
        tokenizer: models with the same one, and as many tokens, share encoded prompts.
        engine: what evaluates, as a plan has it.
        replayed: whether decoding replays a graph, see `repro.evaluate.generate`.
    """

    key: str
    name: str
    label: str
    weights: Artefact | Path
    cells: tuple[PlannedCell, ...]
    dtype: str
    device: str
    tokenizer: str
    protocol: Protocol
    settings: Settings
    engine: str = TORCH
    replayed: bool = False

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        return (self.weights,) if isinstance(self.weights, Artefact) else ()

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return tuple(Artefact("cell", cell.key) for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class Collect:
    """The finished cells of a model as lines of the results folder."""

    plan: Plan
    model: PlannedModel
    out: Path

    @property
    def name(self) -> str:
        return f"collect {self.model.name}"

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        facts = [Artefact("facts", self.model.key)] if self.model.recipe else []
        return (*facts, *(Artefact("cell", cell.key) for cell in self.model.cells))

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return (Artefact("results", self.model.key),)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Weights of a fine-tune that are not kept, once its results, or another's, are collected."""

    artefact: Artefact
    after: Artefact
    outputs = ()

    @property
    def name(self) -> str:
        return f"drop {self.artefact.key}"

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        return (self.after,)


Step = FetchData | Weights | FineTune | Evaluate | Collect | Drop


def steps_of(
    plan: Plan,
    out: Path,
    *,
    tested: Record | None = None,
    way: Way | None = None,
    track: Curves | None = None,
    share_prefix: bool = True,
    replayed: bool = False,
) -> list[Step]:
    """All steps of a plan, each behind those that it needs.

    Args:
        out: the results folder.
        tested: of the machine's GPU; way, share_prefix, replayed: as it has them.
        track: as of `FineTune`.
    """
    steps: list[Step] = [Weights(key=plan.base_key, spec=plan.spec)]
    begun = set()
    for number, model in enumerate(plan.models, 1):
        label = f"[{number}/{len(plan.models)}] {model.name}"
        if model.recipe is not None and model.training not in begun:
            begun.add(model.training)
            together = [other for other in plan.models if other.training == model.training]
            steps.append(_training(plan, together, label, tested, way, track))
        settings = plan.settings if share_prefix else replace(plan.settings, share_prefix=False)
        steps += _evaluations(plan, model, label, settings, replayed)
        steps.append(Collect(plan=plan, model=model, out=out))
    return steps


def _training(
    plan: Plan,
    models: Sequence[PlannedModel],
    label: str,
    tested: Record | None,
    way: Way | None,
    track: Curves | None,
) -> FineTune:
    """The training that all of these models come of, which differ in their checkpoint."""
    ends = {
        model.key: model.recipe.checkpoint or inf for model in models if model.recipe is not None
    }
    *passing, model = sorted(models, key=lambda model: ends[model.key])
    assert model.recipe is not None
    assert model.template is not None
    assert model.rows is not None
    assert model.demonstrations is not None
    return FineTune(
        key=model.key,
        name=f"finetune {model.name}",
        label=label,
        base=plan.base_key,
        spec=plan.spec,
        compute=plan.profile.compute,
        rotary=plan.protocol.rotary_precision,
        recipe=model.recipe,
        template=model.template,
        rows=model.rows,
        demonstrations=model.demonstrations,
        contexts=model.contexts,
        tested=tested,
        way=way,
        track=track,
        passing=tuple((int(ends[other.key]), other.key) for other in passing),
    )


def _evaluations(
    plan: Plan, model: PlannedModel, label: str, settings: Settings, replayed: bool
) -> Iterable[Evaluate]:
    weights: Artefact | Path = model.checkpoint or Artefact("weights", plan.base_key)
    if model.recipe is not None:
        weights = Artefact("model", model.key)
    ordered = sorted(model.cells, key=lambda c: plan.study.order(c.cell.dataset, c.cell.prompt))
    for dtype in sorted({cell.dtype for cell in model.cells}):
        yield Evaluate(
            key=model.key,
            name=f"evaluate {model.name} {dtype}",
            label=label,
            weights=weights,
            cells=tuple(cell for cell in ordered if cell.dtype == dtype),
            dtype=dtype,
            device=plan.profile.compute.device,
            tokenizer=model.key if model.checkpoint else plan.base_key,
            protocol=plan.protocol,
            settings=settings,
            replayed=replayed,
            engine=plan.engine,
        )


def needed(steps: Sequence[Step], there: Callable[[str, str], object]) -> list[Step]:
    """The steps that must be done so that everything can be collected, in their order.

    A model is collected again only where a cell or the facts of its training are missing, and
    trained again only where its weights are missing too.

    Args:
        there: whether the store holds an artefact of a kind and key.
    """
    makers = {artefact: step for step in steps for artefact in step.outputs}
    wanted: set[int] = set()
    asked: set[Artefact] = set()

    def want(step: Step) -> None:
        if id(step) not in wanted:
            wanted.add(id(step))
            for artefact in step.inputs:
                if artefact in makers and not there(*artefact):
                    asked.add(artefact)
                    want(makers[artefact])

    for step in steps:
        if isinstance(step, Collect) and not all(there(*artefact) for artefact in step.inputs):
            want(step)
    found: list[Step] = []
    for step in steps:
        if id(step) in wanted:
            found.append(_narrowed(step, asked) if isinstance(step, FineTune) else step)
    return found


def _narrowed(step: FineTune, asked: Collection[Artefact]) -> FineTune:
    """A training that makes only what is asked for of it."""
    return step.only({artefact.key for artefact in step.outputs if artefact in asked})


def with_drops(steps: Sequence[Step], keep: Keep) -> list[Step]:
    """The steps with those that drop the weights of fine-tunes, as --keep-models asks."""
    found: list[Step] = []
    last: Artefact | None = None
    for step in steps:
        found.append(step)
        if keep == "all" or not isinstance(step, Collect) or step.model.recipe is None:
            continue
        (after,), own = step.outputs, Artefact("model", step.model.key)
        dropped = own if keep == "none" else last
        if dropped is not None:
            found.append(Drop(artefact=dropped, after=after))
        last = own
    return found


def ready(waiting: Sequence[Step]) -> list[Step]:
    """Of the steps that are still to be done those that can start.

    Nothing that they need is still to be made, and nothing that they drop is still needed.
    """
    to_come = {artefact for step in waiting for artefact in step.outputs}
    used = {a for step in waiting if not isinstance(step, Drop) for a in step.inputs}
    return [
        step
        for step in waiting
        if to_come.isdisjoint(step.inputs)
        and not (isinstance(step, Drop) and step.artefact in used)
    ]
