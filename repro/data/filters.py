"""Which rows are scored and trained on: the protocol's row switches (AUDIT A4, A5, A7 to A9)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import datasets

from repro.data.choose import chosen
from repro.data.leakage import Row, implied_labels, same_inputs
from repro.data.similarity import text_of
from repro.data.source import Source
from repro.errors import ReproError
from repro.spec.filters import RowFilter
from repro.spec.protocol import Protocol
from repro.spec.tasks import NO_MAJORITY, Dataset, Kind, Part, Task, TrainingSet


@dataclass(frozen=True)
class Selected:
    """Rows that passed the protocol's switches.

    Attributes:
        rows: in file order; their "row" column still counts from the file's first row.
        dropped: switch -> rows that it dropped, for switches that dropped any. A row that several
            switches concern is counted under the first of them.
    """

    rows: datasets.Dataset
    dropped: dict[str, int]


def test_rows(
    source: Source,
    dataset: Dataset,
    protocol: Protocol,
    *,
    limit: int | None = None,  # noqa: PT028  # no pytest function, in spite of its name
    leaking: int | None = None,  # noqa: PT028
) -> Selected:
    """The rows of a test set that are scored: the first `protocol.rows`, less what it drops.

    The same rows for every model variant and shot count, so that all cells can be compared.

    Args:
        limit: a profile's own cap on the number of first rows.
        leaking: its number of first rows of the training set whose labels may imply test labels.

    Raises:
        ReproError: a file is missing or wrong, or no row is left.
    """
    task, part = dataset.task, Part("test", dataset.name)
    cap = protocol.rows if limit is None else min(protocol.rows, limit)
    first, rows = _first(source, part, task, cap)
    checks: dict[str, Sequence[bool]] = {}
    if protocol.gold_dash == "drop" and task.kind is Kind.CLASSIFICATION:
        checks["gold_dash"] = [row["output"] == NO_MAJORITY for row in rows]
    if protocol.empty_inputs == "drop":
        checks["empty_inputs"] = [_empty(task, row) for row in rows]
    if protocol.repeated_inputs == "drop":
        checks["repeated_inputs"] = _repeated(task, rows)
    if protocol.demonstrations_in_test == "drop":
        shown = _shown(source, dataset.name, task)
        checks["demonstrations_in_test"] = [same_inputs(task, row) in shown for row in rows]
    if protocol.leaked_rows == "drop" and dataset.leak:
        _, train = _first(source, Part("train", *dataset.leak), task, leaking)
        checks["leaked_rows"] = [label is not None for label in implied_labels(rows, train)]
    return _keep(first, checks, str(part))


def train_rows(
    source: Source,
    training: TrainingSet,
    size: int,
    protocol: Protocol,
    *,
    limit: int | None = None,
    only: RowFilter | None = None,
    to: Dataset | None = None,
) -> Selected:
    """The rows a variant is trained on: the first of its training set, less what it drops.

    FT and FTICL of a size train on the same rows.

    Args:
        limit: a profile's own number of first rows for this size; None for all of it.
        only: rows that the variant takes; all for None. to: the data set that it compares with.

    Raises:
        ReproError: the file is missing or wrong, or no row is left.
    """
    task, part = training.task, Part("train", training.name, size)
    first, rows = _first(source, part, task, limit)
    checks: dict[str, Sequence[bool]] = {}
    if protocol.empty_inputs == "drop":
        checks["empty_inputs"] = [_empty(task, row) for row in rows]
    if protocol.demonstrations_in_train == "drop":
        shown = _shown(source, training.dataset, task)
        checks["demonstrations_in_train"] = [same_inputs(task, row) in shown for row in rows]
    kept = _keep(first, checks, str(part))
    if only is not None:
        tested = source.rows(Part("test", to.name), to.task).to_list() if to else []
        texts = [text_of(to.task, row) for row in tested] if to else []
        taken = chosen(kept.rows, only, task, texts)
        lost = len(set(kept.rows["row"])) - len(set(taken["row"]))
        kept = Selected(taken, kept.dropped | ({"rows": lost} if lost else {}))
    return kept


def _first(
    source: Source, part: Part, task: Task, cap: int | None
) -> tuple[datasets.Dataset, list[dict[str, str]]]:
    """The first rows of a part, as a data set and as plain rows."""
    rows = source.rows(part, task, cap)
    if cap is not None and cap < len(rows):
        rows = rows.select(range(cap))
    return rows, rows.to_list()


def _keep(first: datasets.Dataset, checks: Mapping[str, Sequence[bool]], what: str) -> Selected:
    """The rows that no check hits."""
    kept, dropped = [], dict.fromkeys(checks, 0)
    for index in range(len(first)):
        switch = next((name for name, hits in checks.items() if hits[index]), None)
        if switch is None:
            kept.append(index)
        else:
            dropped[switch] += 1
    dropped = {name: count for name, count in dropped.items() if count}
    if not kept:
        by = "".join(f", {name} drops {count}" for name, count in dropped.items())
        raise ReproError(
            f"no row of {what} is left: {len(first)} were asked for{by}",
            hint="ask for more rows, or set a switch that drops rows to 'keep'",
        )
    return Selected(first.select(kept) if dropped else first, dropped)


def _empty(task: Task, row: Row) -> bool:
    return any(not row[field].strip() for field in task.fields)


def _repeated(task: Task, rows: Iterable[Row]) -> list[bool]:
    seen: set[tuple[str, ...]] = set()
    hits = []
    for row in rows:
        texts = same_inputs(task, row)
        hits.append(texts in seen)
        seen.add(texts)
    return hits


def _shown(source: Source, dataset: str, task: Task) -> set[tuple[str, ...]]:
    """The texts of the demonstrations that some shot count of the task puts into a context."""
    rows = source.rows(Part("demonstrations", dataset), task)
    return {same_inputs(task, row) for row in rows.to_list()[: max(task.shots)]}
