"""Labels of files and contexts, by hand."""

from collections.abc import Callable
from typing import Any

from repro.audit import labels
from repro.audit.material import Material


def _rows(outputs: str) -> list[dict[str, str]]:
    names = {"e": "entailment", "n": "neutral", "c": "contradiction", "-": "-"}
    return [{"input_1": str(i), "input_2": "", "output": names[o]} for i, o in enumerate(outputs)]


def test_labels_of_a_test_set(hand_made: Callable[..., Any]) -> None:
    # 250 rows that are scored, and ten more that are not.
    material = Material(hand_made({"test/rte": _rows("e" * 150 + "n" * 98 + "--" + "-" * 10)}))
    assert labels.no_majority(material)["rte, first 250"] == 2
    assert labels.no_majority(material)["rte, all"] == 12
    constant = labels.constant_classes(material)
    assert constant["rte, always entailment"] == 0.6
    assert constant["rte, always neutral"] == 0.392
    assert constant["rte, always contradiction"] == 0.0
    assert labels.label_balance(material)["test/rte, first 250: neutral"] == 98


def test_labels_of_a_context(hand_made: Callable[..., Any]) -> None:
    material = Material(hand_made({"demonstrations/rte": _rows("neencen")}))
    found = labels.context_labels(material)
    assert found["rte, 3 shots: shown"] == "neutral 1, entailment 2"
    assert found["rte, 3 shots: never shown"] == "contradiction"
    assert found["rte, 5 shots: never shown"] == "none"
    assert (found["rte, 5 shots: last"], found["rte, 7 shots: last"]) == (
        "contradiction",
        "neutral",
    )
