"""The Markdown face, for a pull request: the answer first, the rest in folded details."""

import re
from collections.abc import Iterable, Iterator, Sequence

from repro.printable import printable
from repro.report import rows, words
from repro.report.answer import first_line, head
from repro.report.model import Report, RunReport
from repro.report.summaries import DEPARTED, DEPARTED_HEADS, DEPARTED_READ, departures
from repro.report.tables import facts
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
        answers = (
            (claim, *(dict(found).get(name, Answer.NOT_RUN) for name in names))
            for claim, found in report.verification.survival
        )
        lines += table(["finding", *map(escaped, names)], answers)
    return "\n".join(lines) + "\n"


def _run(run: RunReport, *, several: bool) -> Iterator[str]:
    own, top = run.verified.run, head(run.verified)
    yield f"## {escaped(run.name)}"
    yield ""
    if several:
        yield f"**{escaped(top.first)}**"
        yield ""
    yield f"- {escaped(top.on_paper)}"
    yield from (f"- **{name}**: {escaped(text)}" for name, text in top.rows)
    yield from (f"- note: {escaped(note)}" for note in top.notes)
    yield from _section(rows.DIFFERS, _differs(run))
    yield from _section(rows.MISSING, _missing(run))
    yield from _section(rows.heading(rows.FINDINGS, own), _findings(run))
    yield from details("All comparisons behind them", _contrasts(run))
    if run.summaries:
        yield from _section(rows.ANSWER, _summaries(run))
        moved = (map(escaped, row.texts) for row in departures(own))
        yield from details(DEPARTED, [DEPARTED_READ, "", *table(DEPARTED_HEADS, moved)])
    yield from _section(rows.NUMBERS, _levels(run))
    if run.verified.judged:
        yield from details(f"All {len(run.verified.judged)} verdicts on numbers", _numbers(run))
    yield from _section(rows.heading(rows.BESIDE, own), _figures(run))
    told = ((name, escaped(value)) for name, value in facts(own))
    yield from details("The run", table(("what", "value"), told))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"### {title}", "", *lines, "")


def _differs(run: RunReport) -> Iterator[str]:
    items = rows.failed(run.verified)
    if not items:
        yield "nothing"
        return
    lines = (map(escaped, item) for item in rows.chosen(items, _SHOWN))
    yield from table(("what", "name", "how"), lines)
    if len(items) > _SHOWN:
        yield ""
        yield f"... and {len(items) - _SHOWN} more, in report.json"


def _missing(run: RunReport) -> list[str]:
    lacks = [filter(None, (lack.text, lack.command)) for lack in rows.missing(run.verified)]
    return [f"- {': '.join(map(escaped, lack))}" for lack in lacks] or ["nothing"]


def _findings(run: RunReport) -> Iterator[str]:
    power = "power to show the paper's effect"
    heads = ("id", "answer", "what decided", "effect", "noticed", power, "paper", "finding")
    return table(heads, map(_finding, run.verified.claims))


def _finding(claim: ClaimVerdict) -> tuple[object, ...]:
    main, mean = claim.headline, claim.mean
    return (
        claim.claim.id,
        claim.verdict,
        escaped(words.decided_by(claim)),
        _number(mean.effect if mean else None, "+.3f"),
        _number(words.noticed_effect(mean)),
        _number(main.power if main else None, ".0%"),
        _number(main.paper_effect if main else None, "+.3f"),
        escaped(claim.claim.finding),
    )


def _contrasts(run: RunReport) -> Iterator[str]:
    lines = (
        (claim.claim.id, item.verdict, escaped(words.contrast_text(item)))
        for claim in run.verified.claims
        for item in claim.contrasts
    )
    return table(("finding", "comparison", "what"), lines)


def _summaries(run: RunReport) -> Iterator[str]:
    for report in run.summaries:
        yield f"**{escaped(report.title)}** ({report.count_text}, 95 % intervals)"
        yield ""
        columns = report.summary.columns
        heads = map(escaped, (report.summary.axis, *columns))
        lines = (
            (escaped(row), *(report.whole(row, name) for name in columns))
            for row in report.summary.rows
        )
        yield from table(tuple(heads), lines)
        yield ""


def _levels(run: RunReport) -> Iterable[str]:
    lines = [(r.what, r.outcome, r.level or "", r.noticed) for r in rows.level_rows(run.verified)]
    heads = ("what", "how they came out", "level", "noticed from")
    return table(heads, lines) if lines else ["not compared"]


def _numbers(run: RunReport) -> Iterator[str]:
    # The worst first, for this is what a reader opens the list for.
    order = list(Verdict)
    judged = sorted(run.verified.judged, key=lambda number: -order.index(number.verdict))
    lines = (
        (
            escaped(number.name),
            number.verdict,
            number.level or "none",
            _number(number.ours),
            _number(number.theirs),
            _number(number.difference, "+.3f"),
            words.between(number.interval).strip(),
            words.noticed_text(number),
        )
        for number in judged
    )
    heads = ("number", "verdict", "level", "ours", "theirs", "difference", "95%", "noticed")
    return table(heads, lines)


def _figures(run: RunReport) -> Iterator[str]:
    lines = (
        (
            row.figure,
            f"{row.run} of {row.points}",
            _number(row.paper),
            _number(row.ours),
            _number(row.difference, "+.3f"),
            escaped(row.largest),
        )
        for row in rows.figure_rows(run)
    )
    heads = ("figure", "points run", "paper, mean", "ours, mean", "difference", "largest")
    return table(heads, lines)


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


def details(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines that fold up."""
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


def table(heads: Sequence[str], lines: Iterable[Iterable[object]]) -> Iterator[str]:
    """The lines of a Markdown table; their cells are escaped already."""
    for cells in (heads, ["---"] * len(heads), *lines):
        yield f"| {' | '.join(map(str, cells))} |"
