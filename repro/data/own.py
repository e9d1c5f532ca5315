"""A study's own rows: JSONL files, and data sets of the hub at a pinned revision."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets

from repro.data.larger import enlarged
from repro.data.larger import where as where_of_hub
from repro.data.source import Source, checked_rows
from repro.errors import EXIT_MISSING, ReproError
from repro.printable import counted
from repro.spec.study import Study
from repro.spec.tasks import DataPlace, FilePlace, HubPlace, Part, Task


class OwnData:
    """Rows from where a study says, and of the profile's data where it says nothing.

    Args:
        otherwise: the profile's data.
    """

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
        place = self._study.place(part)
        if (larger := self._larger(part)) is not None:
            return self._enlarged(part, *larger)
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
            if (larger := self._larger(part)) is not None:
                try:
                    self._enlarged(part, *larger)
                except ReproError as error:
                    found.append(error)
            elif place is None:
                others.append(part)
            elif isinstance(place, FilePlace) and not Path(place.path).is_file():
                found.append(
                    ReproError(
                        f"{part}: {place.path} is not there",
                        hint="paths in a study file are relative to that file",
                        exit_code=EXIT_MISSING,
                    )
                )
        return found + self._otherwise.missing(others)

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """Those of the profile's data; any of a set of the study's own."""
        if self._study.training[name].place is not None or name in self._study.larger:
            return None
        return self._otherwise.sizes(name)

    def _larger(self, part: Part) -> tuple[HubPlace, int] | None:
        """The original of a training set that is asked for beyond the profile's largest size."""
        if part.split != "train" or part.name not in self._study.larger:
            return None
        sizes = self._otherwise.sizes(part.name)
        if not sizes or part.size <= sizes[-1]:
            return None
        return self._study.larger[part.name], sizes[-1]

    def _enlarged(self, part: Part, place: HubPlace, largest: int) -> datasets.Dataset:
        if part not in self._grown:
            training = self._study.training[part.name]
            self._grown[part] = enlarged(self._otherwise, training, part.size, largest, place)
        return self._grown[part]


def where(place: DataPlace) -> str:
    """A place in words."""
    return place.path if isinstance(place, FilePlace) else where_of_hub(place)


def _of_file(place: FilePlace) -> Iterator[Any]:
    """The lines of a JSONL file as objects."""
    try:
        content = Path(place.path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReproError(f"{place.path} cannot be read: {error}", exit_code=EXIT_MISSING) from None
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ReproError(
                f"{place.path}, line {number}: not JSON ({error})",
                hint="one JSON object a line",
            ) from None


def _of_hub(place: HubPlace, task: Task) -> Iterator[Any]:
    """The rows of a hub data set under the names of the task's fields."""
    try:
        found = datasets.load_dataset(
            place.repo, place.config or None, revision=place.revision, split=place.split
        )
    except Exception as error:  # whatever the hub, the network or a wrong name may raise
        raise ReproError(
            f"{where(place)} cannot be loaded: {type(error).__name__}: {error}",
            hint="check repo, revision, config and split in the study file, and the network",
            exit_code=EXIT_MISSING,
        ) from None
    columns, labels = dict(place.columns), dict(place.labels)
    names = {field: columns.get(field, field) for field in (*task.fields, "output")}
    for row in found:
        own = {field: row.get(column) for field, column in names.items()}
        own["output"] = labels.get(str(own["output"]), own["output"])
        yield own
