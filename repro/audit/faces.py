"""The audit's result: terminal table, HTML, Markdown, JUnit XML, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group as Rendered
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from repro.audit.compare import Agreement, Comparison, Group, groups, number
from repro.audit.findings import Finding
from repro.audit.material import Value
from repro.printable import printable
from repro.report import junit
from repro.report.citations import NAME, linked
from repro.report.folder import replace_folder
from repro.report.markdown import details, escaped, table

FORMAT = 1
"""Of the JSON documents."""

# Words carry the verdict; the colours repeat it.
_STYLES = {Agreement.EQUAL: "green", Agreement.DIFFERS: "bold red", Agreement.NOT_RUN: "yellow"}
_COLUMNS = ("section", "finding", "what", "stored", "recomputed", "tolerance", "verdict", "note")


def report(
    findings: Sequence[Finding], comparisons: Sequence[Comparison], *, every: bool = False
) -> RenderableType:
    """For the terminal: a line a finding, then what differs or corrects AUDIT.md, then totals.

    Args:
        every: list every stored value instead of only those.
    """
    summary = _table("section", "finding", "stored", "equal")
    for group in groups(findings, comparisons):
        title = Text(group.finding.title).append(f"  {group.finding.id}", style="dim")
        equal = "-" if group.verdict is Agreement.NOT_RUN else str(group.equal)
        stored = str(len(group.comparisons))
        section = linked(group.finding.section)
        summary.add_row(section, title, stored, equal, _verdict(group.verdict))
    parts: list[RenderableType] = [summary]
    if shown := [item for item in comparisons if every or _is_listed(item)]:
        values = _table("finding: value", "stored", "recomputed")
        for item in shown:
            what = Text(f"{item.stored.finding}: {item.stored.what}")
            if item.stored.correction:
                what.append(f"\n  {item.stored.correction}", style="dim")
            numbers = (Text(number(value)) for value in (item.stored.value, item.recomputed))
            values.add_row(what, *numbers, _verdict(item.verdict))
        parts += [Text(), values]
    counts = [f"{sum(c.verdict is one for c in comparisons):,} {one}" for one in Agreement]
    totals = f"{len(comparisons):,} stored values: {', '.join(counts)}; sections are of {NAME}"
    return Rendered(*parts, Text(), Text(totals))


def _table(*heads: str) -> Table:
    """A table of texts, numbers and a verdict."""
    made = Table(box=None, pad_edge=False)
    for head in heads:
        wide = head.startswith("finding")
        right = head in ("stored", "equal", "recomputed")
        made.add_column(head, ratio=1 if wide else None, justify="right" if right else "left")
    made.add_column("verdict", no_wrap=True)
    return made


def _verdict(verdict: Agreement) -> Text:
    return Text(verdict, style=_STYLES[verdict])


def _is_listed(item: Comparison) -> bool:
    """Whether a value is worth a line of its own: it differs, or corrects AUDIT.md."""
    return item.verdict is Agreement.DIFFERS or item.stored.audit_says is not None


def write(
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    measured: Mapping[tuple[str, str], Value],
    out: Path,
) -> tuple[Path, ...]:
    """Write audit.html, audit.md, junit.xml, audit.json and audit.csv to a folder.

    Raises:
        ReproError: the folder holds something else (2) or cannot be written (3); jinja2 is not
            installed (3).
    """
    from repro.report.html import render  # needs jinja2, which the other faces do without

    found = tuple(groups(findings, comparisons))
    rows = {group.finding.id: [_texts(item) for item in group.comparisons] for group in found}
    texts = {
        "audit.html": render("audit.html.j2", groups=found, count=len(comparisons), rows=rows),
        "audit.md": _markdown(found),
        "audit.json": _json(findings, comparisons, measured),
        "audit.csv": to_csv([_COLUMNS, *(_cells(c) for group in found for c in group.comparisons)]),
        "junit.xml": junit.document((f"audit: {g.finding.id}", _cases(g)) for g in found).decode(),
    }
    return put(texts, out)


def put(texts: Mapping[str, str], out: Path) -> tuple[Path, ...]:
    """Write files, audit.json among them, to a folder that may hold an older report."""

    def fill(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")

    return replace_folder(out, "audit.json", fill)


def to_csv(rows: Iterable[Sequence[object]]) -> str:
    """Rows, unrounded; nothing for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def to_json(**fields: object) -> str:
    """A document (format 1)."""
    document = {"format": FORMAT, **fields}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json(
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    measured: Mapping[tuple[str, str], Value],
) -> str:
    """The stored values with their verdicts; every recomputed value, stored or not."""
    by_id = {finding.id: finding for finding in findings}
    names = ("id", "section", "title", "unit", "needs_tokenizer")
    return to_json(
        findings=[{name: getattr(finding, name) for name in names} for finding in findings],
        comparisons=[
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
                "verdict": c.verdict,
            }
            for c in comparisons
        ],
        measurements=[
            {"finding": name, "section": by_id[name].section, "what": what, "value": value}
            | {"unit": by_id[name].unit}
            for (name, what), value in measured.items()
        ],
    )


def _cells(item: Comparison) -> tuple[Any, ...]:
    one, verdict = item.stored, item.verdict.value
    where = (one.section, one.finding, one.what)
    return (*where, one.value, item.recomputed, one.tolerance, verdict, one.correction)


def _texts(item: Comparison) -> dict[str, str]:
    """A stored value for people."""
    return {
        "finding": item.stored.finding,
        "what": printable(item.stored.what),
        "stored": printable(number(item.stored.value)),
        "recomputed": printable(number(item.recomputed)),
        "tolerance": f"{item.stored.tolerance:g}" if item.stored.tolerance else "",
        "verdict": item.verdict.value,
        "note": printable(item.stored.correction),
    }


def _markdown(found: Sequence[Group]) -> str:
    """A line a finding; the values that differ, or correct AUDIT.md, fold out."""
    lines = ["# Audit of the published code and data", "", f"Sections are those of {NAME}.", ""]
    heads = ["section", "finding", "stored", "equal", "verdict"]
    rows = ((one.finding.section, escaped(one.finding.title), len(one.comparisons), one.equal,
             one.verdict) for one in found)  # fmt: skip
    lines += table(heads, rows)
    if listed := [_texts(c) for one in found for c in one.comparisons if _is_listed(c)]:
        names = ("finding", "what", "stored", "recomputed", "verdict", "note")
        values = ([escaped(texts[name]) for name in names] for texts in listed)
        heads = ["finding", "value", "stored", "recomputed", "verdict", "note"]
        lines += ["", *details("What differs, or corrects the audit", table(heads, values))]
    return "\n".join(lines).rstrip() + "\n"


def _cases(group: Group) -> Iterator[junit.Case]:
    """A test case a stored value."""
    for item in group.comparisons:
        verdict = item.verdict
        text = f"stored {number(item.stored.value)}, now {number(item.recomputed)}"
        failure = (verdict, verdict, text) if verdict is Agreement.DIFFERS else None
        skipped = verdict if verdict is Agreement.NOT_RUN else ""
        yield junit.Case(item.stored.what, f"{verdict}: {text}", failure, skipped)
