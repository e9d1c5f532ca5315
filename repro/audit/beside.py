"""The audit of the embedded data beside that of the authors' data, which are the stored values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repro import profiles
from repro.audit import faces
from repro.audit.compare import Stored
from repro.audit.findings import FINDINGS, Finding, audit
from repro.audit.material import PAPER, Material, Value
from repro.audit.side import Line, Side
from repro.errors import ReproError
from repro.report.citations import NAME, linked
from repro.report.markdown import escaped, table

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
) -> tuple[list[Beside], Mapping[tuple[str, str], Value]]:
    """The lines of these findings in the order of the audit, and all that was measured for them.

    Args:
        material: of the embedded data, with its tokenizer and profile.

    Raises:
        ReproError: none of the findings has a line (2).
    """
    known = {(value.finding, value.what): value.value for value in stored}
    real = Side(known, profiles.load(PAPER), _BOS, frozenset({_BLANK}))
    lines = list(real.lines())
    wanted = {finding.id for finding in findings} & {line.finding for line in lines}
    if not wanted:
        raise ReproError(
            "none of these findings is held against another source of data",
            hint=f"findings that are: {', '.join(dict.fromkeys(line.finding for line in lines))}",
        )
    measured = audit(material, [one for one in FINDINGS if one.id in {*wanted, "row-counts"}])
    vocabulary = material.tokenizer.get_vocab()
    blanks = frozenset(token for piece, token in vocabulary.items() if not piece.strip(" ▁Ġ"))
    made = Side(measured, material.profile, material.tokenizer.bos_token_id, blanks)
    pairs = list(zip(lines, made.lines(), strict=True))
    return [
        Beside(finding, one, other)
        for finding in FINDINGS
        if finding.id in wanted
        for one, other in pairs
        if one.finding == finding.id
    ], measured


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
    for head in HEADS[4:]:
        found.add_column(head, justify="right")
    for finding, own in groupby(pairs, key=lambda pair: pair.finding):
        told = list(own)
        unit = told[-1].real.unit
        title = Text(f"{finding.title}, {unit}", "bold").append(f"  {finding.id}", "not bold dim")
        listed = [pair for pair in told if every or not pair.empty]
        found.add_row(linked(finding.section), title, *(() if listed else ("none", "none")))
        for pair in listed:
            real = pair.real
            what = real.what if real.unit == unit else f"{real.what}, {real.unit}"
            found.add_row("", *map(Text, (what, number(real), number(pair.made))))
    return Group(found, Text(), Text(f"{READ} Sections are of {NAME}."))


def write(
    pairs: Sequence[Beside], measured: Mapping[tuple[str, str], Value], out: Path
) -> tuple[Path, ...]:
    """Write audit.html, audit.md, audit.json and audit.csv to a folder.

    All lines are in the last two, in JSON unrounded and with all that was measured of the embedded
    data; in the others those in which one side shows something.

    Raises:
        ReproError: the folder holds something else (2) or cannot be written (3); jinja2 is not
            installed (3).
    """
    from repro.report.html import render  # needs jinja2, which the other faces do without

    shown = [_cells(pair) for pair in pairs if not pair.empty]
    head = "# Audit of the embedded data beside that of the authors' data"
    read = f"Made by `repro audit --data embedded`. {READ} Sections are of {NAME}."
    lines = [head, "", read, "", *table(HEADS, ([*map(escaped, cells)] for cells in shown))]
    records = [
        {
            "finding": pair.finding.id,
            "section": pair.finding.section,
            "what": pair.real.what,
            "unit": pair.real.unit,
            "authors": pair.real.values,
            "embedded": pair.made.values,
        }
        for pair in pairs
    ]
    measurements = [
        {"finding": finding, "what": what, "value": value}
        for (finding, what), value in measured.items()
    ]
    texts = {
        "audit.html": render("beside.html.j2", heads=HEADS, rows=shown, read=READ),
        "audit.md": "\n".join(lines) + "\n",
        "audit.json": faces.to_json(lines=records, measurements=measurements),
        "audit.csv": faces.to_csv([HEADS, *map(_cells, pairs)]),
    }
    return faces.put(texts, out)


def _cells(pair: Beside) -> tuple[str, ...]:
    finding, real = pair.finding, pair.real
    return (finding.section, finding.title, real.what, real.unit, number(real), number(pair.made))
