"""Evaluation: rows and a model in, per-sample records out (label scoring, greedy generation).

`evaluate` and `TorchEngine` bring torch and the slow parts of transformers with them and are
imported on first use, so that plans and drivers do without.
"""

from typing import TYPE_CHECKING

from repro.evaluate.encode import Job, Settings
from repro.late import late

if TYPE_CHECKING:
    from repro.evaluate.engine import Engine, TorchEngine
    from repro.evaluate.run import Sample, evaluate

__all__ = ["Engine", "Job", "Sample", "Settings", "TorchEngine", "evaluate"]

__getattr__ = late(
    __name__, {"Engine": "engine", "TorchEngine": "engine", "Sample": "run", "evaluate": "run"}
)
