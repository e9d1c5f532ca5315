"""A source of hand-made rows, and Llama-2's tokenizer where the machine has it."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import datasets
import pytest

from repro.data.source import features
from repro.errors import ReproError
from repro.spec.tasks import Part, Task

Rows = Mapping[str, list[dict[str, str]]]


class HandMade:
    """Rows by the part's printed name; any other part has one row that resembles no other."""

    name = "upstream"

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        other = {field: f"{part} {field}" for field in task.fields}
        other["output"] = (task.labels or (f"{part} output",))[0]
        rows = self._rows.get(str(part), [other])
        numbered = [{"row": i, **row} for i, row in enumerate(rows)]
        return datasets.Dataset.from_list(numbered, features=features(task))

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        return []


@pytest.fixture
def hand_made() -> Callable[[Rows], HandMade]:
    """Makes a source of the given rows."""
    return HandMade


@pytest.fixture(scope="session")
def tokenizer_dir() -> Path:
    """The folder with Llama-2's tokenizer.json; tests that ask for it are skipped without."""
    folder = os.environ.get("REPRO_LLAMA2_TOKENIZER")
    if not folder:
        pytest.skip("REPRO_LLAMA2_TOKENIZER names no folder with Llama-2's tokenizer.json")
    return Path(folder)
