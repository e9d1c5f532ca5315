"""The rows of a plan: which are scored, which are trained on, which stand before them."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

from datasets import Dataset

from repro.data.choose import exchanged
from repro.data.demonstrations import chosen_for_each
from repro.data.filters import Selected, test_rows, train_rows
from repro.data.source import Source, with_column
from repro.data.targets import Writer, writer
from repro.errors import ReproError
from repro.plan.select import Request
from repro.spec.cells import EXCHANGED, FIRST, Demonstrations, Variant
from repro.spec.prompts import context
from repro.spec.tasks import Part, Task


def rows_digest(rows: Dataset) -> str:
    """A hash over the content of rows, in their order."""
    return _digest(rows.to_list())


def _digest(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Examples(NamedTuple):
    """What stands before the training rows of a variant.

    Attributes:
        rows: the demonstrations of all rows, or those of the first one.
        contexts: the text before each row, where rows differ in it or another task is shown.
        digest: a hash over it all.
    """

    rows: Dataset
    contexts: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class PlanRows:
    """The rows of a request's cells and variants, each read and selected once."""

    request: Request
    source: Source
    _tested: dict[str, tuple[Selected, str]] = field(default_factory=dict)
    _plain: dict[tuple[object, ...], Selected] = field(default_factory=dict)
    _trained: dict[tuple[object, ...], tuple[Selected, str]] = field(default_factory=dict)
    _writers: dict[tuple[object, ...], Writer | None] = field(default_factory=dict)
    _shown: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    _examples: dict[Variant, Examples] = field(default_factory=dict)

    def tested(self, dataset: str) -> tuple[Selected, str]:
        """The rows of a test set that are scored, and their digest."""
        if dataset not in self._tested:
            own, profile = self.request.study.datasets[dataset], self.request.profile
            selected = test_rows(
                self.source,
                own,
                self.request.protocol,
                limit=self.request.test_limit,
                leaking=profile.train_limit(own.leak[1]) if own.leak else None,
            )
            self._tested[dataset] = selected, rows_digest(selected.rows)
        return self._tested[dataset]

    def shown(self, dataset: str, own: Demonstrations) -> Dataset:
        """All demonstrations of a data set, in the order in which they are chosen."""
        place = dataset, own.choice
        if place not in self._shown:
            task = self.request.study.datasets[dataset].task
            rows = self.source.rows(Part("demonstrations", dataset), task)
            if own.choice == EXCHANGED:
                rows = with_column(rows, "output", exchanged(rows["output"], task.labels))
            elif own.choice != FIRST:
                rows = rows.select(Random(own.seed).sample(range(len(rows)), len(rows)))
            self._shown[place] = rows
        return self._shown[place]

    def first(self, dataset: str, own: Demonstrations) -> Dataset:
        """Those that are shown, or as many as there are."""
        rows = self.shown(dataset, own)
        return rows.select(range(min(own.number, len(rows))))

    def trained(self, variant: Variant) -> tuple[Selected, str]:
        """The rows that a variant is trained on, and their digest."""
        place = variant.train, variant.size, variant.rows, variant.target
        if place not in self._trained:
            selected = self._in_plain_format(variant)
            if own := self.writer(variant, self.request.study.training[variant.train].task):
                selected = replace(selected, rows=own.rows(selected.rows))
            self._trained[place] = selected, rows_digest(selected.rows)
        return self._trained[place]

    def _in_plain_format(self, variant: Variant) -> Selected:
        place = variant.train, variant.size, variant.rows
        if place not in self._plain:
            study = self.request.study
            only = study.filters.get(variant.rows)
            self._plain[place] = train_rows(
                self.source,
                study.training[variant.train],
                variant.size,
                self.request.protocol,
                limit=self.request.profile.train_limit(variant.size),
                only=only,
                to=study.datasets[only.to] if only and only.to else None,
            )
        return self._plain[place]

    def writer(self, variant: Variant, task: Task) -> Writer | None:
        """In whose format a variant answers a task; None for the plain one.

        Raises:
            ReproError: the training rows do not give the format what it needs (2).
        """
        study = self.request.study
        if not variant.target or task != study.training[variant.train].task:
            return None
        place = variant.train, variant.size, variant.rows, variant.target
        if place not in self._writers:
            rows, form = self._in_plain_format(variant).rows, study.targets[variant.target]
            self._writers[place] = writer(form, task, rows.to_list(), variant.target)
        return self._writers[place]

    def examples(self, variant: Variant) -> Examples:
        """What stands before a variant's training rows; raises where there are not as many."""
        if variant not in self._examples:
            each = variant.demonstrations.for_each
            self._examples[variant] = self._of_each(variant) if each else self._of_all(variant)
        return self._examples[variant]

    def _of_each(self, variant: Variant) -> Examples:
        study, rows = self.request.study, self.trained(variant)[0].rows
        task = study.training[variant.train].task
        found = chosen_for_each(rows.to_list(), task, variant.demonstrations)
        text = study.training_prompt(variant).text(task)
        contexts = tuple(context(task, text, shown) for shown in found)
        first = Dataset.from_list(found[0], features=rows.features)
        return Examples(first, contexts, _digest(contexts))

    def _of_all(self, variant: Variant) -> Examples:
        study, own = self.request.study, variant.demonstrations
        name = study.shown_to(variant)
        rows = self.first(name, own)
        if len(rows) < own.number:
            raise ReproError(
                f"{variant.name} needs {own.number} demonstrations, "
                f"there are {len(rows)} of {name}",
                hint=f"ask for at most {len(rows)}, or take training rows: -shown=each1",
            )
        task = study.datasets[name].task
        if written := self.writer(variant, task):
            rows = written.rows(rows)
        if not own.number or task == study.training[variant.train].task:
            return Examples(rows, (), rows_digest(rows))
        before = context(task, study.training_prompt(variant).text(task), rows.to_list())
        contexts = (before,) * len(self.trained(variant)[0].rows)
        return Examples(rows, contexts, _digest([before]))
