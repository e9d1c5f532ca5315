"""The Markdown face, for a pull request: the answer first, the rest in folded details."""

import re
from collections.abc import Iterable, Iterator, Sequence

from repro.printable import printable
from repro.report.answer import first_line, head
from repro.report.departures import HEADING, HEADS, READ, departures
from repro.report.figurerows import figure_rows
from repro.report.model import Report, RunReport
from repro.report.rows import (
    ANSWER,
    BESIDE,
    DIFFERS,
    FINDINGS,
    MISSING,
    NUMBERS,
    chosen,
    claim_rows,
    failed,
    heading,
    level_rows,
    missing,
)
from repro.report.tables import facts
from repro.report.words import between, contrast_text, noticed_text
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.verdicts import Verdict

_SPECIAL = re.compile(r"[\\`*_{}\[\]#|~<>&@]|:(?=//)|(?<=www)\.")
_SHOWN = 20
"""Items that differ above the fold, at most; all numbers are in the folded table."""


def escaped(text: object) -> str:
    """Text of others as Markdown that only shows: no markup, link or mention."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", printable(text))


def markdown(report: Report) -> str:
    """The whole report."""
    lines = [f"# {escaped(first_line(report.verification))}"]
    for warning in report.verification.warnings:
        lines += ["", f"> note: {escaped(warning)}"]
    for run in report.runs:
        lines += ["", *_run(run, several=len(report.runs) > 1)]
    if report.verification.survival:
        names = [run.name for run in report.runs]
        lines += ["", "## Do the findings survive correction?", ""]
        rows = (
            [claim, *(dict(found).get(name, Answer.NOT_RUN) for name in names)]
            for claim, found in report.verification.survival
        )
        lines += table(["finding", *map(escaped, names)], rows)
    return "\n".join(lines) + "\n"


def _run(run: RunReport, *, several: bool) -> Iterator[str]:
    top = head(run.verified)
    yield f"## {escaped(run.name)}"
    yield ""
    if several:
        yield f"**{escaped(top.first)}**"
        yield ""
    yield f"- {escaped(top.on_paper)}"
    for name, text in (*top.ran, ("numbers", top.numbers), ("findings", top.findings)):
        yield f"- **{name}**: {escaped(text)}"
    for note in top.notes:
        yield f"- note: {escaped(note)}"
    yield from _section(DIFFERS, _differs(run))
    yield from _section(MISSING, _missing(run))
    yield from _section(heading(FINDINGS, run.verified.run), _findings(run))
    yield from details("All comparisons behind them", _contrasts(run.verified.claims))
    if run.summaries:
        yield from _section(ANSWER, _summaries(run))
        rows = ([escaped(text) for text in row.texts] for row in departures(run.verified.run))
        yield from details(HEADING, [READ, "", *table(HEADS, rows)])
    yield from _section(NUMBERS, _levels(run))
    if run.verified.judged:
        summary = f"All {len(run.verified.judged)} verdicts on numbers"
        yield from details(summary, _numbers(run))
    yield from _section(heading(BESIDE, run.verified.run), _figures(run))
    yield from details("The run", _facts(run))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"### {title}", "", *lines, "")


def _differs(run: RunReport) -> Iterator[str]:
    items = failed(run.verified)
    if not items:
        yield "nothing"
        return
    rows = ([item.kind, escaped(item.name), escaped(item.text)] for item in chosen(items, _SHOWN))
    yield from table(["what", "name", "how"], rows)
    if len(items) > _SHOWN:
        yield ""
        yield f"... and {len(items) - _SHOWN} more, in report.json"


def _missing(run: RunReport) -> Iterator[str]:
    lacks = missing(run.verified)
    if not lacks:
        yield "nothing"
    for lack in lacks:
        yield f"- {escaped(lack.text)}" + (f": {escaped(lack.command)}" if lack.command else "")


def _findings(run: RunReport) -> list[str]:
    power = "power to show the paper's effect"
    heads = ["id", "answer", "what decided", "effect", "noticed", power, "paper", "finding"]
    rows = (
        [
            row.id,
            row.answer,
            escaped(row.decided),
            _number(row.effect, "+.3f"),
            _number(row.noticed, ".3f"),
            _number(row.power, ".0%"),
            _number(row.paper, "+.3f"),
            escaped(row.finding),
        ]
        for row in claim_rows(run.verified.claims)
    )
    return table(heads, rows)


def _summaries(run: RunReport) -> Iterator[str]:
    for report in run.summaries:
        yield f"**{escaped(report.title)}** ({report.count_text}, 95 % intervals)"
        yield ""
        columns = report.summary.columns
        heads = [escaped(report.summary.axis), *map(escaped, columns)]
        rows = ([escaped(row), *(own[name] for name in columns)] for row, own in report.grid())
        yield from table(heads, rows)
        yield ""


def _levels(run: RunReport) -> list[str]:
    rows = level_rows(run.verified)
    if not rows:
        return ["not compared"]
    heads = ["what", "how they came out", "level", "noticed from"]
    return table(heads, ([r.what, r.outcome, r.level or "", r.noticed] for r in rows))


def _figures(run: RunReport) -> list[str]:
    heads = ["figure", "points run", "paper, mean", "ours, mean", "difference", "largest"]
    return table(
        heads,
        (
            [
                row.figure,
                f"{row.run} of {row.points}",
                _number(row.paper, ".3f"),
                _number(row.ours, ".3f"),
                _number(row.difference, "+.3f"),
                escaped(row.largest_text),
            ]
            for row in figure_rows(run)
        ),
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _facts(run: RunReport) -> list[str]:
    return table(["what", "value"], ([n, escaped(v)] for n, v in facts(run.verified.run)))


def _numbers(run: RunReport) -> list[str]:
    # The worst first, for this is what a reader opens the list for.
    order = list(Verdict)
    judged = sorted(run.verified.judged, key=lambda number: -order.index(number.verdict))
    rows = (
        [
            escaped(number.name),
            number.verdict,
            number.level or "none",
            _number(number.ours, ".3f"),
            _number(number.theirs, ".3f"),
            _number(number.difference, "+.3f"),
            between(number.interval).strip(),
            noticed_text(number),
        ]
        for number in judged
    )
    heads = ["number", "verdict", "level", "ours", "theirs", "difference", "95%", "noticed"]
    return table(heads, rows)


def _contrasts(claims: Sequence[ClaimVerdict]) -> list[str]:
    rows = (
        [claim.claim.id, item.verdict, escaped(contrast_text(item))]
        for claim in claims
        for item in claim.contrasts
    )
    return table(["finding", "comparison", "what"], rows)


def details(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines that fold up."""
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table; its cells are escaped already."""

    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    return [line(heads), line(["---"] * len(heads)), *map(line, rows)]
