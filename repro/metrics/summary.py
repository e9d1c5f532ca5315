"""One cell's score with its error and, for labels, what lies behind it (AUDIT A5, A7)."""

from collections.abc import Mapping, Sequence
from math import fsum, sqrt
from typing import Any

from repro.spec.tasks import Kind, Task

Sample = Mapping[str, Any]

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion, without continuity correction."""
    p = successes / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    # At the ends it is exactly 0 or 1; rounding must not leave the value outside.
    return (
        0.0 if successes == 0 else max(0.0, middle - half),
        1.0 if successes == n else min(1.0, middle + half),
    )


def standard_error(scores: Sequence[float]) -> float:
    """Standard deviation (n - 1) over root n, for scores in [0, 1].

    From a single score none can be estimated, so it gets 0.5, the largest one possible.
    """
    n = len(scores)
    if n == 1:
        return 0.5
    mean = fsum(scores) / n
    return sqrt(fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)


def balanced_accuracy(samples: Sequence[Sample], labels: Sequence[str]) -> float | None:
    """Mean recall over the labels that occur as gold; None if none does.

    A gold "-" is no label, so its rows lower the accuracy but not this.
    """
    recalls = []
    for label in labels:
        scores = [sample["score"] for sample in samples if sample["gold"] == label]
        if scores:
            recalls.append(sum(scores) / len(scores))
    return sum(recalls) / len(recalls) if recalls else None


def summarise(task: Task, samples: Sequence[Sample]) -> dict[str, Any]:
    """A cell's line of results from its samples.

    Returns:
        metric ("accuracy" or "rougeL"), value (mean score, 0 to 1), n, stderr (accuracy: binomial;
        ROUGE-L: of the mean), interval (95 %, [low, high]; accuracy: Wilson; ROUGE-L: value +-
        1.96 stderr, within 0 and 1). For classification also histogram (label -> predictions),
        balanced_accuracy, and constant: the label if all predictions are the same, else None.

    Raises:
        ValueError: no samples.
    """
    n = len(samples)
    if not n:
        raise ValueError("no samples")
    scores = [sample["score"] for sample in samples]
    value = fsum(scores) / n
    found: dict[str, Any] = {"metric": task.metric, "value": value, "n": n}
    if task.kind is Kind.GENERATION:
        error = standard_error(scores)
        low, high = max(0.0, value - Z * error), min(1.0, value + Z * error)
        return {**found, "stderr": error, "interval": [low, high]}
    labels = task.labels
    predictions = [sample["prediction"] for sample in samples]
    histogram = {label: predictions.count(label) for label in labels}
    return {
        **found,
        "stderr": sqrt(value * (1 - value) / n),
        "interval": list(wilson(sum(scores), n)),
        "histogram": histogram,
        "balanced_accuracy": balanced_accuracy(samples, labels),
        "constant": predictions[0] if len(set(predictions)) == 1 else None,
    }
