"""Results folders with the studies that they tell of."""

from pathlib import Path

from repro import studies
from repro.results import reading
from repro.results.runs import Results
from repro.spec.study import Study


def read_results(folder: Path, study: Study | None = None) -> Results:
    """All runs of a results folder; see `repro.results.reading.read_results`.

    Args:
        study: instead of the one that the folder tells of, such as one with other claims.

    Raises:
        ReproError: there are no results (3); or they contradict themselves, or their study (1, 2).
    """
    return reading.read_results(folder, lambda record: study or studies.recorded(record))
