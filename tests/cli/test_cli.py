"""The command line: what wrong input gets, and that start-up stays light."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "datasets", "accelerate", "numpy")


Ends = Callable[..., tuple[int, str]]


def test_an_interrupt_within_a_finaliser_is_not_lost() -> None:
    code = """
import importlib, os, signal
command = importlib.import_module("repro.cli.main")

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

def work(**_):
    Dying()
    while True:
        signal.pause()

command.cli.main = work
command.main()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 130
    assert "interrupted" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, repro.cli.main\nprint([name for name in {HEAVY} if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "said", "nearest"),
    [
        (["run", "--figures", "8"], "unknown figure '8'", "1"),
        (["run", "--variants", "xsum-2000"], "unknown variant 'xsum-2000'", "xsum-ft-2000"),
        (["run", "--tests", "mnli"], "unknown dataset 'mnli'", "mnli1"),
        (["run", "--claims", "C99"], "unknown claim 'C99'", "C9"),
        (["run", "--cells", "base.xsm.p1.2"], "unknown cell", "base.xsum.p1.2"),
        (["run", "--set", "learning=1"], "unknown switch 'learning'", "learning_rate"),
        (["run", "--set", "rows=many"], "rows is a number", "repro protocols"),
        (["run", "--set", "rows"], "has no value", "--set rows=VALUE"),
        (["run", "--seeds", "x"], "--seeds takes whole numbers", "--seeds 42"),
        (["plan", "--protocol", "corect"], "unknown protocol 'corect'", "corrected"),
        (["plan", "--profile", "smal"], "unknown profile 'smal'", "small"),
        (["run", "--figures", "1", "--tests", "rte"], "no cell is left", "--grid full"),
    ],
)
def test_wrong_names_get_the_nearest_and_exit_code_2(
    ends: Ends, words: list[str], said: str, nearest: str
) -> None:
    code, told = ends(*words)
    assert code == 2
    assert said in told
    assert nearest in told
    assert "Traceback" not in told


def test_protocols_prints_every_switch(ends: Ends) -> None:
    code, told = ends("protocols")
    assert code == 0
    for name in ("learning_rate", "leaked_rows", "best_of", "published-code", "corrected"):
        assert name in told


def test_a_gpu_that_is_not_there_cannot_be_tested(ends: Ends, tmp_path: Path) -> None:
    code, told = ends("doctor", "--gpu", "--store", tmp_path / "store")
    assert code == 3
    assert "no GPU to test" in told


def test_flex_attention_is_for_gpus(ends: Ends) -> None:
    code, told = ends("run", "--attention", "flex")
    assert code == 2
    assert "--attention flex needs a GPU" in told
