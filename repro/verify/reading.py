"""Results folders with the studies that they tell of."""

from pathlib import Path

from repro import studies
from repro.results import reading
from repro.results.runs import Results


def read_results(folder: Path) -> Results:
    """All runs of a results folder; see `repro.results.reading.read_results`.

    Raises:
        ReproError: there are no results (3); or they contradict themselves, or their study (1, 2).
    """
    return reading.read_results(folder, studies.recorded)
