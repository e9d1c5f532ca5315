"""Labels: their balance, constant answers, and what the contexts show (AUDIT A5, A9, D2)."""

from collections import Counter

from repro.audit.material import CLASSIFICATION, FIRST, Material, Values
from repro.audit.statistics import mean
from repro.spec.tasks import NO_MAJORITY
from repro.studies.paper.tasks import DATASETS


def no_majority(material: Material) -> Values:
    """Test rows with the gold label "-", which no answer can match (A5)."""
    return {
        scope: sum(row["output"] == NO_MAJORITY for row in rows)
        for name in CLASSIFICATION
        for scope, rows in reversed(material.scopes(name))
    }


def constant_classes(material: Material) -> Values:
    """Accuracy of always answering one class, on the rows that are scored (A5)."""
    return {
        f"{name}, always {label}": mean(
            [row["output"] == label for row in material.test(name, FIRST)]
        )
        for name in CLASSIFICATION
        for label in DATASETS[name].task.labels
    }


def context_labels(material: Material) -> Values:
    """Which labels each context shows, which it shows last, and which never (A9)."""
    measured: Values = {}
    for name in CLASSIFICATION:
        task = DATASETS[name].task
        for shots in task.shots[1:]:
            shown = [row["output"] for row in material.demonstrations(name)[:shots]]
            counts = Counter(shown)
            absent = [label for label in task.labels if label not in counts]
            measured |= {
                f"{name}, {shots} shots: shown": ", ".join(f"{k} {v}" for k, v in counts.items()),
                f"{name}, {shots} shots: last": shown[-1],
                f"{name}, {shots} shots: never shown": ", ".join(absent) or "none",
            }
    return measured


def label_balance(material: Material) -> Values:
    """Rows of each label in every classification file (D2)."""
    return {
        f"{name}: {label}": count
        for name, task, rows in material.scoped()
        if task.labels
        for label, count in sorted(Counter(row["output"] for row in rows).items())
    }
