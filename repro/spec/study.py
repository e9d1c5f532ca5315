"""A study: what is asked, as data. The engine, verdicts and reports take one and know none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.claims import Claim, Contrast, Pair, Side, Summary, pairs_of
from repro.spec.filters import RowFilter
from repro.spec.points import Figure, Panel, Point
from repro.spec.prompts import PromptFormat
from repro.spec.protocol import Protocol
from repro.spec.targets import TargetFormat
from repro.spec.tasks import DataPlace, Dataset, HubPlace, Part, Task, TrainingSet

Grid = Literal["figures", "every-shot", "full"]

Named = TypeVar("Named")


@dataclass(frozen=True)
class Evaluation:
    """A cell with what its names stand for."""

    cell: Cell
    dataset: Dataset  # its test set
    shown: Dataset  # the data set that its demonstrations are from
    prompt: PromptFormat
    first: PromptFormat  # the study's first of the task, see the switch `label_tokens`

    @property
    def task(self) -> Task:
        return self.dataset.task

    @property
    def unfixed(self) -> dict[str, Any]:
        """What content keys must cover besides names: whatever is not fixed by the kit."""
        found: dict[str, Any] = {}
        for name, task in (("task", self.task), ("shown", self.shown.task)):
            if not task.fixed:
                found[name] = [task.fields, task.labels, task.shots]
        for name, prompt in (("prompt", self.prompt), ("first", self.first)):
            if not prompt.fixed:
                found[name] = [prompt.texts.get(self.task.name), prompt.printed.get(self.task.name)]
        if not self.task.fixed:
            found["occurring"] = self.dataset.occurring
        if self.dataset.places:  # a user's own, whose task may be mended in its file
            found["of"] = self.task.name
        if self.shown.task != self.task:
            found["shown in"] = self.prompt.texts[self.shown.task.name]
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A question, the cells it needs, the contrasts that answer it, the panels that show it."""

    name: str
    question: str
    tasks: Mapping[str, Task]
    datasets: Mapping[str, Dataset]
    training: Mapping[str, TrainingSet]
    prompts: Mapping[str, PromptFormat]  # the first one trains
    # Where rows come from of training sets that the profile's data has too few of.
    larger: Mapping[str, HubPlace] = field(default_factory=dict)
    filters: Mapping[str, RowFilter] = field(default_factory=dict)
    targets: Mapping[str, TargetFormat] = field(default_factory=dict)
    variants: tuple[Variant, ...]  # those that it names, in the order of results
    figures: Mapping[str, Figure]
    panels: tuple[Panel, ...]
    grids: Mapping[Grid, tuple[Point, ...]]
    everything: tuple[Cell, ...]
    claims: Mapping[str, Claim]
    summaries: tuple[Summary, ...] = ()
    protocols: Mapping[str, Protocol]
    published: bool = False  # it is the paper's, whose numbers are known
    table: Mapping[str, Any] | None = None  # that it was read from, for run.json; None: the kit's

    def points(
        self, figures: Iterable[str] | None = None, *, every_shot: bool = False
    ) -> tuple[Point, ...]:
        """The plotted points of the named figures, panel by panel; of all without names.

        With `every_shot` best-of groups range over all shot counts (AUDIT A6).
        """
        points = self.grids["every-shot" if every_shot else "figures"]
        if figures is None:
            return points
        wanted = set(figures)
        return tuple(point for point in points if point.figure in wanted)

    def cells(
        self, figures: Iterable[str] | None = None, *, every_shot: bool = False
    ) -> tuple[Cell, ...]:
        """The distinct cells behind the named figures, in the order in which they need them."""
        points = self.points(figures, every_shot=every_shot)
        return tuple(dict.fromkeys(cell for point in points for cell in point.cells))

    @cached_property
    def _pairs(self) -> dict[tuple[Contrast, bool, bool], tuple[Pair, ...]]:
        return {}

    def pairs(
        self, contrast: Contrast, *, every_shot: bool = False, other: bool = False
    ) -> tuple[Pair, ...]:
        """All pairs that a contrast compares; none for facts of fine-tunes.

        The `other` ones, of a change or a gain, are of the group that it is held against.
        """
        key = (contrast, every_shot, other)
        if key not in self._pairs:
            sides = _others(contrast) if other else (contrast.left, contrast.right)
            points = self.points(every_shot=every_shot)
            self._pairs[key] = pairs_of(points, *sides, contrast.same)
        return self._pairs[key]

    def fact_pairs(self, contrast: Contrast) -> tuple[tuple[Variant, Variant], ...]:
        """For facts of fine-tunes: each FTICL variant with its plain fine-tune."""
        return tuple(
            (variant, replace(variant, demonstrations=Demonstrations()))
            for train in contrast.train
            for variant in self.variants
            if variant.train == train and variant.train_shots
        )

    def claim_cells(self, claim: Claim, *, every_shot: bool = False) -> tuple[Cell, ...]:
        """The distinct cells of a claim's contrasts; those of facts need its panels' fine-tunes."""
        used: list[Point] = []
        for contrast in claim.contrasts:
            if not contrast.beyond:
                for other in (False, True):
                    for pair in self.pairs(contrast, every_shot=every_shot, other=other):
                        used += pair.left.points
                        used += pair.right.points if pair.right else ()
        if not used:
            points = self.points(every_shot=every_shot)
            used = [p for p in points if p.figure + p.panel in claim.panels]
        return tuple(dict.fromkeys(cell for point in used for cell in point.cells))

    def evaluation(self, cell: Cell) -> Evaluation:
        """What the names of a cell stand for; raises ValueError for what the study has not."""
        self.check(cell.variant)
        if cell.demonstrations.for_each:
            raise ValueError(f"'{cell.demonstrations.choice}' is for training rows, not for tests")
        dataset = self._named("dataset", self.datasets, cell.dataset)
        prompt = self._named("prompt format", self.prompts, cell.prompt)
        source = cell.demonstrations.source or cell.dataset
        shown = self._named("dataset", self.datasets, source)
        for task in (dataset.task, shown.task):
            prompt.text(task)
        return Evaluation(cell, dataset, shown, prompt, self.first_prompt(dataset.task))

    def check(self, variant: Variant) -> None:
        """Raise ValueError unless the study has all that a variant names."""
        if variant == BASE:
            return
        training = self._named("training set", self.training, variant.train)
        if variant.rows:
            only = self._named("row filter", self.filters, variant.rows)
            if only.field not in (*training.task.fields, "output"):
                raise ValueError(f"{variant.train} has no field '{only.field}'")
            if only.to:
                self._named("dataset", self.datasets, only.to)
        if variant.target:
            self._named("target format", self.targets, variant.target).check(training.task)
        self.training_prompt(variant).text(training.task)
        shown = self._named("dataset", self.datasets, self.shown_to(variant))
        if variant.train_shots:
            self.training_prompt(variant).text(shown.task)

    @staticmethod
    def _named(what: str, table: Mapping[str, Named], name: str) -> Named:
        if name not in table:
            raise ValueError(f"the study has no {what} '{name}'; it has {', '.join(table)}")
        return table[name]

    def first_prompt(self, task: Task) -> PromptFormat:
        """The format that models are trained with on a task unless a variant says otherwise."""
        for prompt in self.prompts.values():
            if task.name in prompt.texts:
                return prompt
        raise ValueError(f"no prompt format has a text for the task {task.name}")

    def training_prompt(self, variant: Variant) -> PromptFormat:
        """The prompt format of a variant's training samples."""
        if not variant.prompt:
            return self.first_prompt(self.training[variant.train].task)
        return self._named("prompt format", self.prompts, variant.prompt)

    def shown_to(self, variant: Variant) -> str:
        """The data set whose demonstrations stand before a variant's training samples."""
        return variant.demonstrations.source or self.training[variant.train].dataset

    def protocol(self, name: str, overrides: Mapping[str, object]) -> Protocol:
        """The named protocol, with single switches overridden."""
        return replace(self.protocols[name], **dict(overrides))  # type: ignore[arg-type]

    def place(self, part: Part) -> DataPlace | None:
        """Where a part's rows are read from; None for the profile's data."""
        if part.split == "train":
            return self.training[part.name].place
        return self.datasets[part.name].places.get(part.split)

    def task_of(self, cell: Cell) -> Task:
        return self.datasets[cell.dataset].task

    def metric(self, dataset: str) -> str:
        return self.datasets[dataset].task.metric

    def rank(self, variant: Variant) -> tuple[int, str]:
        """The place of a variant in results: the study's own first, then by name."""
        return self._ranks.get(variant, len(self._ranks)), variant.name

    @cached_property
    def _ranks(self) -> dict[Variant, int]:
        return {variant: place for place, variant in enumerate(self.variants)}

    def order(self, dataset: str, prompt: str) -> tuple[int, int]:
        """The place of a test set and prompt format: cells are computed in this order."""
        return list(self.datasets).index(dataset), list(self.prompts).index(prompt)


def _others(contrast: Contrast) -> tuple[Side | None, Side | None]:
    """The sides of the group that a change or a gain is held against."""
    if not contrast.than or contrast.left is None or contrast.right is None:
        return None, None
    left, right = contrast.than[0], contrast.than[:2][-1]  # one group is that of both
    return replace(contrast.left, panels=left), replace(contrast.right, panels=right)
