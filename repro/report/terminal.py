"""The terminal face: the answer first, at most 60 lines unless all is asked for, 80 columns."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repro.console import new_console
from repro.printable import counted, printable
from repro.report import departures
from repro.report.answer import Head, Outcome, first_line, head
from repro.report.figurerows import figure_rows
from repro.report.figures import STYLE, figure_lines, legend
from repro.report.model import Report, RunReport
from repro.report.rows import (
    ANSWER,
    BESIDE,
    DIFFERS,
    FINDINGS,
    MISSING,
    NUMBERS,
    ClaimRow,
    Item,
    claim_rows,
    failed,
    heading,
    level_rows,
    missing,
    turns,
)
from repro.report.summaries import READ, SummaryReport, summary_lines
from repro.report.tables import departures_table, facts, pairs, table
from repro.report.words import between, contrast_text, number_text, signed, unpaired
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.rerun import Lack
from repro.verify.verdicts import Verdict
from repro.verify.verification import Verification

LINES = 60
"""Lines of a report on one run, at most, unless all is asked for."""
_LEAST = 5
"""Items that differ that are always shown."""
_NOTES = 2
"""Notes shown, at most."""
_LONGEST = 230
"""Characters of a command that is printed without being asked for."""

_COLOURS = {
    Outcome.PASS: "bold green",
    Outcome.FAIL: "bold red",
    Outcome.NOT_COMPLETE: "bold yellow",
}


def answer_text(answer: Answer, evidence: bool) -> Text:
    """An answer on a finding; without colour where it is none on the paper."""
    return Text(answer.value, style=STYLE[answer] if evidence else "")


def show(console: Console, report: Report, asked: Sequence[str] | None, *, full: bool) -> None:
    """Print a report.

    Args:
        asked: claims asked for by name: numbers and figures are narrowed to their cells.
        full: everything; else at most LINES lines a run.
    """
    for part in parts(report, asked, full=full, console=console):
        # A command stays on one line of text, so that it can be copied whole.
        console.print(part, soft_wrap=isinstance(part, _Command))


class _Command(Text):
    """A command line."""


class _Heading(Text):
    """A heading below a blank line."""

    def tight(self) -> Text:
        """The heading without the blank line."""
        return Text(self.plain.lstrip(), style=self.style)


def parts(
    report: Report,
    asked: Sequence[str] | None = None,
    *,
    full: bool = False,
    console: Console | None = None,
) -> Iterator[RenderableType]:
    """A report, part by part, in the order of every face.

    Args:
        asked, full: as of `show`.
        console: what it will be printed on, for counting lines.
    """
    console = console or new_console()
    several = len(report.runs) > 1
    if several:
        outcome = Outcome.of(report.verification.exit_code)
        yield Text(printable(first_line(report.verification)), style=_COLOURS[outcome])
    warnings = [printable(text) for text in report.verification.warnings]
    for index, run in enumerate(report.runs):
        if several:
            yield Text("\n" + "=" * 80 + f"\n{printable(run.name)}")
        notes = warnings if index == 0 else []
        made = list(_everything(run, asked, notes)) if full else _brief(run, asked, notes, console)
        yield from made
    survival = survival_table(report.verification)
    if survival is not None:
        yield survival


def _brief(
    run: RunReport, asked: Sequence[str] | None, warnings: Sequence[str], console: Console
) -> list[RenderableType]:
    """What fits into LINES lines: as many of the items that differ as there is room for.

    Where there is none for the first few, summaries go one after the other, or the figures shrink
    to a line, and items to one line each; then blank lines go.
    """
    items = failed(run.verified)
    needed = 3 + min(len(items), _LEAST)  # with the heading and "... and more"
    most = len(run.summaries) or 1
    attempts = [*((shown, False) for shown in range(most, -1, -1)), (0, True)]
    for shown, tight in attempts:
        above = list(_head(run, warnings, full=False))
        below = list(_below(run, asked, most=shown))
        every = [*above, *below]
        room = LINES - sum(_height(console, part) for part in every)
        if tight:
            room += sum(isinstance(part, _Heading) for part in below)
        if room >= needed:
            break
    lines = 2 if shown == most else 1
    made = [*above, *_differs(items, room, console, lines=lines), *below]
    return [part.tight() if tight and isinstance(part, _Heading) else part for part in made]


def _height(console: Console, part: RenderableType) -> int:
    if isinstance(part, _Command):
        return 1 + (len(part.plain) - 1) // max(1, console.width)
    return len(console.render_lines(part, pad=False))


def _everything(
    run: RunReport, asked: Sequence[str] | None, warnings: Sequence[str]
) -> Iterator[RenderableType]:
    yield from _head(run, warnings, full=True)
    items = failed(run.verified)
    yield _heading(DIFFERS)
    if not items:
        yield Text("  nothing")
    for item in items:
        yield _item(item)
    yield from _missing(run, full=True)
    yield _heading(heading(FINDINGS, run.verified.run))
    evidence = head(run.verified).evidence
    for verdict in run.verified.claims:
        yield from _whole_claim(verdict, evidence)
    yield from _summaries(run.summaries)
    if run.summaries:
        yield _heading(departures.HEADING)
        yield departures_table(run.verified.run)
    yield from _numbers(run)
    for number in run.verified.judged:
        if not number.verdict.passes and number.verdict is not Verdict.NOT_REPRODUCED:
            line = f"{number.name}: {number.verdict}: {number_text(number)}"
            yield Padding(Text(printable(line)), (0, 0, 0, 2))
    yield _heading(heading(BESIDE, run.verified.run))
    if run.verified.run.study.published:
        yield legend(run)
    yield from figure_lines(run, _needed(run, asked))
    yield _heading("The run")
    yield pairs(facts(run.verified.run))


def _needed(run: RunReport, asked: Sequence[str] | None) -> set[Any] | None:
    if asked is None:
        return None
    own = run.verified.run
    every_shot = own.best_of != "smallest"
    claims = [verdict.claim for verdict in run.verified.claims]
    return {c for claim in claims for c in own.study.claim_cells(claim, every_shot=every_shot)}


def _heading(text: str) -> _Heading:
    return _Heading(f"\n{text}", style="bold")


def _head(run: RunReport, warnings: Sequence[str], *, full: bool) -> Iterator[RenderableType]:
    top: Head = head(run.verified)
    yield Text(printable(top.first), style=_COLOURS[top.outcome])
    yield Text(printable(top.on_paper))
    made = pairs([*top.ran, ("numbers", top.numbers), ("findings", top.findings)])
    yield made
    notes = [*top.notes, *warnings]
    shown = notes if full or len(notes) <= _NOTES else notes[: _NOTES - 1]
    for note in shown:
        line = Text(f"note: {note}", style="yellow")
        if not full:
            line.truncate(150, overflow="ellipsis")
        yield line
    if len(shown) < len(notes):
        yield Text(f"note: ... and {len(notes) - len(shown)} more", style="yellow")


def _item(item: Item) -> Padding:
    line = Text(f"{item.kind} ", style="dim").append(printable(item.name), style="bold not dim")
    line.append(f": {printable(item.text)}", style="not dim")
    return Padding(line, (0, 0, 0, 2))


def _differs(
    items: Sequence[Item], room: int, console: Console, *, lines: int
) -> Iterator[RenderableType]:
    """Items in the order of `failed`; of each kind the first, before any second is shown."""
    yield _heading(DIFFERS)
    if not items:
        yield Text("  nothing")
        return
    room -= 2 + 1  # the heading with its blank line, and "... and more"
    shown: set[int] = set()
    for place in turns(items):
        room -= _height(console, _short(items[place], console, lines))
        if room < 0 and len(shown) >= _LEAST:
            break
        shown.add(place)
    for place in sorted(shown):
        yield _short(items[place], console, lines)
    if len(shown) < len(items):
        yield Text(f"  ... and {len(items) - len(shown)} more: --full")


def _short(item: Item, console: Console, lines: int) -> Padding:
    """An item in one line or two, at most."""
    part = _item(item)
    assert isinstance(part.renderable, Text)
    # Words that do not fit move to the next line, which costs some of the first.
    room = lines * (console.width - 2) - 12 * (lines - 1)
    part.renderable.truncate(room, overflow="ellipsis")
    return part


def _missing(run: RunReport, *, full: bool) -> Iterator[RenderableType]:
    lacks = missing(run.verified)
    yield _heading(MISSING)
    if not lacks:
        yield Text("  nothing")
    for lack in lacks if full else lacks[:1]:
        yield from _lack(lack, full=full)
    if not full and len(lacks) > 1:
        yield _one_line("and " + "; ".join(lack.text for lack in lacks[1:]))


def _one_line(text: str) -> Padding:
    # Not as a Text of its own: printing it would drop how it is to be cut.
    line = Text(printable(text), no_wrap=True, overflow="ellipsis")
    return Padding(line, (0, 0, 0, 2))


def _lack(lack: Lack, *, full: bool) -> Iterator[RenderableType]:
    if full:
        yield Padding(Text(printable(lack.text)), (0, 0, 0, 2))
    else:
        yield _one_line(lack.text)
    if full and lack.cells:
        names = ", ".join(cell.name for cell in lack.cells)
        yield Padding(Text(names, style="dim"), (0, 0, 0, 4))
    if not lack.command:
        return
    if full or len(lack.command) <= _LONGEST:
        yield _Command("  " + printable(lack.command), style="cyan")
    else:
        yield Text(f"  its command has {len(lack.command):,} characters: --full prints it")


def _below(run: RunReport, asked: Sequence[str] | None, *, most: int) -> Iterator[RenderableType]:
    """All that follows what differs, in short.

    Args:
        most: summaries, at most; without any, 0 puts the figures in one line.
    """
    yield from _missing(run, full=False)
    yield _heading(heading(FINDINGS, run.verified.run))
    own = not run.verified.run.study.published
    yield _claims(claim_rows(run.verified.claims), head(run.verified).evidence, own=own)
    yield from _summaries(run.summaries[:most])
    yield from _numbers(run)
    if run.summaries:
        left = len(run.summaries) - most
        more = f"{counted(left, 'more panel')}, " if left else ""
        yield Text(f"{more}all cells and comparisons: the same command with --full", style="dim")
        return
    yield _heading(heading(BESIDE, run.verified.run))
    needed = _needed(run, asked)
    rows = figure_rows(run, None if needed is None else tuple(needed))
    known = [row for row in rows if row.run]
    if not run.verified.run.study.published and most:
        yield from figure_lines(run, needed)
    elif not most or not known:
        count = sum(row.run for row in known)
        yield Text(f"  {counted(count, 'point')} in {counted(len(known), 'figure')}: --full")
    else:
        made = table("figure", "points", "paper", "ours", "largest difference")
        for row in known:
            points = str(row.run) if row.run == row.points else f"{row.run} of {row.points}"
            values = (f"{row.paper:.3f}", f"{row.ours:.3f} {signed(row.difference)}")
            made.add_row(row.figure, points, *values, row.largest_text)
        yield made
    yield Text("All cells, comparisons and points: the same command with --full", style="dim")


def _summaries(shown: Sequence[SummaryReport]) -> Iterator[RenderableType]:
    """Curves and matrices; nothing without any."""
    if shown:
        yield _heading(ANSWER)
        yield Text(READ)
    for summary in shown:
        yield from summary_lines(summary, 80)


def _claims(rows: Sequence[ClaimRow], evidence: bool, *, own: bool) -> Table:
    """A line a finding: how many of the comparisons that decided it hold, and where it fails.

    "noticed": the smallest true mean effect that would have been shown in nine of ten runs. A
    study of one's own has the effect of the comparison that decided first.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("", width=3)
    made.add_column("finding", width=28, no_wrap=True)
    made.add_column("answer", width=12, no_wrap=True)
    told_as = "effect, 95 % interval" if own else "comparisons that hold"
    made.add_column(told_as, no_wrap=False)  # the one that gives way
    made.add_column("noticed", width=7, no_wrap=True)
    for row in rows:
        told = row.decided
        if own and row.effect is not None:
            told = f"{signed(row.effect)}{between(row.interval)}, {told}"
        decided = Text(printable(told), no_wrap=True, overflow="ellipsis")
        noticed = "" if row.noticed is None else f"{row.noticed:.3f}"
        made.add_row(row.id, row.title, answer_text(row.answer, evidence), decided, noticed)
    return made


def _whole_claim(verdict: ClaimVerdict, evidence: bool) -> Iterator[RenderableType]:
    """A finding with all of its comparisons."""
    line = Text(f"{verdict.claim.id:<4} ", style="bold")
    line.append_text(answer_text(verdict.verdict, evidence))
    line.append(f"  {verdict.claim.finding}{unpaired(verdict)}", style="not bold")
    yield line
    if verdict.verdict is Answer.NOT_RUN:
        return  # the reason would only be repeated for each comparison
    for item in verdict.contrasts:
        shown = "beyond it" if item.contrast.beyond else item.verdict.value
        text = printable(f"{shown}: {contrast_text(item)}")
        yield Padding(Text(text, style="dim"), (0, 0, 0, 5))


def _numbers(run: RunReport) -> Iterator[RenderableType]:
    yield _heading(NUMBERS)
    rows = level_rows(run.verified)
    if not rows:
        yield Text("  not compared")
        return
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("", no_wrap=True)
    made.add_column("how they came out")
    made.add_column("noticed from", no_wrap=True)
    for row in rows:
        level = f" ({row.level})" if row.level else ""
        made.add_row(row.what + level, Text(row.outcome, style=STYLE[row.worst]), row.noticed)
    yield made


def survival_table(verification: Verification) -> Table | None:
    """Each claim under each protocol that was run; None for a single protocol."""
    rows = verification.survival
    if not rows:
        return None
    names = [run.run.name for run in verification.runs]
    evidence = [head(run).evidence for run in verification.runs]
    made = table("", *map(printable, names), title="\nDo the findings survive correction?")
    for column in made.columns[1:]:
        column.no_wrap = False
    for claim, found in rows:
        verdicts = dict(found)
        made.add_row(
            claim,
            *(
                answer_text(verdicts.get(name, Answer.NOT_RUN), own)
                for name, own in zip(names, evidence, strict=True)
            ),
        )
    return made
