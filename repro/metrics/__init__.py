"""Scores of cells with their intervals, and the best-of rule; needs no torch."""

from repro.metrics.bestof import Best, best_of
from repro.metrics.summary import summarise

__all__ = ["Best", "best_of", "summarise"]
