"""What a row filter leaves of a training set, and outputs that are exchanged."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import datasets

from repro.data.leakage import Row
from repro.data.similarity import similarities, text_of
from repro.data.source import with_column
from repro.errors import ReproError
from repro.spec.filters import RowFilter
from repro.spec.tasks import Task


def chosen(
    rows: datasets.Dataset, only: RowFilter, task: Task, to: Sequence[str] = ()
) -> datasets.Dataset:
    """The rows that a filter leaves, in their order.

    Args:
        to: the texts that "nearest" and "farthest" compare with, by `similarity.text_of`. Rows
            that are one of them are never taken, so that similarity leaks no test row.

    Raises:
        ReproError: no row is left, or outputs cannot be exchanged; says what is possible.
    """
    table, tested = rows.to_list(), set(to)
    left = [
        index
        for index, row in enumerate(table)
        if only.keeps(row) and not (tested and text_of(task, row) in tested)
    ]
    count = round(only.share * len(left))
    if not count:
        raise ReproError(
            f"the row filter leaves none of {len(table)} rows: "
            f"{len(left)} have what it asks for, and its share of them is {only.share}",
            hint="ask for a larger share, or for less of each row",
        )
    order = _order(only, task, [table[index] for index in left], to)
    taken = sorted(left[place] for place in order[:count])
    if only.repeat:
        taken = [taken[index % count] for index in range(len(table))]
    kept = rows.select(taken)
    if not only.exchange:
        return kept
    return with_column(kept, "output", exchanged(kept["output"], task.labels, only.exchange))


def _order(only: RowFilter, task: Task, rows: Sequence[Row], to: Sequence[str]) -> list[int]:
    """Places of rows, first those to be taken; of equal ones the first of the file."""
    if only.order == "first":
        return list(range(len(rows)))
    values: Sequence[float]
    if only.order in ("shortest", "longest"):
        values = [len(row[only.field].split()) for row in rows]
    else:
        values = similarities([text_of(task, row) for row in rows], to).tolist()
    sign = -1 if only.order in ("longest", "nearest") else 1
    return sorted(range(len(rows)), key=lambda i: sign * values[i])


def exchanged(outputs: Sequence[str], labels: Sequence[str], share: float = 1.0) -> list[str]:
    """Outputs, a share of them wrong: another label, or without labels that of another row.

    Exactly `round(share * n)` differ from what they were. The rows that are concerned at a share
    are among those of every larger one, and the same at each call.

    Raises:
        ReproError: too few different outputs to exchange.
    """
    rng, found = Random("exchange"), list(outputs)
    places = list(range(len(found)))
    rng.shuffle(places)
    places = places[: round(share * len(found))]
    if labels:
        for place in places:
            found[place] = rng.choice([label for label in labels if label != outputs[place]])
        return found
    # Behind each other by output and moved on by the longest run, no row keeps its own.
    places.sort(key=lambda place: outputs[place])
    longest = max(Counter(outputs[place] for place in places).values(), default=0)
    if 2 * longest > len(places):
        raise ReproError(
            f"the outputs of {len(places)} rows cannot all be exchanged: "
            f"{longest} of them are the same",
            hint="exchange more rows, or take rows with other outputs",
        )
    for index, place in enumerate(places):
        found[place] = outputs[places[(index + longest) % len(places)]]
    return found
