"""Processes that start warm are like any other, for whoever starts them."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

BYTE = os.fsdecode(b"\xe9")
TELL = """
import json, os, sys
assert "torch" in sys.modules
print(json.dumps([sys.argv, os.getcwd(), os.environ["TOLD"], sys.executable, input()]))
print("so", file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["code", "script"])
def test_words_folder_environment_and_streams(warm_python: str, tmp_path: Path, kind: str) -> None:
    (tmp_path / "script.py").write_text(TELL, encoding="utf-8")
    first = ["-c", TELL] if kind == "code" else ["script.py"]
    done = subprocess.run(
        [warm_python, "-u", *first, "a b", ""],
        cwd=tmp_path, env=os.environ | {"TOLD": BYTE},
        input="said\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "so\n")
    argv = [first[0], "a b", ""]
    assert json.loads(done.stdout) == [argv, str(tmp_path), BYTE, warm_python, "said"]


@pytest.mark.parametrize(
    ("code", "ends", "said"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import os; os._exit(3)", 3, ""),
    ],
)
def test_how_they_end(warm_python: str, code: str, ends: int, said: str) -> None:
    done = subprocess.run([warm_python, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ends
    assert done.stderr.endswith(said)


def test_modules_run_as_programs(warm_python: str) -> None:
    command = [warm_python, "-m", "json.tool", "--compact"]
    done = subprocess.run(command, input="[1, 2]", capture_output=True, text=True, check=True)
    assert done.stdout == "[1,2]\n"


def test_one_that_is_killed_is_gone(warm_python: str) -> None:
    code = "import signal; print('there', flush=True); signal.pause()"
    with subprocess.Popen([warm_python, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.kill()
        assert process.stdout.read() == b""  # ends when nobody holds the other end
