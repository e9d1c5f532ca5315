"""What a finding is, and what it measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repro.audit.material import Material

Value = int | float | str
Values = Mapping[str, Value]
"""What is measured -> its value; the names are those of the stored values."""


@dataclass(frozen=True)
class Finding:
    """A finding of the audit that needs no model.

    Attributes:
        id: its name on the command line.
        section: the section of AUDIT.md that states it.
        unit: what its numbers count, or their scale.
        measure: recomputes it.
        needs_tokenizer: whether it counts tokens of Llama-2.
    """

    id: str
    section: str
    title: str
    unit: str
    measure: Callable[[Material], Values]
    needs_tokenizer: bool = False


@dataclass(frozen=True)
class Measurement:
    """One recomputed value: `id` names its finding, `what` the value in it."""

    id: str
    section: str
    what: str
    value: Value
    unit: str
