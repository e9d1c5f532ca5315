"""The audit of the authors' code and data, recomputed without a model.

`run` is the command; `audit` recomputes, `compare` sets the values beside the stored ones.
`run_embedded` looks for the same flaws in the embedded data.
"""

from repro.audit.command import run, run_embedded
from repro.audit.compare import Agreement, Comparison, Stored, compare, load
from repro.audit.findings import FINDINGS, audit
from repro.audit.measure import Finding, Measurement

__all__ = [
    "FINDINGS",
    "Agreement",
    "Comparison",
    "Finding",
    "Measurement",
    "Stored",
    "audit",
    "compare",
    "load",
    "run",
    "run_embedded",
]
