"""The command `repro`: parses, calls and prints. Commands import what is heavy when they run."""

from repro.cli.main import main

__all__ = ["main"]
