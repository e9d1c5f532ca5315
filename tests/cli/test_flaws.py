"""`repro flaws` from published protocol to document."""

from collections.abc import Callable
from pathlib import Path

Ends = Callable[..., tuple[int, str]]
CELLS = "base.rte.p1.0,base.xsum.p1.0"


def test_only_what_a_switch_touches_is_run(store: Path, tmp_path: Path, ends: Ends) -> None:
    out, results = tmp_path / "docs" / "flaws.md", tmp_path / "results"
    words = ["flaws", "--cells", CELLS, "--rows", "2", "--store", store]
    code, told = ends(*words, "--results", results, "-o", out)
    assert code == 0, told
    ran = {folder.name for folder in results.iterdir()}
    assert {"published-code", "rte_labels", "max_new_tokens", "corrected"} <= ran
    # No model is trained, and neither cell has demonstrations.
    assert not {"loss_weighting", "bos_few_shot_classification", "best_of"} & ran
    lines = out.read_text().splitlines()
    (labels,) = (line for line in lines if "`rte_labels = occurring`" in line)
    assert labels.startswith("| A5 | `rte_labels = occurring` | 1 | 0 | ")
    (both,) = (line for line in lines if "`corrected`" in line and line.startswith("| "))
    assert "| 2 | 0 |" in both
    # Again, nothing is left to be done.
    code, told = ends(*words, "--results", results, "-o", out)
    assert code == 0
    assert "evaluating" not in told
    assert out.read_text().splitlines() == lines


def test_switches_are_not_the_users(tmp_path: Path, ends: Ends) -> None:
    code, told = ends("flaws", "--set", "rows=1", "-o", tmp_path / "x.md")
    assert code == 2
    assert "sets protocol and switches itself" in told
