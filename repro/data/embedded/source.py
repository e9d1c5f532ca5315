"""The embedded source: rows made on demand, no files."""

from collections.abc import Iterable
from functools import cache

import datasets

from repro.data.embedded.rows import rows_of
from repro.data.source import features
from repro.errors import ReproError
from repro.spec.tasks import Part, Task


class EmbeddedData:
    """The micro-English world as a source of rows (see `repro.data.source.Source`)."""

    name = "embedded"

    def sizes(self, name: str) -> None:
        """Of any size, as rows are made on demand."""

    def rows(self, part: Part, task: Task) -> datasets.Dataset:
        """All rows of a part, made by the seeded generator."""
        made = [{"row": position, **row} for position, row in enumerate(_rows(part, task))]
        return datasets.Dataset.from_list(made, features=features(task))

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """Nothing can be missing."""
        return []


@cache
def _rows(part: Part, task: Task) -> list[dict[str, str]]:
    return list(rows_of(part, task))
