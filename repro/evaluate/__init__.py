"""Evaluation: rows and a model in, per-sample records out (label scoring, greedy generation)."""

from repro.evaluate.encode import Job
from repro.evaluate.run import Sample, Settings, evaluate

__all__ = ["Job", "Sample", "Settings", "evaluate"]
