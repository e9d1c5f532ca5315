"""Evaluation: rows and a model in, per-sample records out (label scoring, greedy generation).

`evaluate` and `TorchEngine` bring torch and the slow parts of transformers with them and are
imported on first use, so that plans and drivers do without.
"""

from typing import TYPE_CHECKING, Any

from repro.evaluate.encode import Job
from repro.evaluate.settings import Settings

if TYPE_CHECKING:
    from repro.evaluate.engine import Engine, TorchEngine
    from repro.evaluate.run import Sample, evaluate

__all__ = ["Engine", "Job", "Sample", "Settings", "TorchEngine", "evaluate"]

_LATE = {
    "Engine": "repro.evaluate.engine",
    "TorchEngine": "repro.evaluate.engine",
    "Sample": "repro.evaluate.run",
    "evaluate": "repro.evaluate.run",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
