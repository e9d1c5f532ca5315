"""Recomputed values against the stored ones, which were copied from AUDIT.md by hand."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from repro.audit.findings import Finding
from repro.audit.material import Value
from repro.errors import ReproError, missing
from repro.tables import checked

_HINT = "restore it: git checkout -- expected_results/audit"


class Agreement(StrEnum):
    """What came of a stored value."""

    EQUAL = "EQUAL"
    DIFFERS = "DIFFERS"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Stored:
    """A value that AUDIT.md states.

    Attributes:
        tolerance: largest difference that still counts as equal; 0 for counts and texts.
        reason: why there is one.
        audit_says: what AUDIT.md has in its place, where that is known to be wrong.
        note: who is right, and why.
    """

    section: str
    finding: str
    what: str
    value: Value
    tolerance: float = 0.0
    reason: str = ""
    audit_says: Value | None = None
    note: str = ""

    @property
    def correction(self) -> str:
        """What AUDIT.md says in its place, and who is right; empty where it is right."""
        said = self.audit_says
        return "" if said is None else f"AUDIT says {number(said)}. {self.note}"


@dataclass(frozen=True)
class Comparison:
    """A stored value and what came of it; `recomputed` is None where nothing was measured."""

    stored: Stored
    recomputed: Value | None
    verdict: Agreement


@dataclass(frozen=True)
class Group:
    """A finding with all that was compared for it."""

    finding: Finding
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> Agreement:
        """EQUAL if all of its values are."""
        found = {item.verdict for item in self.comparisons}
        if not found or Agreement.NOT_RUN in found:
            return Agreement.NOT_RUN
        return Agreement.DIFFERS if Agreement.DIFFERS in found else Agreement.EQUAL

    @property
    def equal(self) -> int:
        """How many stored values came out again."""
        return sum(item.verdict is Agreement.EQUAL for item in self.comparisons)


def groups(findings: Sequence[Finding], comparisons: Sequence[Comparison]) -> Iterator[Group]:
    """The findings in their order."""
    for finding in findings:
        yield Group(finding, tuple(c for c in comparisons if c.stored.finding == finding.id))


def number(value: Value | None) -> str:
    """A value as text: whole numbers with commas, others with up to four decimals."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Tolerance(_Table):
    absolute: float
    reason: str


class _Value(_Table):
    finding: str
    what: str
    value: int | Annotated[float, Field(allow_inf_nan=False)] | str
    within: str = ""
    audit_says: Value | None = None
    note: str = ""


class _File(_Table):
    format: Literal[1]
    section: str
    tolerances: dict[str, _Tolerance]
    values: list[_Value]


def load(folder: Path) -> list[Stored]:
    """The stored values of all JSON files of a folder.

    Raises:
        ReproError: there are none, or one is malformed; names file and field.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise missing(f"no stored values in {folder}", _HINT)
    values = [value for path in paths for value in _read(path)]
    names = Counter(f"{value.finding}: {value.what}" for value in values)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ReproError(f"{folder}: '{twice[0]}' is stored twice", hint=_HINT)
    return values


def _read(path: Path) -> Iterator[Stored]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReproError(f"{path}: not JSON ({error})", hint=_HINT) from None
    file: _File = checked(_File, content, str(path), hint=_HINT)
    for place, one in enumerate(file.values):
        wrong = ""
        if one.within and one.within not in file.tolerances:
            wrong = f"no tolerance '{one.within}'"
        elif one.within and isinstance(one.value, str):
            wrong = "a text has no tolerance"
        if wrong:
            raise ReproError(f"{path}: value {place}: {wrong}", hint=_HINT)
        within = file.tolerances.get(one.within, _Tolerance(absolute=0.0, reason=""))
        yield Stored(
            section=file.section,
            tolerance=within.absolute,
            reason=within.reason,
            **one.model_dump(exclude={"within"}),
        )


def agree(stored: Stored, value: Value) -> bool:
    """Whether a recomputed value is the stored one: exactly, or within its tolerance."""
    if isinstance(value, str) or isinstance(stored.value, str):
        return value == stored.value
    # The last digits of a sum may differ between machines.
    return abs(value - stored.value) <= stored.tolerance + 1e-9


def compare(
    measured: Mapping[tuple[str, str], Value],
    stored: Sequence[Stored],
    *,
    not_run: Sequence[Finding] = (),
) -> list[Comparison]:
    """Every stored value of the findings that were measured or could not be.

    A stored value that its finding no longer measures DIFFERS; a measured value that is not
    stored, because AUDIT.md does not state it, is left out.

    Args:
        measured: by finding and what is measured.
        not_run: findings that were asked for but lacked a tokenizer.
    """
    ran, skipped = {finding for finding, _ in measured}, {finding.id for finding in not_run}
    comparisons = []
    for value in stored:
        if value.finding in skipped:
            comparisons.append(Comparison(value, None, Agreement.NOT_RUN))
        elif value.finding in ran:
            found = measured.get((value.finding, value.what))
            equal = found is not None and agree(value, found)
            verdict = Agreement.EQUAL if equal else Agreement.DIFFERS
            comparisons.append(Comparison(value, found, verdict))
    return comparisons
