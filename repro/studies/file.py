"""A study of a user's own: a TOML file, checked, as a `Study`. docs/add-a-study.md explains it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, TypeVar

from repro.errors import ReproError
from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.claims import FACTS, Summary
from repro.spec.filters import RowFilter
from repro.spec.points import Figure, Panel, Point
from repro.spec.prompts import PromptFormat, check_template
from repro.spec.study import Study
from repro.spec.targets import TargetFormat
from repro.spec.tasks import DataPlace, Dataset, FilePlace, HubPlace, Role, Split, Task, TrainingSet
from repro.studies.paper import study as paper
from repro.studies.schema import (
    DatasetTable,
    HubTable,
    StudyTable,
    TargetTable,
    TaskTable,
    claim_of,
    sets_of,
    spelt_out,
)
from repro.studies.summaries import curves, matrices
from repro.tables import checked, read_toml

_HINT = "see docs/add-a-study.md for an example"

Made = TypeVar("Made")


def read(path: str) -> Study:
    """The study of a file; raises ReproError (3) if it cannot be read, and as `parse`."""
    table = read_toml(path, what="study", hint=_HINT)
    return parse(table, name=Path(path).stem, where=path, folder=Path(path).parent)


def parse(table: Mapping[str, Any], *, name: str, where: str, folder: Path = Path()) -> Study:
    """A study from a parsed TOML table.

    Args:
        where: its file, for messages; folder: that paths are relative to.

    Raises:
        ReproError: something in it is wrong, with file and field (2).
    """
    told = checked(StudyTable, table, where, hint=_HINT)
    return _Builder(told, where, folder).study(name, table)


def _wrong(where: str, what: str) -> ReproError:
    return ReproError(f"{where}: {what}", hint=_HINT)


def _hub_place(told: HubTable) -> HubPlace:
    tables = {name: tuple(getattr(told, name).items()) for name in ("columns", "labels", "files")}
    return HubPlace(**dict(told) | tables)


class _Builder:
    """Turns the tables of a file into the values of a study, naming what is wrong."""

    def __init__(self, told: StudyTable, where: str, folder: Path) -> None:
        self._told, self._where, self._folder = told, where, folder
        self._base = paper.study() if told.extends else None

    @contextmanager
    def _at(self, field: str) -> Iterator[None]:
        """Errors of the block name a field."""
        try:
            yield
        except ValueError as error:
            raise _wrong(self._where, f"{field}: {error}") from None

    def _each(self, kind: str, make: Callable[[str, Any], Made]) -> dict[str, Made]:
        """What is made of the tables of a kind, by name."""
        found = {}
        for name, told in getattr(self._told, kind).items():
            with self._at(f"{kind}.{name}"):
                found[name] = make(name, told)
        return found

    def study(self, name: str, table: Mapping[str, Any]) -> Study:
        """The whole study."""
        told, base = self._told, self._base
        for kind in ("tasks", "prompts", "datasets"):
            for own in getattr(told, kind):
                if base and own in getattr(base, kind):
                    raise _wrong(self._where, f"{kind}.{own}: the {base.name} has it already")
        tasks = {**(base.tasks if base else {}), **self._each("tasks", self._task)}
        prompts = {**(base.prompts if base else {}), **self._prompts(tasks)}
        own_sets = self._each("datasets", lambda own, one: self._dataset(own, one, tasks))
        datasets = {**(base.datasets if base else {}), **own_sets}
        by_task = {
            task: [one.name for one in datasets.values() if one.task.name == task]
            for task in tasks
            if task not in datasets
        }
        variants, points, panels = self._points(datasets, prompts, by_task)
        training = {**(base.training if base else {}), **self._training(datasets)}
        made = Study(
            name=name,
            question=told.question,
            tasks=tasks,
            datasets=datasets,
            training=training,
            prompts=prompts,
            larger=self._each("larger", self._larger),
            filters=self._each("filters", lambda _, one: self._filter(one, datasets)),
            targets=self._each("targets", lambda _, one: self._target(one)),
            variants=variants,
            figures={
                str(number): Figure(str(number), cells.title or told.question, 4)
                for number, cells in enumerate(told.cells, 1)
            },
            panels=panels,
            grids={"figures": points, "every-shot": points},
            everything=tuple(dict.fromkeys(cell for point in points for cell in point.cells)),
            claims={key: claim_of(key, one, by_task) for key, one in told.claims.items()},
            protocols=paper.study().protocols,
            table=dict(table),
        )
        self._check(made)
        return replace(made, summaries=tuple(self._summaries(made)))

    def _summaries(self, study: Study) -> Iterator[Summary]:
        for index, curve in enumerate(self._told.curves):
            with self._at(f"curves[{index}]"):
                yield from curves(study, curve)
        for index, matrix in enumerate(self._told.matrices):
            with self._at(f"matrices[{index}]"):
                yield from matrices(study, matrix)

    def _filter(self, told: RowFilter, datasets: Mapping[str, Dataset]) -> RowFilter:
        if told.to:
            self._known("dataset", datasets, told.to)
        return told

    def _task(self, name: str, told: TaskTable) -> Task:
        shots = {0, *told.shots, *self._shots_of(name)}
        return Task(name, tuple(told.fields), tuple(told.labels), tuple(sorted(shots)))

    def _target(self, told: str | TargetTable) -> TargetFormat:
        if isinstance(told, str):
            return TargetFormat((told,))
        strings = told.strings or len(told.names)
        return TargetFormat(tuple(told.texts), strings, tuple(told.names))

    def _shots_of(self, task: str) -> Iterator[int]:
        """The numbers of demonstrations that cells of a task have."""
        own = {task, *(name for name, told in self._told.datasets.items() if told.task == task)}
        for index, cells in enumerate(self._told.cells):
            if own.intersection(cells.datasets):
                with self._at(f"cells[{index}].shots"):
                    yield from (Demonstrations.parse(str(shots)).number for shots in cells.shots)

    def _prompts(self, tasks: Mapping[str, Task]) -> dict[str, PromptFormat]:
        found = {}
        for name, texts in self._told.prompts.items():
            for task, text in texts.items():
                with self._at(f"prompts.{name}.{task}"):
                    check_template(text, self._known("task", tasks, task).fields)
            with self._at(f"prompts.{name}"):
                found[name] = PromptFormat(name, texts)
        return found

    def _dataset(self, name: str, told: DatasetTable, tasks: Mapping[str, Task]) -> Dataset:
        places: dict[Split, DataPlace] = {"test": self._place(told.test)}
        if told.demonstrations is not None:
            places["demonstrations"] = self._place(told.demonstrations)
        task = self._known("task", tasks, told.task)
        role = Role(told.role) if told.role else None
        return Dataset(name, told.printed or name, task, role, places=places)

    def _training(self, datasets: Mapping[str, Dataset]) -> dict[str, TrainingSet]:
        return {
            name: TrainingSet(name, datasets[name].task, name, self._place(told.train))
            for name, told in self._told.datasets.items()
            if told.train is not None
        }

    def _place(self, told: str | HubTable) -> DataPlace:
        return FilePlace(str(self._folder / told)) if isinstance(told, str) else _hub_place(told)

    def _larger(self, name: str, told: HubTable) -> HubPlace:
        self._known("training set", self._base.training if self._base else {}, name)
        return _hub_place(told)

    @staticmethod
    def _known(what: str, table: Mapping[str, Any], name: str) -> Any:
        if name not in table:
            raise ValueError(f"there is no {what} '{name}', only {', '.join(table) or 'none'}")
        return table[name]

    def _points(
        self,
        datasets: Mapping[str, Dataset],
        prompts: Mapping[str, PromptFormat],
        by_task: Mapping[str, Sequence[str]],
    ) -> tuple[tuple[Variant, ...], tuple[Point, ...], tuple[Panel, ...]]:
        variants: dict[Variant, None] = {}
        points: list[Point] = []
        panels: list[Panel] = []
        letters = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
        for index, told in enumerate(self._told.cells):
            figure, own = str(index + 1), list[Variant]()
            for number, names in enumerate(told.variants):
                with self._at(f"cells[{index}].variants[{number}]"):
                    own += map(Variant.parse, spelt_out([names]))
            variants |= dict.fromkeys(own)
            with self._at(f"cells[{index}].prompts"):
                for name in told.prompts:
                    self._known("prompt format", prompts, name)
            with self._at(f"cells[{index}].datasets"):
                pairs = [
                    (self._known("dataset", datasets, dataset), prompt)
                    for dataset in sets_of(told.datasets, by_task)
                    for prompt in told.prompts or [next(iter(prompts), "")]
                ]
            shown = [Demonstrations.parse(str(shots)) for shots in told.shots]
            for letter, (dataset, prompt) in zip(letters, pairs, strict=False):
                several = f", {prompt}" if len(told.prompts) > 1 else ""
                title, where = dataset.printed + several, (dataset.name, prompt)
                panels.append(Panel(figure, letter, *where, title, dataset.task.metric))
                for variant, shots in product(own, shown):
                    cell = Cell(variant, *where, shots)
                    series = variant.name + shots.name.removeprefix(str(shots.number))
                    place = (figure, letter, series, variant, *where)
                    points.append(Point(*place, shots.number, (cell,)))
        ordered = sorted(variants, key=lambda variant: variant != BASE)
        return tuple(ordered), tuple(points), tuple(panels)

    def _check(self, study: Study) -> None:
        """Every cell must mean something, and every contrast compare something."""
        for name, one in study.filters.items():
            if not any(one.field in (*task.fields, "output") for task in study.tasks.values()):
                raise _wrong(self._where, f"filters.{name}: no task has a field '{one.field}'")
        for point in study.points():
            with self._at(f"cells[{int(point.figure) - 1}]"):
                for cell in point.cells:
                    study.evaluation(cell)
        models = {"base", "ft", "fticl", *(v.name for v in study.variants)}
        models |= {point.series for point in study.points()}
        known = {
            "model": models,
            "dataset": {point.dataset for point in study.points()},
            "prompt": {point.prompt for point in study.points()},
        }
        for name, claim in study.claims.items():
            for index, contrast in enumerate(claim.contrasts):
                where = f"claims.{name}.contrasts[{index}]"
                for side in (contrast.left, contrast.right):
                    for what, there in known.items() if side else ():
                        if strange := sorted(set(getattr(side, f"{what}s")) - there):
                            told = f"{where}: no {what} '{strange[0]}' is among the cells"
                            raise _wrong(self._where, told)
                of_facts = contrast.kind in FACTS
                grouped = contrast.kind in ("change", "gain")
                if grouped and not study.pairs(contrast, other=True):
                    told = f"{where}: a {contrast.kind} needs 'right', and cells in 'than'"
                    raise _wrong(self._where, told)
                if not (study.fact_pairs(contrast) if of_facts else study.pairs(contrast)):
                    raise _wrong(self._where, f"{where}: no two of the cells are compared by it")
