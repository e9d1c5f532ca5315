"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from repro.data.upstream import VARIABLE, UpstreamData

# The same examples on every machine, however slow it is, and nothing left in the checkout.
settings.register_profile("kit", deadline=None, derandomize=True, database=None)
settings.load_profile("kit")


@pytest.fixture(scope="session")
def upstream() -> UpstreamData:
    """The authors' files; tests that ask for them are skipped where there are none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} does not name a copy of the authors' data")
    return UpstreamData(Path(folder))
