"""The audit of the embedded data beside that of the authors' data, which are the stored values."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repro import profiles
from repro.audit.compare import FORMAT, Stored
from repro.audit.faces import JSON
from repro.audit.findings import FINDINGS, audit
from repro.audit.material import PAPER, Material
from repro.audit.measure import Finding, Measurement, Value
from repro.audit.side import Line, Side
from repro.errors import ReproError
from repro.report.citations import NAME, linked
from repro.report.folder import replace_folder
from repro.report.markdown import escaped, table
from repro.studies.paper.protocols import protocol

# Llama-2's; the stored values hold ids.
_BOS, _BLANK = 1, 29871

HEADS = ("section", "finding", "what", "unit", "authors' data", "embedded data")
READ = (
    "On the left are the stored values of the authors' data with Llama-2's tokenizer, on the right "
    "what the same code finds in the embedded data with the embedded tokenizer, sizes and lengths. "
    "Lines in which neither has anything are left out; - is what the audit does not state."
)


@dataclass(frozen=True)
class Beside:
    """A line of the authors' data and of the embedded data."""

    finding: Finding
    real: Line
    made: Line

    @property
    def empty(self) -> bool:
        """Whether neither shows anything."""
        return not any((*self.real.values, *self.made.values))


def beside(
    material: Material, stored: Sequence[Stored], findings: Sequence[Finding]
) -> tuple[list[Beside], list[Measurement]]:
    """The lines of these findings in the order of the audit, and all that was measured for them.

    Args:
        material: of the embedded data, with its tokenizer and profile.

    Raises:
        ReproError: none of the findings has a line (2).
    """
    published = protocol("published-code")
    real = Side(
        {(value.finding, value.what): value.value for value in stored},
        profiles.load(PAPER),
        published,
        _BOS,
        frozenset({_BLANK}),
    )
    lines = list(real.lines())
    wanted = {finding.id for finding in findings} & {line.finding for line in lines}
    if not wanted:
        raise ReproError(
            "none of these findings is held against another source of data",
            hint=f"findings that are: {', '.join(dict.fromkeys(line.finding for line in lines))}",
        )
    measured = audit(material, only=[*wanted, "row-counts"])
    tokenizer = material.tokenizer
    blanks = {token for piece, token in tokenizer.get_vocab().items() if not piece.strip(" ▁Ġ")}
    made = Side(
        {(m.id, m.what): m.value for m in measured},
        material.profile,
        published,
        tokenizer.bos_token_id,
        frozenset(blanks),
    )
    by_id = {finding.id: finding for finding in FINDINGS}
    pairs = [
        Beside(by_id[one.finding], one, other)
        for one, other in zip(lines, made.lines(), strict=True)
        if one.finding in wanted
    ]
    order = list(by_id)
    return sorted(pairs, key=lambda pair: order.index(pair.finding.id)), measured


def number(line: Line) -> str:
    """The values of a line as text."""
    places = {"%": 1, "accuracy": 3, "ROUGE-L F1": 3}.get(line.unit, 0)

    def one(value: Value | None) -> str:
        if value is None:
            return "-"
        return value if isinstance(value, str) else f"{value:,.{places}f}"

    return ", ".join(map(one, line.values))


def report(pairs: Sequence[Beside], *, every: bool = False) -> RenderableType:
    """A table for the terminal: a heading a finding, below it its lines.

    Args:
        every: lines in which neither shows anything too.
    """
    found = Table(box=None, pad_edge=False)
    found.add_column("section")
    found.add_column("finding", ratio=1)
    found.add_column(HEADS[4], justify="right")
    found.add_column(HEADS[5], justify="right")
    for finding, own in groupby(pairs, key=lambda pair: pair.finding):
        told = list(own)
        unit = told[-1].real.unit
        title = Text(f"{finding.title}, {unit}", "bold").append(f"  {finding.id}", "not bold dim")
        listed = [pair for pair in told if every or not pair.empty]
        found.add_row(linked(finding.section), title, *(() if listed else ("none", "none")))
        for pair in listed:
            what = (
                pair.real.what if pair.real.unit == unit else f"{pair.real.what}, {pair.real.unit}"
            )
            found.add_row("", *map(Text, (what, number(pair.real), number(pair.made))))
    return Group(found, Text(), Text(f"{READ} Sections are of {NAME}."))


def write(pairs: Sequence[Beside], measured: Sequence[Measurement], out: Path) -> tuple[Path, ...]:
    """Write audit.html, audit.md, audit.json and audit.csv to a folder.

    Raises:
        ReproError: the folder holds something else (2) or cannot be written (3); jinja2 is not
            installed (3).
    """
    from repro.report.html import render  # needs jinja2, which the other faces do without

    cells = [_cells(pair) for pair in pairs if not pair.empty]
    page = render("beside.html.j2", heads=HEADS, rows=cells, read=READ)

    def fill(folder: Path) -> None:
        texts = {
            "audit.html": page,
            "audit.md": to_markdown(pairs),
            JSON: to_json(pairs, measured),
            "audit.csv": to_csv(pairs),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")

    return replace_folder(out, JSON, fill)


def _cells(pair: Beside) -> tuple[str, ...]:
    finding, real = pair.finding, pair.real
    return (finding.section, finding.title, real.what, real.unit, number(real), number(pair.made))


def to_markdown(pairs: Sequence[Beside]) -> str:
    """The lines in which one side shows something."""
    rows = ([*map(escaped, _cells(pair))] for pair in pairs if not pair.empty)
    lines = ["# Audit of the embedded data beside that of the authors' data", ""]
    lines += [f"Made by `repro audit --data embedded`. {READ} Sections are of {NAME}.", ""]
    return "\n".join([*lines, *table(HEADS, rows)]) + "\n"


def to_csv(pairs: Sequence[Beside]) -> str:
    """All lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADS, *map(_cells, pairs)])
    return text.getvalue()


def to_json(pairs: Sequence[Beside], measured: Sequence[Measurement]) -> str:
    """All lines, unrounded, and all that was measured of the embedded data (format 1)."""
    document = {"format": FORMAT, "lines": list(_records(pairs)), "measurements": [
        {"finding": m.id, "what": m.what, "value": m.value} for m in measured
    ]}  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _records(pairs: Sequence[Beside]) -> Iterator[dict[str, object]]:
    for pair in pairs:
        yield {
            "finding": pair.finding.id,
            "section": pair.finding.section,
            "what": pair.real.what,
            "unit": pair.real.unit,
            "authors": pair.real.values,
            "embedded": pair.made.values,
        }
