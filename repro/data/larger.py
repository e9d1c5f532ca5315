"""Training rows beyond those that a profile's data holds, from the original data set on the hub."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets

from repro.data.leakage import same_inputs
from repro.data.source import Source, checked_rows
from repro.errors import ReproError, missing
from repro.files import file_sha256
from repro.spec.tasks import DataPlace, FilePlace, HubPlace, Part, Task, TrainingSet


def enlarged(
    source: Source, training: TrainingSet, size: int, largest: int, place: HubPlace
) -> datasets.Dataset:
    """As many training rows as asked for: the profile's own first, then those of the original.

    Rows with the inputs of an earlier one, of a test row or of a demonstration are left out, so
    that a larger set contains every smaller one and no more of the test set than that.

    Args:
        largest: size of the largest file of the profile's data.

    Raises:
        ReproError: the original cannot be had or has changed (3), or has too few rows (2); says how
            many there are.
    """
    task = training.task
    fields = (*task.fields, "output")
    own = source.rows(Part("train", training.name, largest), task).to_list()
    tested = [Part("test", training.dataset), Part("demonstrations", training.dataset)]
    seen = {same_inputs(task, row) for part in tested for row in source.rows(part, task).to_list()}
    found = [{field: row[field] for field in fields} for row in own]
    seen |= {same_inputs(task, row) for row in found}
    for row in formatted(of_files(place), task, place):
        if len(found) == size:
            break
        inputs = same_inputs(task, row)
        if inputs not in seen:
            seen.add(inputs)
            found.append(row)
    if len(found) < size:
        raise ReproError(
            f"train/{training.name}/{size}: the {len(own):,} rows of {source.name} and those of "
            f"{where(place)} that are no test rows are {len(found):,}, fewer than {size:,}",
            hint=f"name a size of at most {len(found)} in the study's variants",
        )
    return checked_rows(found[:size], task, where(place))


def formatted(rows: Iterable[Any], task: Task, place: HubPlace) -> Iterator[dict[str, str]]:
    """Rows of an original under the names of the task's fields.

    Those without text, without a label of the task, or longer than the place allows are left out.
    """
    for own in renamed(rows, task, place):
        texts = [value for value in own.values() if isinstance(value, str) and value.strip()]
        words = sum(len(text.split()) for text in texts)
        if len(texts) < len(own) or (place.max_words and words > place.max_words):
            continue
        if not task.labels or own["output"] in task.labels:
            yield own


def renamed(rows: Iterable[Any], task: Task, place: HubPlace) -> Iterator[dict[str, Any]]:
    """Rows of a hub data set under the names of the task's fields and labels."""
    columns, labels = dict(place.columns), dict(place.labels)
    names = {field: columns.get(field, field) for field in (*task.fields, "output")}
    for row in rows:
        own = {field: row.get(column) for field, column in names.items()}
        yield own | {"output": labels.get(str(own["output"]), own["output"])}


def of_files(place: HubPlace) -> Iterator[Any]:
    """The rows of a place's parquet files, each downloaded at its commit and checked.

    Raises:
        ReproError: a file cannot be had, or is not what was pinned (3).
    """
    from huggingface_hub import hf_hub_download  # slow to import
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    for name, pinned in place.files:
        try:
            path = hf_hub_download(
                place.repo,
                name,
                repo_type="dataset",
                revision=place.revision,
                endpoint=os.environ.get("HF_ENDPOINT") or None,  # as it is now, not at import
            )
        except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OSError) as error:
            raise missing(
                f"{where(place)}: {name} cannot be had: {_first_line(error)}",
                "look whether the data set has moved on the hub, or what keeps you from it; "
                "sizes that the profile's own data holds need none of it",
            ) from None
        found = file_sha256(Path(path))
        if pinned and found != pinned:
            raise missing(
                f"{where(place)}: {name} has changed: sha256 {found[:16]}..., pinned is "
                f"{pinned[:16]}...",
                "delete it from the hub's cache and start again; if it comes back so, look at "
                "it, and pin it in a study file of your own",
            )
        try:
            yield from datasets.load_dataset(
                "parquet", data_files=path, split="train", streaming=True
            )
        except Exception as error:  # whatever a file that is none may raise
            told = _first_line(error)
            raise missing(f"{where(place)}: {name} is no parquet file: {told}") from None


def _first_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def where(place: DataPlace) -> str:
    """A place in words."""
    if isinstance(place, FilePlace):
        return place.path
    return f"{place.repo} {place.split} at {place.revision[:12]}"
