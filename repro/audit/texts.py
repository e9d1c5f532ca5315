"""Sizes of the files and of their texts, and odd characters (AUDIT B, D1, D4)."""

from collections.abc import Callable, Iterator

from repro.audit.material import TRAINED, Material, Row, Values
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


def row_counts(material: Material) -> Values:
    """Rows of every file (B, G)."""
    return {name: len(rows) for name, _, rows in files(material)}


def text_lengths(material: Material) -> Values:
    """Tokens of all input fields together, and of the outputs, without special tokens (D1)."""
    found: Values = {}
    for name, task, rows in files(material):
        for side, fields in (("input", task.fields), ("output", ("output",))):
            own = [sum(len(material.ids(row[field])) for field in fields) for row in rows]
            found |= {
                f"{name}, {side}: mean": mean(own),
                f"{name}, {side}: median": percentile(own, 50),
                f"{name}, {side}: 95th percentile": percentile(own, 95),
                f"{name}, {side}: longest": max(own),
            }
    return found


def odd_texts(material: Material) -> Values:
    """Rows with texts that were damaged or left uncleaned (D4)."""
    tests: dict[str, Callable[[list[str], str], bool]] = {
        "outer blanks in the input": lambda inputs, _: any(x != x.strip() for x in inputs),
        "literal backslash-n": lambda inputs, _: any("\\n" in x for x in inputs),
        "soft hyphens": lambda inputs, output: any("\u00ad" in x for x in (*inputs, output)),
        "blank line in the input": lambda inputs, _: any("\n\n" in x for x in inputs),
        "line breaks in the output": lambda _, output: "\n" in output,
        "garbled pound sign in the input": lambda inputs, _: any("Â£" in x for x in inputs),
        "garbled pound sign in the output": lambda _, output: "Â£" in output,
    }
    return {
        f"{name}: {what}": sum(test([row[f] for f in task.fields], row["output"]) for row in rows)
        for name, task, rows in files(material)
        if not name.startswith("demonstrations")
        for what, test in tests.items()
    }
