"""Benchmarks run, and what they compare agrees. How fast they are is for `python -m benchmarks`."""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


def _benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small", *words],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("warm")
def test_the_small_mode_prints_each_benchmark_with_machine_and_versions() -> None:
    done = _benchmarks("verify", "power", "training", "grid")
    assert done.returncode == 0, done.stderr
    assert f"Python {sys.version.split()[0]}, numpy {np.__version__}" in done.stdout
    for told in (
        "cores",
        "repro verify, 12 cells x 20 rows",
        "plain loop",
        "one accuracy to 0",
        "truth = published numbers, one seed",
        "Trainer",
        "share",
    ):
        assert told in done.stdout


@pytest.mark.parametrize(("met", "code"), [("yes", 0), ("out of reach", 0), ("", 0), ("no", 1)])
def test_a_missed_target_ends_the_command_with_1(
    met: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    power = importlib.import_module("benchmarks.power")
    command = importlib.import_module("benchmarks.__main__").main
    rows = [{"injected": "a", "target met": "yes"}, {"injected": "b", "target met": met}]
    monkeypatch.setattr(power, "run", lambda **options: rows)
    assert CliRunner().invoke(command, ["power"]).exit_code == code


@pytest.mark.parametrize(
    ("count", "limits", "met"),
    [
        (99, {"least": 0.99}, "yes"),
        (98, {"least": 0.99}, "no"),
        (57, {"least": 0.9, "reached": 0.42}, "out of reach"),
        (41, {"least": 0.9, "reached": 0.42}, "no"),
        (5, {"most": 0.05}, "yes"),
        (6, {"most": 0.05}, "no"),
        (0, {}, ""),
    ],
)
def test_targets_are_held_against_shares(
    count: int, limits: dict[str, float], met: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    row = importlib.import_module("benchmarks.power")._row("x", count, 100, level="", **limits)
    assert (row["noticed"], row["target met"]) == (f"{count}.0%", met)


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_what_a_benchmark_lacks_is_told() -> None:
    done = _benchmarks("evaluation")
    assert done.returncode == 3
    assert "lm-eval" in done.stdout
    assert "pip install" in done.stdout


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_plain_and_vectorised_intervals_agree(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    verify = importlib.import_module("benchmarks.verify")
    scores = np.random.default_rng(rows).uniform(size=(rows, 3))
    fast = verify.vectorised_intervals(scores, "x", 500)
    plain = [verify.plain_interval(scores[:, i], "x", 500) for i in range(3)]
    assert np.array(fast) == pytest.approx(np.array(plain), abs=1e-12)
