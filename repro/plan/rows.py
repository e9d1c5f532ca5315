"""The rows of a plan: which are scored, which are trained on, which stand before them."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from datasets import Dataset

from repro.data.choose import exchanged
from repro.data.demonstrations import chosen_for_each
from repro.data.filters import Selected, test_rows, train_rows
from repro.data.source import Source, with_column
from repro.data.targets import Writer, writer
from repro.errors import ReproError
from repro.profiles import Profile
from repro.spec.cells import EXCHANGED, FIRST, Demonstrations, Variant
from repro.spec.prompts import context
from repro.spec.protocol import Protocol
from repro.spec.study import Study
from repro.spec.tasks import Part, Task


def rows_digest(rows: Dataset) -> str:
    """A hash over the content of rows, in their order."""
    return _digest(rows.to_list())


def _digest(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Examples:
    """What stands before the training rows of a variant.

    Attributes:
        rows: the demonstrations of all rows, or those of the first one.
        contexts: the text before each row, where rows differ in it or another task is shown.
        digest: a hash over it all.
    """

    rows: Dataset
    contexts: tuple[str, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class PlanRows:
    """The rows of a study's cells and variants, each read and selected once.

    Attributes:
        test_limit: rows of a test set to score, at most; None for the protocol's number.
    """

    study: Study
    profile: Profile
    protocol: Protocol
    source: Source
    test_limit: int | None

    @cached_property
    def _tested(self) -> dict[str, tuple[Selected, str]]:
        return {}

    @cached_property
    def _plain(self) -> dict[tuple[object, ...], Selected]:
        return {}

    @cached_property
    def _trained(self) -> dict[tuple[object, ...], tuple[Selected, str]]:
        return {}

    @cached_property
    def _writers(self) -> dict[tuple[object, ...], Writer | None]:
        return {}

    @cached_property
    def _shown(self) -> dict[tuple[str, str], Dataset]:
        return {}

    @cached_property
    def _examples(self) -> dict[Variant, Examples]:
        return {}

    def tested(self, dataset: str) -> tuple[Selected, str]:
        """The rows of a test set that are scored, and their digest."""
        if dataset not in self._tested:
            own = self.study.datasets[dataset]
            selected = test_rows(
                self.source,
                own,
                self.protocol,
                limit=self.test_limit,
                leaking=self.profile.train_limit(own.leak[1]) if own.leak else None,
            )
            self._tested[dataset] = selected, rows_digest(selected.rows)
        return self._tested[dataset]

    def shown(self, dataset: str, own: Demonstrations) -> Dataset:
        """All demonstrations of a data set, in the order in which they are chosen."""
        place = dataset, own.choice
        if place not in self._shown:
            task = self.study.datasets[dataset].task
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
            if own := self.writer(variant, self.study.training[variant.train].task):
                selected = replace(selected, rows=own.rows(selected.rows))
            self._trained[place] = selected, rows_digest(selected.rows)
        return self._trained[place]

    def _in_plain_format(self, variant: Variant) -> Selected:
        place = variant.train, variant.size, variant.rows
        if place not in self._plain:
            only = self.study.filters.get(variant.rows)
            self._plain[place] = train_rows(
                self.source,
                self.study.training[variant.train],
                variant.size,
                self.protocol,
                limit=self.profile.train_limit(variant.size),
                only=only,
                to=self.study.datasets[only.to] if only and only.to else None,
            )
        return self._plain[place]

    def writer(self, variant: Variant, task: Task) -> Writer | None:
        """In whose format a variant answers a task; None for the plain one.

        Raises:
            ReproError: the training rows do not give the format what it needs (2).
        """
        if not variant.target or task != self.study.training[variant.train].task:
            return None
        place = variant.train, variant.size, variant.rows, variant.target
        if place not in self._writers:
            rows, form = self._in_plain_format(variant).rows, self.study.targets[variant.target]
            self._writers[place] = writer(form, task, rows.to_list(), variant.target)
        return self._writers[place]

    def examples(self, variant: Variant) -> Examples:
        """What stands before a variant's training rows.

        Raises:
            ReproError: there are fewer demonstrations; says how many.
        """
        if variant not in self._examples:
            own = variant.demonstrations
            self._examples[variant] = (
                self._of_each(variant, own) if own.for_each else self._of_all(variant, own)
            )
        return self._examples[variant]

    def _of_each(self, variant: Variant, own: Demonstrations) -> Examples:
        rows, task = self.trained(variant)[0].rows, self.study.training[variant.train].task
        table = rows.to_list()
        found = chosen_for_each(table, task, own)
        text = self.study.training_prompt(variant).text(task)
        contexts = tuple(context(task, text, shown) for shown in found)
        first = Dataset.from_list(found[0], features=rows.features)
        return Examples(first, contexts, _digest(contexts))

    def _of_all(self, variant: Variant, own: Demonstrations) -> Examples:
        name = self.study.shown_to(variant)
        shown = self.first(name, own)
        if len(shown) < own.number:
            raise ReproError(
                f"{variant.name} needs {own.number} demonstrations, "
                f"there are {len(shown)} of {name}",
                hint=f"ask for at most {len(shown)}, or take training rows: -shown=each1",
            )
        task = self.study.datasets[name].task
        written = self.writer(variant, task)
        rows = written.rows(shown) if written else shown
        if not own.number or task == self.study.training[variant.train].task:
            return Examples(rows, (), rows_digest(rows))
        before = context(task, self.study.training_prompt(variant).text(task), rows.to_list())
        contexts = (before,) * len(self.trained(variant)[0].rows)
        return Examples(rows, contexts, _digest([before]))
