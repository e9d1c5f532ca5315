"""Labels: their balance, constant answers, and what the contexts show (AUDIT A5, A9, D2)."""

from collections import Counter
from collections.abc import Sequence

from repro.audit.material import CLASSIFICATION, FIRST, TRAINED, Material, Row
from repro.audit.measure import Value
from repro.spec.tasks import NO_MAJORITY
from repro.studies.paper.tasks import DATASETS, TRAIN_SETS


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How often each output occurs, in alphabetical order."""
    return dict(sorted(Counter(row["output"] for row in rows).items()))


def constant_accuracy(rows: Sequence[Row], label: str) -> float:
    """The accuracy of answering `label` to every row."""
    return sum(row["output"] == label for row in rows) / len(rows)


def shown_labels(demonstrations: Sequence[Row]) -> str:
    """The labels that a context shows with their counts, in order of first appearance."""
    return ", ".join(
        f"{label} {count}" for label, count in Counter(d["output"] for d in demonstrations).items()
    )


def no_majority(material: Material) -> dict[str, Value]:
    """Test rows with the gold label "-", which no answer can match (A5)."""
    measured: dict[str, Value] = {}
    for name in CLASSIFICATION:
        for scope, first in (("first 250", FIRST), ("all", None)):
            rows = material.test(name, first)
            measured[f"{name}, {scope}"] = sum(row["output"] == NO_MAJORITY for row in rows)
    return measured


def constant_classes(material: Material) -> dict[str, Value]:
    """Accuracy of always answering one class, on the rows that are scored (A5)."""
    return {
        f"{name}, always {label}": constant_accuracy(material.test(name, FIRST), label)
        for name in CLASSIFICATION
        for label in DATASETS[name].task.labels
    }


def context_labels(material: Material) -> dict[str, Value]:
    """Which labels each context shows, which it shows last, and which never (A9)."""
    measured: dict[str, Value] = {}
    for name in CLASSIFICATION:
        task = DATASETS[name].task
        for shots in task.shots[1:]:
            shown = material.demonstrations(name)[:shots]
            absent = [label for label in task.labels if label not in {d["output"] for d in shown}]
            measured[f"{name}, {shots} shots: shown"] = shown_labels(shown)
            measured[f"{name}, {shots} shots: last"] = shown[-1]["output"]
            measured[f"{name}, {shots} shots: never shown"] = ", ".join(absent) or "none"
    return measured


def label_balance(material: Material) -> dict[str, Value]:
    """Rows of each label in every classification file (D2)."""
    measured: dict[str, Value] = {}
    for name in CLASSIFICATION:
        for scope, first in (("all", None), ("first 250", FIRST)):
            for label, count in counts(material.test(name, first)).items():
                measured[f"test/{name}, {scope}: {label}"] = count
    for train, size in TRAINED:
        if TRAIN_SETS[train].task.labels:
            for label, count in counts(material.train(train, size)).items():
                measured[f"train/{train}/{size}: {label}"] = count
    return measured
