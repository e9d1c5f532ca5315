"""The audit's result as a terminal table and as JSON."""

import json
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repro.audit.compare import FORMAT, Agreement, Comparison, Stored
from repro.audit.measure import Finding, Measurement, Value
from repro.report.citations import NAME, linked

# Words carry the verdict; the colours repeat it.
_STYLES = {Agreement.EQUAL: "green", Agreement.DIFFERS: "bold red", Agreement.NOT_RUN: "yellow"}


def number(value: Value | None) -> str:
    """A value for the table: whole numbers with commas, others with up to four decimals."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else value


def summary(findings: Sequence[Finding], comparisons: Sequence[Comparison]) -> Table:
    """A line a finding: its section, how many stored values, how many equal, the verdict."""
    table = Table(box=None, pad_edge=False)
    table.add_column("section")
    table.add_column("finding", ratio=1)
    table.add_column("stored", justify="right")
    table.add_column("equal", justify="right")
    table.add_column("verdict", no_wrap=True)
    for finding in findings:
        own = [c for c in comparisons if c.stored.finding == finding.id]
        equal = sum(c.verdict is Agreement.EQUAL for c in own)
        verdict = verdict_of(own)
        title = Text(finding.title).append(f"  {finding.id}", style="dim")
        shown = "-" if verdict is Agreement.NOT_RUN else str(equal)
        table.add_row(
            linked(finding.section),
            title,
            str(len(own)),
            shown,
            Text(verdict, style=_STYLES[verdict]),
        )
    return table


def verdict_of(comparisons: Sequence[Comparison]) -> Agreement:
    """What came of a finding: EQUAL if all of its values are."""
    found = {item.verdict for item in comparisons}
    if not found or Agreement.NOT_RUN in found:
        return Agreement.NOT_RUN
    return Agreement.DIFFERS if Agreement.DIFFERS in found else Agreement.EQUAL


def note(stored: Stored) -> str:
    """What AUDIT.md says in a value's place, and who is right; empty where it is right."""
    if stored.audit_says is None:
        return ""
    return f"AUDIT says {number(stored.audit_says)}. {stored.note}"


def is_listed(comparison: Comparison) -> bool:
    """Whether a value is worth a line of its own: it differs, or corrects AUDIT.md."""
    return comparison.verdict is Agreement.DIFFERS or comparison.stored.audit_says is not None


def details(comparisons: Sequence[Comparison]) -> Table:
    """A line a stored value: what, stored, recomputed, verdict."""
    table = Table(box=None, pad_edge=False)
    table.add_column("finding: value", ratio=1)
    table.add_column("stored", justify="right")
    table.add_column("recomputed", justify="right")
    table.add_column("verdict", no_wrap=True)
    for comparison in comparisons:
        stored = comparison.stored
        what = Text(f"{stored.finding}: {stored.what}")
        if stored.audit_says is not None:
            what.append(f"\n  {note(stored)}", style="dim")
        verdict = comparison.verdict
        table.add_row(
            what,
            Text(number(stored.value)),
            Text(number(comparison.recomputed)),
            Text(verdict, style=_STYLES[verdict]),
        )
    return table


def report(
    findings: Sequence[Finding], comparisons: Sequence[Comparison], *, every: bool = False
) -> RenderableType:
    """The whole result: a line a finding, then what differs or corrects AUDIT.md, then totals.

    Args:
        every: list every stored value instead of only those.
    """
    parts: list[RenderableType] = [summary(findings, comparisons)]
    listed = [c for c in comparisons if every or is_listed(c)]
    if listed:
        parts += [Text(), details(listed)]
    counts = [
        f"{sum(c.verdict is verdict for c in comparisons):,} {verdict}" for verdict in Agreement
    ]
    totals = f"{len(comparisons):,} stored values: {', '.join(counts)}; sections are of {NAME}"
    parts += [Text(), Text(totals)]
    return Group(*parts)


def to_json(
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    measurements: Sequence[Measurement],
) -> str:
    """Everything that was compared or measured, as one JSON document (format 1).

    "comparisons" has the stored values with their verdicts; "measurements" every recomputed
    value, stored or not.
    """
    document = {
        "format": FORMAT,
        "findings": [
            {
                "id": finding.id,
                "section": finding.section,
                "title": finding.title,
                "unit": finding.unit,
                "needs_tokenizer": finding.needs_tokenizer,
            }
            for finding in findings
        ],
        "comparisons": [
            {
                "finding": c.stored.finding,
                "section": c.stored.section,
                "what": c.stored.what,
                "stored": c.stored.value,
                "recomputed": c.recomputed,
                "tolerance": c.stored.tolerance,
                "reason": c.stored.reason,
                "audit_says": c.stored.audit_says,
                "note": c.stored.note,
                "verdict": c.verdict.value,
            }
            for c in comparisons
        ],
        "measurements": [
            {
                "finding": m.id,
                "section": m.section,
                "what": m.what,
                "value": m.value,
                "unit": m.unit,
            }
            for m in measurements
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
