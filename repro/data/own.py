"""A study's own rows: JSONL files, and data sets of the hub at a pinned revision."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets

from repro.data.larger import enlarged, renamed, where
from repro.data.source import Source, checked_rows
from repro.errors import ReproError, missing
from repro.printable import counted
from repro.spec.study import Study
from repro.spec.tasks import DataPlace, FilePlace, HubPlace, Part, Task


class OwnData:
    """Rows from where a study says, and otherwise of the profile's data."""

    def __init__(self, study: Study, otherwise: Source) -> None:
        self.name = f"the study {study.name}"
        self._study = study
        self._otherwise = otherwise
        self._read: dict[tuple[DataPlace, Task], datasets.Dataset] = {}
        self._grown: dict[Part, datasets.Dataset] = {}

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        """All rows of a part; of a training set the first as many as its size says.

        Raises:
            ReproError: the rows are not there (3), malformed, or fewer than asked for (2).
        """
        if (grown := self._enlarged(part)) is not None:
            return grown
        place = self._study.place(part)
        if place is None:
            return self._otherwise.rows(part, task, first)
        if (place, task) not in self._read:
            found = _of_file(place) if isinstance(place, FilePlace) else _of_hub(place, task)
            self._read[place, task] = checked_rows(found, task, where(place))
        rows = self._read[place, task]
        if part.size > len(rows):
            raise ReproError(
                f"{part}: {where(place)} has {counted(len(rows), 'row')}, fewer than {part.size}",
                hint="name a smaller size in the study's variants, or give more rows",
            )
        return rows.select(range(part.size)) if part.size else rows

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """Files that are not there, and whatever the profile's data lacks."""
        found, others = [], []
        for part in parts:
            place = self._study.place(part)
            try:
                grown = self._enlarged(part)
            except ReproError as error:
                found.append(error)
                continue
            if grown is not None:
                continue
            if place is None:
                others.append(part)
            elif isinstance(place, FilePlace) and not Path(place.path).is_file():
                hint = "paths in a study file are relative to that file"
                found.append(missing(f"{part}: {place.path} is not there", hint))
        return found + self._otherwise.missing(others)

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """Those of the profile's data; any of a set of the study's own."""
        if self._study.training[name].place is not None or name in self._study.larger:
            return None
        return self._otherwise.sizes(name)

    def _enlarged(self, part: Part) -> datasets.Dataset | None:
        """With rows of its original, a training set beyond the profile's largest; else None."""
        if part.split != "train" or part.name not in self._study.larger:
            return None
        sizes = self._otherwise.sizes(part.name)
        if not sizes or part.size <= sizes[-1]:
            return None
        if part not in self._grown:
            training, place = self._study.training[part.name], self._study.larger[part.name]
            self._grown[part] = enlarged(self._otherwise, training, part.size, sizes[-1], place)
        return self._grown[part]


def _of_file(place: FilePlace) -> Iterator[Any]:
    """The lines of a JSONL file as objects."""
    try:
        content = Path(place.path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise missing(f"{place.path} cannot be read: {error}") from None
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ReproError(
                f"{place.path}, line {number}: not JSON ({error})", hint="one JSON object a line"
            ) from None


def _of_hub(place: HubPlace, task: Task) -> Iterator[Any]:
    """The rows of a hub data set under the names of the task's fields."""
    try:
        found = datasets.load_dataset(
            place.repo, place.config or None, revision=place.revision, split=place.split
        )
    except Exception as error:  # whatever the hub, the network or a wrong name may raise
        raise missing(
            f"{where(place)} cannot be loaded: {type(error).__name__}: {error}",
            "check repo, revision, config and split in the study file, and the network",
        ) from None
    yield from renamed(found, task, place)
