"""Sizes of the files and of their texts, and odd characters (AUDIT B, D1, D4)."""

from collections.abc import Iterator

from repro.audit.material import TRAINED, Material, Row
from repro.audit.measure import Value
from repro.audit.statistics import mean, percentile
from repro.spec.tasks import Task
from repro.studies.paper.tasks import DATASETS, TRAIN_SETS


def files(material: Material) -> Iterator[tuple[str, Task, list[Row]]]:
    """Name, task and rows of every audited file."""
    for dataset in DATASETS.values():
        yield f"test/{dataset.name}", dataset.task, material.test(dataset.name)
    for train, size in TRAINED:
        yield f"train/{train}/{size}", TRAIN_SETS[train].task, material.train(train, size)
    for dataset in DATASETS.values():
        rows = material.demonstrations(dataset.name)
        yield f"demonstrations/{dataset.name}", dataset.task, rows


def row_counts(material: Material) -> dict[str, Value]:
    """Rows of every file (B, G)."""
    return {name: len(rows) for name, _, rows in files(material)}


def text_lengths(material: Material) -> dict[str, Value]:
    """Tokens of all input fields together, and of the outputs, without special tokens (D1)."""
    found: dict[str, Value] = {}
    for name, task, rows in files(material):
        lengths = {
            "input": [sum(len(material.ids(row[f])) for f in task.fields) for row in rows],
            "output": [len(material.ids(row["output"])) for row in rows],
        }
        for side, own in lengths.items():
            values: dict[str, Value] = {
                "mean": mean(own),
                "median": percentile(own, 50),
                "95th percentile": percentile(own, 95),
                "longest": max(own),
            }
            found |= {f"{name}, {side}: {k}": v for k, v in values.items()}
    return found


def odd_texts(material: Material) -> dict[str, Value]:
    """Rows with texts that were damaged or left uncleaned (D4)."""
    tests = {
        "outer blanks in the input": lambda task, row: any(
            row[f] != row[f].strip() for f in task.fields
        ),
        "literal backslash-n": lambda task, row: any("\\n" in row[f] for f in task.fields),
        "soft hyphens": lambda task, row: any("\u00ad" in v for v in _all(task, row)),
        "blank line in the input": lambda task, row: any("\n\n" in row[f] for f in task.fields),
        "line breaks in the output": lambda task, row: "\n" in row["output"],
        "garbled pound sign in the input": lambda task, row: any(
            "Â£" in row[f] for f in task.fields
        ),
        "garbled pound sign in the output": lambda task, row: "Â£" in row["output"],
    }
    return {
        f"{name}: {what}": sum(test(task, row) for row in rows)
        for name, task, rows in files(material)
        if not name.startswith("demonstrations")
        for what, test in tests.items()
    }


def _all(task: Task, row: Row) -> list[str]:
    return [row[field] for field in (*task.fields, "output")]
