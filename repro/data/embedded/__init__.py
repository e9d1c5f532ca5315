"""The micro-English world: rows for all tasks, made by a seeded generator (see README.md)."""

from repro.data.embedded.source import EmbeddedData

__all__ = ["EmbeddedData"]
