"""Fixtures for all tests."""

import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from repro.data.upstream import VARIABLE, UpstreamData

# The same examples on every machine, however slow it is, and nothing left in the checkout.
settings.register_profile("kit", deadline=None, derandomize=True, database=None)
settings.load_profile("kit")

WARM = runpy.run_path(str(Path(__file__).with_name("warm.py")))


@pytest.fixture(scope="session")
def upstream() -> UpstreamData:
    """The authors' files; tests that ask for them are skipped where there are none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} does not name a copy of the authors' data")
    return UpstreamData(Path(folder))


@pytest.fixture(scope="session")
def warm_python() -> Iterator[str]:
    """A program that is Python with torch, transformers and the kit loaded; see `warm.py`."""
    with WARM["started"]() as program:
        yield program


@pytest.fixture
def warm(warm_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python that the test or the kit starts, by `sys.executable`, is `warm_python`."""
    monkeypatch.setattr(sys, "executable", warm_python)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without drawings, which take most of their time and are tested in tests/report."""
    from repro.report import charts

    monkeypatch.setattr(charts, "write_figures", lambda run, folder: None)
    monkeypatch.setattr(charts, "svg_text", lambda canvas: '<svg viewBox="0 0 1 1"></svg>')
    monkeypatch.setattr(charts, "draw_panel", lambda panel: None)
    monkeypatch.setattr(charts, "draw_swatch", lambda look: None)
