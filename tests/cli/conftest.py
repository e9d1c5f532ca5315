"""The command in this process, and a store that holds what its tests compute."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.cli.main import cli, main


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds base.rte.p1.0 at two rows, so that later runs of it take no time."""
    folder = tmp_path_factory.mktemp("doors")
    words = ["run", "--cells", "base.rte.p1.0", "--rows", "2"]
    words += ["--store", str(folder / "store"), "--out", str(folder / "out")]
    cli.main(words, standalone_mode=False)
    return folder / "store"


@pytest.fixture
def ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command in this process: its exit code, and what it printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["repro", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        told = captured.out + captured.err
        assert isinstance(caught.value.code, int)
        assert not re.search(r"(?<![\w.,/-])1 (?!less\b)[a-z]+s\b", told), told  # such as "1 cells"
        return caught.value.code, told

    return run
