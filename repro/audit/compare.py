"""Recomputed values against the stored ones, which were copied from AUDIT.md by hand."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from repro.audit.measure import Finding, Measurement, Value
from repro.errors import EXIT_MISSING, ReproError

FORMAT = 1
_FIELDS = {"finding", "what", "value", "within", "audit_says", "note"}


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


@dataclass(frozen=True)
class Comparison:
    """A stored value and what came of it; `recomputed` is None where nothing was measured."""

    stored: Stored
    recomputed: Value | None
    verdict: Agreement


def load(folder: Path) -> list[Stored]:
    """The stored values of all JSON files of a folder.

    Raises:
        ReproError: there are none, or one is malformed; names file and field.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise ReproError(
            f"no stored values in {folder}",
            hint="name the folder expected_results/audit of a checkout with --expected",
            exit_code=EXIT_MISSING,
        )
    values = [value for path in paths for value in _read(path)]
    seen: set[tuple[str, str]] = set()
    for value in values:
        if (value.finding, value.what) in seen:
            raise _malformed(folder, f"'{value.finding}: {value.what}' is stored twice")
        seen.add((value.finding, value.what))
    return values


def _read(path: Path) -> list[Stored]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _malformed(path, f"not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _malformed(path, f"field 'format' is not {FORMAT}")
    for field, kind in (("section", str), ("tolerances", dict), ("values", list)):
        if not isinstance(content.get(field), kind):
            raise _malformed(path, f"field '{field}' is missing or of another type")
    return [_value(path, content, number, entry) for number, entry in enumerate(content["values"])]


def _value(path: Path, content: dict[str, Any], number: int, entry: object) -> Stored:
    def wrong(what: str) -> ReproError:
        return _malformed(path, f"value {number}: {what}")

    if not isinstance(entry, dict) or not {"finding", "what", "value"} <= set(entry):
        raise wrong("needs the fields finding, what and value")
    if extra := set(entry) - _FIELDS:
        raise wrong(f"unknown field '{min(extra)}'")
    value = entry["value"]
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value != value:
        raise wrong("field 'value' is neither a number nor a text")
    tolerance: dict[str, Any] = {"absolute": 0.0, "reason": ""}
    if "within" in entry:
        tolerance = content["tolerances"].get(entry["within"])
        if not isinstance(tolerance, dict) or not {"absolute", "reason"} <= set(tolerance):
            raise wrong(f"no tolerance '{entry['within']}' with the fields absolute and reason")
        if isinstance(value, str):
            raise wrong("a text has no tolerance")
    return Stored(
        section=content["section"],
        finding=entry["finding"],
        what=entry["what"],
        value=value,
        tolerance=tolerance["absolute"],
        reason=tolerance["reason"],
        audit_says=entry.get("audit_says"),
        note=entry.get("note", ""),
    )


def _malformed(path: Path, what: str) -> ReproError:
    return ReproError(f"{path}: {what}", hint="restore it: git checkout -- expected_results/audit")


def agree(stored: Stored, value: Value) -> bool:
    """Whether a recomputed value is the stored one: exactly, or within its tolerance."""
    if isinstance(value, str) or isinstance(stored.value, str):
        return value == stored.value
    # The last digits of a sum may differ between machines.
    return abs(value - stored.value) <= stored.tolerance + 1e-9


def compare(
    measurements: Iterable[Measurement],
    stored: Sequence[Stored],
    *,
    not_run: Sequence[Finding] = (),
) -> list[Comparison]:
    """Every stored value of the findings that were measured or could not be.

    A stored value that its finding no longer measures DIFFERS; a measured value that is not
    stored, because AUDIT.md does not state it, is left out.

    Args:
        not_run: findings that were asked for but lacked a tokenizer.
    """
    found = {(m.id, m.what): m.value for m in measurements}
    measured = {finding for finding, _ in found}
    skipped = {finding.id for finding in not_run}
    comparisons = []
    for value in stored:
        if value.finding in skipped:
            comparisons.append(Comparison(value, None, Agreement.NOT_RUN))
        elif value.finding in measured:
            recomputed = found.get((value.finding, value.what))
            equal = recomputed is not None and agree(value, recomputed)
            verdict = Agreement.EQUAL if equal else Agreement.DIFFERS
            comparisons.append(Comparison(value, recomputed, verdict))
    return comparisons
