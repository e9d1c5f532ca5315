"""A run that is killed at random moments, and started again, ends in the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 24
# Labels and texts, with and without examples; fine-tunes of a step or two, for it is not arithmetic
# that is interrupted here.
TESTS = ("socialqa.p1.0", "socialqa.p1.1", "amazon.p1.0", "amazon.p1.2")
GRID = [f"{v}.{test}" for v in ("base", "socialqa-ft-16", "amazon-fticl2-16") for test in TESTS]
# Of the harness, that it takes this checkout.
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
CELLS = "base.amazon.p1.0,base.socialqa.p1.1,amazon-ft-16.amazon.p1.0,amazon-ft-32.sst2.p1.0"


def _bytes(folder: Path) -> dict[str, bytes]:
    files = [folder / "results.jsonl", *sorted((folder / "samples").iterdir())]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.usefixtures("warm")
def test_killed_runs_resume_to_the_same_bytes(tmp_path: Path) -> None:
    harness = Path(__file__).with_name("kill_harness.py")
    options = ["--cells", ",".join(GRID), "--rows", "8"]
    command = [sys.executable, str(harness), str(KILLS), "7", str(tmp_path), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    struck: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert all(len(kills) > 1 for kills in struck[:-1]), "killed once, and resumed once"
    # While it computed and while it wrote, and on either side of both.
    kinds = {kind for kills in struck for kind in kills}
    assert {"forward before", "forward after", "fsync before", "fsync after"} <= kinds
    assert kinds & {"rename before", "rename after", "replace before", "replace after"}
    reference = _bytes(tmp_path / "reference" / "out")
    assert len(reference) > 10
    for number in range(len(struck)):
        assert _bytes(tmp_path / str(number) / "out") == reference
        left = tmp_path / str(number) / "store" / "tmp"
        assert [path.name for path in left.iterdir() if path.name.startswith("cell")] == []


@pytest.mark.usefixtures("warm")
def test_killed_workers_and_drivers_end_in_the_same_bytes(tmp_path: Path) -> None:
    """Of two workers and their driver, somebody is killed 16 times; test_on_ray.py has the rest."""
    harness = Path(__file__).with_name("crew_harness.py")
    command = [sys.executable, str(harness), "16", "3", str(tmp_path), "--cells", CELLS]
    command += ["--rows", "4"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    struck: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert sum(map(len, struck)) == 16
    assert {kill.split()[0] for kills in struck for kill in kills} == {"worker", "driver"}
    reference = _bytes(tmp_path / "reference" / "out")
    for number in range(len(struck)):
        assert _bytes(tmp_path / str(number) / "out") == reference
