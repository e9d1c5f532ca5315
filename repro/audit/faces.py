"""The audit's result in the faces of other reports: HTML, Markdown, JUnit XML, JSON, CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.audit import show
from repro.audit.compare import Agreement, Comparison
from repro.audit.measure import Finding, Measurement
from repro.report import junit
from repro.report.citations import NAME
from repro.report.folder import replace_folder
from repro.report.markdown import details, escaped, table

JSON = "audit.json"
_COLUMNS = ("section", "finding", "what", "stored", "recomputed", "tolerance", "verdict", "note")


@dataclass(frozen=True)
class Group:
    """A finding with all that was compared for it."""

    finding: Finding
    comparisons: tuple[Comparison, ...]
    verdict: Agreement

    @property
    def equal(self) -> int:
        """How many stored values came out again."""
        return sum(item.verdict is Agreement.EQUAL for item in self.comparisons)


def groups(findings: Sequence[Finding], comparisons: Sequence[Comparison]) -> Iterator[Group]:
    """The findings in their order."""
    for finding in findings:
        own = tuple(item for item in comparisons if item.stored.finding == finding.id)
        yield Group(finding, own, show.verdict_of(own))


def write(
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    measurements: Sequence[Measurement],
    out: Path,
) -> tuple[Path, ...]:
    """Write audit.html, audit.md, junit.xml, audit.json and audit.csv to a folder.

    Raises:
        ReproError: the folder holds something else (2) or cannot be written (3); jinja2 is not
            installed (3).
    """
    from repro.report.html import render  # needs jinja2, which the other faces do without

    found = tuple(groups(findings, comparisons))
    page = render("audit.html.j2", groups=found, count=len(comparisons), rows=rows_of(found))

    def fill(folder: Path) -> None:
        texts = {
            "audit.html": page,
            "audit.md": to_markdown(found),
            JSON: show.to_json(findings, comparisons, measurements),
            "audit.csv": to_csv(found),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        (folder / "junit.xml").write_bytes(to_junit(found))

    return replace_folder(out, JSON, fill)


def rows_of(found: Sequence[Group]) -> dict[str, list[dict[str, str]]]:
    """The stored values of each finding as texts, by its id."""
    return {
        group.finding.id: [
            {
                "what": item.stored.what,
                "stored": show.number(item.stored.value),
                "recomputed": show.number(item.recomputed),
                "tolerance": f"{item.stored.tolerance:g}" if item.stored.tolerance else "",
                "verdict": item.verdict,
                "note": show.note(item.stored),
            }
            for item in group.comparisons
        ]
        for group in found
    }


def to_csv(found: Sequence[Group]) -> str:
    """A line a stored value, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for group in found:
        for item in group.comparisons:
            stored = item.stored
            writer.writerow(
                (
                    stored.section,
                    stored.finding,
                    stored.what,
                    stored.value,
                    "" if item.recomputed is None else item.recomputed,
                    stored.tolerance,
                    item.verdict.value,
                    show.note(stored),
                )
            )
    return text.getvalue()


def to_markdown(found: Sequence[Group]) -> str:
    """A line a finding; the values that differ, or correct AUDIT.md, fold out."""
    heads = ("section", "finding", "stored", "equal", "verdict")
    lines = ["# Audit of the published code and data", "", f"Sections are those of {NAME}.", ""]
    lines += table(
        heads,
        (
            (
                group.finding.section,
                escaped(group.finding.title),
                len(group.comparisons),
                group.equal,
                group.verdict,
            )
            for group in found
        ),
    )
    listed = [item for group in found for item in group.comparisons if show.is_listed(item)]
    if listed:
        values = table(
            ("finding", "value", "stored", "recomputed", "verdict", "note"),
            (
                (
                    item.stored.finding,
                    escaped(item.stored.what),
                    escaped(show.number(item.stored.value)),
                    escaped(show.number(item.recomputed)),
                    item.verdict,
                    escaped(show.note(item.stored)),
                )
                for item in listed
            ),
        )
        lines += ["", *details("What differs, or corrects the audit", values)]
    return "\n".join(lines).rstrip() + "\n"


def to_junit(found: Sequence[Group]) -> bytes:
    """A suite a finding, a test case a stored value."""
    return junit.document((f"audit: {group.finding.id}", _cases(group)) for group in found)


def _cases(group: Group) -> Iterator[junit.Case]:
    for item in group.comparisons:
        verdict = item.verdict
        text = f"stored {show.number(item.stored.value)}, now {show.number(item.recomputed)}"
        failure = (verdict, verdict, text) if verdict is Agreement.DIFFERS else None
        skipped = verdict if verdict is Agreement.NOT_RUN else ""
        yield junit.Case(item.stored.what, f"{verdict}: {text}", failure, skipped)
