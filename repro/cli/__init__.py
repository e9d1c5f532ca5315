"""The command `repro`: one module a group of commands; they parse, call and print.

Nothing here imports torch, transformers or datasets at start-up; commands import what they need
when they run.
"""

from repro.cli.main import main

__all__ = ["main"]
