"""A small run whose results are exported."""

from pathlib import Path

import pytest

import repro
from repro.api import Results
from repro.cli.main import cli

CELLS = "base.amazon.p1.2,base.xsum.p1.1,amazon-ft-2000.amazon.p1.0"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of two models: labels and texts, with and without examples."""
    folder = tmp_path_factory.mktemp("export")
    words = ["run", "--cells", CELLS, "--rows", "3"]
    words += ["--store", str(folder / "store"), "--out", str(folder / "run")]
    cli.main(words, standalone_mode=False)
    return folder / "run"


@pytest.fixture(scope="session")
def results(run: Path) -> Results:
    return repro.load(run)
