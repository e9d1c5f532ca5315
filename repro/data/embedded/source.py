"""The embedded source: rows made on demand, no files."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice

import datasets

from repro.data.embedded.rows import number_of, rows_of
from repro.data.source import features
from repro.errors import ReproError
from repro.spec.tasks import Part, Task


class EmbeddedData:
    """The micro-English world as a source of rows (see `repro.data.source.Source`)."""

    name = "embedded"

    def sizes(self, name: str) -> None:
        """Of any size, as rows are made on demand."""

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        """The rows of a part, made by the seeded generator as far as they are asked for.

        Raises:
            ReproError: the world has not as many different rows (2).
        """
        wanted = number_of(part) if first is None else min(first, number_of(part))
        # Training sets of all sizes begin alike: what was made for one serves the others.
        rows = _made(replace(part, size=min(1, part.size)), task).first(wanted)
        if len(rows) < wanted:
            raise ReproError(
                f"{part}: the embedded world seems to have no more than {len(rows)} different rows",
                hint=f"name a size of at most {len(rows)} in the study's variants",
            )
        made = [{"row": position, **row} for position, row in enumerate(rows)]
        return datasets.Dataset.from_list(made, features=features(task))

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """Nothing can be missing."""
        return []


class _Made:
    """Rows that are made once, when they are first asked for."""

    def __init__(self, rows: Iterator[dict[str, str]]) -> None:
        self._rows, self._known = rows, list[dict[str, str]]()

    def first(self, number: int) -> list[dict[str, str]]:
        self._known += islice(self._rows, max(0, number - len(self._known)))
        return self._known[:number]


@cache
def _made(part: Part, task: Task) -> _Made:
    return _Made(rows_of(part, task))
