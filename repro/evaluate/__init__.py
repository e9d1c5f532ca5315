"""Evaluation: rows and a model in, per-sample records out (label scoring, greedy generation)."""

from repro.evaluate.encode import Job
from repro.evaluate.engine import Engine, Settings, TorchEngine
from repro.evaluate.run import Sample, evaluate

__all__ = ["Engine", "Job", "Sample", "Settings", "TorchEngine", "evaluate"]
