"""The audit of the authors' code and data, recomputed without a model.

`run` is the command; `audit` recomputes, `compare` sets the values beside the stored ones.
`run_embedded` looks for the same flaws in the embedded data.
"""

from repro.audit.command import run, run_embedded

__all__ = ["run", "run_embedded"]
