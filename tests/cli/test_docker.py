"""`repro docker` without an engine; docker/smoke.sh tests it with one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from repro.container import engine
from repro.errors import ReproError


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from repro.cli import main; main()", "docker", *words]
    environment = os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    "words",
    [["build", "--variant", "cpu"], ["run"], ["verify"], ["save", "-o", "archive"]],
    ids=lambda words: words[0],
)
def test_without_an_engine_it_says_how_to_get_one(words: list[str]) -> None:
    done = _docker(*words)
    assert done.returncode == 3
    assert "no Docker engine answers" in done.stderr
    assert "systemctl start docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_build_argument_without_value_is_named() -> None:
    done = _docker("build", "--build-arg", "UID")
    assert done.returncode == 2
    assert "--build-arg takes NAME=VALUE, not 'UID'" in done.stderr


def test_commands_of_the_kit_pass_through(tmp_path: Path) -> None:
    # Options behind "--" are the command's, also where `docker run` has one of that name.
    done = _docker("run", "--", "verify", str(tmp_path), "--data", "x", "--level", "L0")
    assert done.returncode == 3
    assert "no Docker engine answers" in done.stderr


def test_an_engine_that_answers_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**_: object) -> None:
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(engine, "from_env", slow)
    with pytest.raises(ReproError, match="did not answer within 600 seconds") as caught:
        engine.connect()
    assert caught.value.exit_code == 3
