"""Training curves for TensorBoard, trackio or wandb, through accelerate's tracker interface.

Off unless asked for. A tracker sees numbers that are there anyway, and changes none.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError

PROJECT = "repro-2403-09162"

Track = Callable[[Mapping[str, float], int], None]
"""Takes the values of a step, and its number from 1."""


def require(name: str) -> None:
    """Raise ReproError (3) where a tracker's package is not installed."""
    from accelerate.tracking import get_available_trackers  # type: ignore[import-untyped]

    if name not in [str(one) for one in get_available_trackers()]:
        what = f"--track {name}: the package is not installed"
        raise ReproError(what, hint=f"pip install {name}", exit_code=EXIT_MISSING)


@contextmanager
def curves(
    name: str | None, folder: Path, run: str, settings: Mapping[str, Any]
) -> Iterator[Track | None]:
    """What records the steps of a fine-tune named `run`; None without a tracker.

    A tracker that writes files puts them into a folder of the run's name in `folder`.
    """
    if name is None:
        yield None
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if kind.requires_logging_directory and name != "wandb":
        tracker = kind(run, logging_dir=folder)
    else:
        tracker = kind(PROJECT, name=run)
    tracker.start()
    try:
        tracker.store_init_configuration(dict(settings))
        yield lambda values, step: tracker.log(dict(values), step=step)
    finally:
        tracker.finish()
