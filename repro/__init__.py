"""Reproduction kit for arXiv 2403.09162; `repro --help` lists the commands."""

__version__ = "0.1.0"
