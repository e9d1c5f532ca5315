"""What a source of rows is: one schema per task, and the `Source` protocol."""

import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any

import datasets

from repro.errors import ReproError, missing
from repro.spec.tasks import NO_MAJORITY, Part, Task

_SURROGATE = re.compile("[\ud800-\udfff]")


def features(task: Task) -> datasets.Features:
    """The schema of a task's rows.

    "row" (int64) is the position in the part's file, counted from 0; the task's input fields
    and "output" are strings.
    """
    text = {field: datasets.Value("string") for field in (*task.fields, "output")}
    return datasets.Features({"row": datasets.Value("int64"), **text})


class Source(typing.Protocol):
    """Where rows come from: the authors' files, the kit's own made-up world, a user's files."""

    @property
    def name(self) -> str:
        """Such as "upstream" or "embedded"."""

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """The sizes that there are of a training set; None for any."""

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        """The rows of a part in file order, with the columns of `features(task)`.

        Args:
            first: how many are asked for at least, where the part has as many; None for all.

        Raises:
            ReproError: the part is not there, does not match its hash, or is malformed.
        """

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """What of these is not there or does not match, each with its remedy; [] if all is well."""


def checked_rows(
    tables: Iterable[Any],
    task: Task,
    where: str,
    *,
    hint: str = "every row has the task's fields and output, as texts",
) -> datasets.Dataset:
    """Rows from parsed JSON: objects of strings; keys of no field are ignored.

    Args:
        where: the rows' file, for messages.

    Raises:
        ReproError: names the file, the row (counted from 0) and the field that is wrong (3).
    """
    columns: dict[str, list[Any]] = {field: [] for field in (*task.fields, "output")}
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            raise missing(f"{where}: row {number} is not an object", hint)
        for field, column in columns.items():
            if wrong := _wrong(task, field, table.get(field)):
                raise missing(f"{where}: row {number}, field '{field}': {wrong}", hint)
            column.append(table[field])
    columns["row"] = list(range(len(columns["output"])))
    return datasets.Dataset.from_dict(columns, features=features(task))


def with_column(rows: datasets.Dataset, column: str, texts: Sequence[str]) -> datasets.Dataset:
    """The rows with a column of texts replaced or added."""
    columns = {name: rows[name] for name in rows.column_names} | {column: texts}
    schema = datasets.Features({**rows.features, column: datasets.Value("string")})
    return datasets.Dataset.from_dict(columns, features=schema)


def _wrong(task: Task, field: str, value: object) -> str:
    """What is wrong with a field's value; empty if nothing is."""
    if value is None:
        return "missing"
    if not isinstance(value, str):
        return f"not a string but {type(value).__name__}"
    if _SURROGATE.search(value):
        return "half of a surrogate pair, which is no text"
    if field == "output":
        if not value:
            return "empty"
        if task.labels and value not in (*task.labels, NO_MAJORITY):
            return f"'{value}' is not one of {', '.join(task.labels)} or '{NO_MAJORITY}'"
    return ""
