"""The Markdown face, for a pull request: short above, the rest in folded details."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from repro.paper.figures import FIGURES
from repro.report import terminal
from repro.report.model import Report, RunReport
from repro.report.printable import printable
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.verdicts import Verdict
from repro.verify.verification import command_for

NOT_COMPARED = "not compared"
_SPECIAL = re.compile(r"[\\`*_{}\[\]#|~<>&@]|:(?=//)|(?<=www)\.")


def escaped(text: object) -> str:
    """Text of others as Markdown that only shows: no markup, link or mention."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", printable(text))


def markdown(report: Report) -> str:
    """The whole report."""
    lines = ["# Reproduction of arXiv 2403.09162"]
    for warning in report.verification.warnings:
        lines += ["", f"> note: {escaped(warning)}"]
    for run in report.runs:
        lines += ["", *_run(run)]
    if report.verification.survival:
        names = [run.name for run in report.runs]
        lines += ["", "## Do the claims survive correction?", ""]
        rows = (
            [claim, *(dict(found).get(name, Answer.NOT_RUN) for name in names)]
            for claim, found in report.verification.survival
        )
        lines += table(["claim", *map(escaped, names)], rows)
    return "\n".join(lines) + "\n"


def _run(run: RunReport) -> Iterator[str]:
    verified = run.verified
    yield f"## {escaped(run.name)}"
    yield ""
    yield f"- **Numbers**: {terminal.numbers_answer(run)}"
    yield f"- **Claims**: {terminal.claims_answer(run)}"
    if verified.not_run:
        yield f"- {len(verified.not_run)} cells were not run: " + escaped(
            command_for(verified.run, verified.not_run)
        )
    yield ""
    yield "### Do the paper's claims hold in this run?"
    yield ""
    yield from table(
        ["claim", "verdict", "effect [95%]", "paper", "level", "finding"],
        (_claim(run, claim) for claim in verified.claims),
    )
    yield ""
    yield "### The points of the figures, against " + (
        "the paper" if verified.points else "the stored reference"
    )
    yield ""
    yield from table(["figure", *Verdict, NOT_COMPARED], _figures(run))
    yield ""
    yield from details("The run", _facts(run))
    if verified.judged:
        yield from details(f"All {len(verified.judged)} verdicts on numbers", _numbers(run))
    yield from details("All comparisons behind the claims", _contrasts(verified.claims))


def _claim(run: RunReport, verdict: ClaimVerdict) -> list[str]:
    item = verdict.headline
    mean = item.mean if item else None
    return [
        verdict.claim.id,
        verdict.verdict,
        f"{mean.effect:+.3f}{terminal.between(mean.interval)}" if mean else "",
        "" if item is None or item.paper_effect is None else f"{item.paper_effect:+.3f}",
        run.level_of(verdict) or "none",
        escaped(verdict.claim.finding),
    ]


def _figures(run: RunReport) -> Iterator[list[object]]:
    for figure in FIGURES:
        points = [p for panel in run.panels if panel.panel.figure == figure for p in panel.points]
        found = Counter(point.verdict for point in points)
        yield [figure, *(found[verdict] for verdict in Verdict), found[None]]


def _facts(run: RunReport) -> list[str]:
    return table(["what", "value"], ([n, escaped(v)] for n, v in terminal.facts(run.verified.run)))


def _numbers(run: RunReport) -> list[str]:
    # The worst first, for this is what a reader opens the list for.
    order = list(Verdict)
    judged = sorted(run.verified.judged, key=lambda number: -order.index(number.verdict))
    rows = (
        [
            escaped(number.name),
            number.verdict,
            number.level or "none",
            "" if number.ours is None else f"{number.ours:.3f}",
            "" if number.theirs is None else f"{number.theirs:.3f}",
            "" if number.difference is None else f"{number.difference:+.3f}",
            terminal.between(number.interval).strip(),
        ]
        for number in judged
    )
    return table(["number", "verdict", "level", "ours", "theirs", "difference", "95%"], rows)


def _contrasts(claims: Sequence[ClaimVerdict]) -> list[str]:
    rows = (
        [claim.claim.id, item.verdict, escaped(terminal.contrast_text(item))]
        for claim in claims
        for item in claim.contrasts
    )
    return table(["claim", "comparison", "what"], rows)


def details(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines that fold up."""
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table; its cells are escaped already."""

    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    return [line(heads), line(["---"] * len(heads)), *map(line, rows)]
