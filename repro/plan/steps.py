"""The steps of a run: values that say what is to be made of what.

A step can be pickled and done in another process that sees the same store. It leaves its outputs
in the store under their content keys, and doing it again changes nothing. A plan is a list of
steps; `needed` leaves those whose outputs are asked for and not there, `ready` those that can
start.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

from repro.evaluate import Settings
from repro.machine.selftest.record import Record, Way
from repro.models.spec import ModelSpec
from repro.plan.plan import Plan, PlannedCell, PlannedModel, Training
from repro.profiles.profile import Compute
from repro.spec.protocol import Protocol

Keep = Literal["none", "last", "all"]


class Artefact(NamedTuple):
    """Something in the store. Of kind "results" nothing is kept: the results folder has them."""

    kind: str
    key: str


class Curves(NamedTuple):
    """A tracker of accelerate, and the folder that it writes to if it writes files."""

    tracker: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the steps of a run have in common.

    Attributes:
        base: key of the base weights.
        engine: what evaluates, as a plan has it.
        tested: what the self-test of the machine's GPU has measured, if there is a record.
        way: how packed samples attend in training; None for the device's own.
        track: what records training curves; None for nothing.
    """

    base: str
    spec: ModelSpec
    compute: Compute
    protocol: Protocol
    settings: Settings
    engine: str
    tested: Record | None = None
    way: Way | None = None
    track: Curves | None = None

    @property
    def replayed(self) -> bool:
        """Whether decoding replays a graph, see `repro.evaluate.generate`."""
        return self.tested is not None and self.tested.replayed


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Base weights in the kit's own layout."""

    key: str
    spec: ModelSpec
    inputs = ()
    name = label = "weights"

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return (Artefact("weights", self.key),)


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """A fine-tuned model and the facts of its training, and those of checkpoints on the way.

    Attributes:
        key: of the model at the end of the recipe.
        label: what stands before its messages.
        passing: number of steps -> key of the checkpoint after so many, in ascending order; one at
            the very end may be among them.
    """

    key: str
    name: str
    label: str
    setup: Setup
    training: Training
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
        recipe = replace(self.training.recipe, checkpoint=last)
        training = replace(self.training, recipe=recipe)
        return replace(self, passing=tuple(passing), key=key, training=training)

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        return (Artefact("weights", self.setup.base),)

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
    """

    key: str
    name: str
    label: str
    setup: Setup
    weights: Artefact | Path
    cells: tuple[PlannedCell, ...]
    dtype: str

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
        facts = [Artefact("facts", self.model.key)] if self.model.training else []
        return (*facts, *(Artefact("cell", cell.key) for cell in self.model.cells))

    @property
    def outputs(self) -> tuple[Artefact, ...]:
        return (Artefact("results", self.model.key),)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Weights of a fine-tune that are not kept, once its results are collected."""

    artefact: Artefact
    after: Artefact
    outputs = ()

    @property
    def name(self) -> str:
        return f"drop {self.artefact.key}"

    @property
    def inputs(self) -> tuple[Artefact, ...]:
        return (self.after,)


Work = Weights | FineTune | Evaluate
"""What any process that sees the store can do; the rest is for the one that holds the results."""
Step = Work | Collect | Drop


def timed(step: Step) -> list[str]:
    """Keys of what takes time in a step: of its fine-tune, or its cells."""
    if isinstance(step, Evaluate):
        return [cell.key for cell in step.cells]
    return [step.key] if isinstance(step, FineTune) else []


def steps_of(
    plan: Plan,
    out: Path,
    *,
    tested: Record | None = None,
    way: Way | None = None,
    track: Curves | None = None,
) -> list[Step]:
    """All steps of a plan with a results folder, each behind those that it needs.

    Args:
        tested, way, track: as of `Setup`; without a way, that of the self-test.
    """
    settings = plan.settings
    if tested is not None:
        way = way or next(iter(tested.attention.values()))
        settings = settings if tested.share_prefix else replace(settings, share_prefix=False)
    setup = Setup(
        base=plan.base_key,
        spec=plan.request.spec,
        compute=plan.request.profile.compute,
        protocol=plan.request.protocol,
        settings=settings,
        engine=plan.engine,
        tested=tested,
        way=way,
        track=track,
    )
    steps: list[Step] = [Weights(key=plan.base_key, spec=setup.spec)]
    begun = set()
    for number, model in enumerate(plan.models, 1):
        label = f"[{number}/{len(plan.models)}] {model.name}"
        if model.training is not None and model.trained_as not in begun:
            begun.add(model.trained_as)
            # Two checkpoints may be after the same step, and are one model then.
            together = {o.key: o for o in plan.models if o.trained_as == model.trained_as}
            steps.append(_finetune(setup, list(together.values()), label))
        steps += _evaluations(plan, setup, model, label)
        steps.append(Collect(plan=plan, model=model, out=out))
    return steps


def _finetune(setup: Setup, models: Sequence[PlannedModel], label: str) -> FineTune:
    """The training that all of these models come of, which differ in their checkpoint."""
    ends = {m.key: m.training.recipe.checkpoint or inf for m in models if m.training is not None}
    *passing, model = sorted(models, key=lambda model: ends[model.key])
    assert model.training is not None
    return FineTune(
        key=model.key,
        name=f"finetune {model.name}",
        label=label,
        setup=setup,
        training=model.training,
        passing=tuple((int(ends[other.key]), other.key) for other in passing),
    )


def _evaluations(plan: Plan, setup: Setup, model: PlannedModel, label: str) -> Iterator[Evaluate]:
    kind, order = "model" if model.training else "weights", plan.request.study.order
    ordered = sorted(model.cells, key=lambda c: order(c.cell.dataset, c.cell.prompt))
    for dtype in sorted({cell.dtype for cell in model.cells}):
        yield Evaluate(
            key=model.key,
            name=f"evaluate {model.name} {dtype}",
            label=label,
            setup=setup,
            weights=model.checkpoint or Artefact(kind, model.key),
            cells=tuple(cell for cell in ordered if cell.dtype == dtype),
            dtype=dtype,
        )


def needed(steps: Sequence[Step], there: Callable[[str, str], object]) -> list[Step]:
    """The steps that must be done so that everything can be collected, in their order.

    A model is collected again only where the store lacks a cell or the facts of its training, and
    trained again only where its weights are missing too; a training makes what is asked for of it.
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
    return [
        step.only({key for _, key in asked.intersection(step.outputs)})
        if isinstance(step, FineTune)
        else step
        for step in steps
        if id(step) in wanted
    ]


def with_drops(steps: Sequence[Step], keep: Keep) -> list[Step]:
    """The steps with those that drop the weights of fine-tunes, as --keep-models asks."""
    found: list[Step] = []
    tuned = [step for step in steps if isinstance(step, Collect) and step.model.training]
    dropped = {"none": tuned, "last": tuned[:-1], "all": []}[keep]
    places = set(map(id, dropped))
    for step in steps:
        found.append(step)
        if isinstance(step, Collect) and id(step) in places:
            (after,) = step.outputs
            found.append(Drop(artefact=Artefact("model", step.model.key), after=after))
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
