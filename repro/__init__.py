"""Reproduction kit for arXiv 2403.09162; `repro --help` lists the commands.

From Python, `repro.load("results/x")` reads a results folder; `repro.api` says what it gives.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.api import Results

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: "str | PathLike[str]") -> "Results":
    """Read a results folder, or several below one: see `repro.api.Results`.

    Raises:
        repro.errors.ReproError: there are no results, or they contradict themselves.
    """
    from repro.api import read  # numpy and scipy are slow to import

    return read(folder)
