"""The terminal face: the answer first, at most 60 lines unless all is asked for, 80 columns."""

from collections.abc import Iterator, Sequence, Set

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repro.printable import counted, printable
from repro.report import rows, words
from repro.report.answer import Outcome, first_line, head
from repro.report.figures import STYLE, figure_lines, legend
from repro.report.model import Report, RunReport
from repro.report.summaries import DEPARTED, READ, SummaryReport, summary_lines
from repro.report.tables import departures_table, facts, pairs, table
from repro.spec.cells import Cell
from repro.verify.claimverdicts import Answer, ClaimVerdict
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


class _Command(Text):
    """A command line."""


def show(console: Console, report: Report, asked: Sequence[str] | None, *, full: bool) -> None:
    """Print a report.

    Args:
        asked: claims asked for by name: figures are narrowed to their cells.
        full: everything; else at most LINES lines a run.
    """
    several, verification = len(report.runs) > 1, report.verification
    if several:
        style = _COLOURS[Outcome.of(verification.exit_code)]
        console.print(Text(printable(first_line(verification)), style=style))
    notes: Sequence[str] = verification.warnings
    for run in report.runs:
        if several:
            console.print(Text("\n" + "=" * 80 + f"\n{printable(run.name)}"))
        cells = None if asked is None else _behind(run)
        for part in _everything(run, cells, notes) if full else _brief(run, cells, notes, console):
            # A command stays on one line of text, so that it can be copied whole.
            console.print(part, soft_wrap=isinstance(part, _Command))
        notes = ()  # those of all runs stand with the first
    if verification.survival:
        console.print(_survival(verification))


def _behind(run: RunReport) -> set[Cell]:
    """The cells behind the claims that were asked for."""
    own = run.verified.run
    claims = [verdict.claim for verdict in run.verified.claims]
    return {c for claim in claims for c in own.study.claim_cells(claim, every_shot=own.every_shot)}


def _brief(
    run: RunReport, cells: Set[Cell] | None, warnings: Sequence[str], console: Console
) -> Iterator[RenderableType]:
    """What fits into LINES lines: as many of the items that differ as there is room for.

    Where there is none for the first few, summaries go one after the other, or the figures shrink
    to a line, and items to one line each; then blank lines go.
    """
    items, above = rows.failed(run.verified), list(_head(run, warnings, full=False))
    needed = 3 + min(len(items), _LEAST)  # with the heading and "... and more"
    most = len(run.summaries) or 1
    for shown, tight in [*((shown, False) for shown in range(most, -1, -1)), (0, True)]:
        below = list(_below(run, cells, most=shown))
        below = list(map(_tight, below)) if tight else below
        room = LINES - sum(_height(console, part) for part in (*above, *below))
        if room >= needed:
            break
    differing = _differs(items, room, console, lines=2 if shown == most else 1)
    yield from above
    yield from map(_tight, differing) if tight else differing
    yield from below


def _tight(part: RenderableType) -> RenderableType:
    """A heading without the blank line above it."""
    if isinstance(part, Text) and part.plain.startswith("\n"):
        return Text(part.plain[1:], style=part.style)
    return part


def _height(console: Console, part: RenderableType) -> int:
    if isinstance(part, _Command):
        return 1 + (len(part.plain) - 1) // max(1, console.width)
    return len(console.render_lines(part, pad=False))


def _everything(
    run: RunReport, cells: Set[Cell] | None, warnings: Sequence[str]
) -> Iterator[RenderableType]:
    own, items = run.verified.run, rows.failed(run.verified)
    yield from _head(run, warnings, full=True)
    yield _heading(rows.DIFFERS)
    yield from map(_item, items) if items else [Text("  nothing")]
    yield from _missing(run, full=True)
    yield _heading(rows.heading(rows.FINDINGS, own))
    evidence = head(run.verified).evidence
    for verdict in run.verified.claims:
        yield from _whole_claim(verdict, evidence)
    yield from _summaries(run.summaries)
    if run.summaries:
        yield _heading(DEPARTED)
        yield departures_table(own)
    yield from _numbers(run)
    for number in run.verified.judged:
        if not number.verdict.passes and number.verdict is not Verdict.NOT_REPRODUCED:
            yield _indented(f"{number.name}: {number.verdict}: {words.number_text(number)}")
    yield _heading(rows.heading(rows.BESIDE, own))
    if own.study.published:
        yield legend(run)
    yield from figure_lines(run, cells)
    yield _heading("The run")
    yield pairs(facts(own))


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _indented(text: str, by: int = 2, style: str = "") -> Padding:
    return Padding(Text(printable(text), style=style), (0, 0, 0, by))


def _head(run: RunReport, warnings: Sequence[str], *, full: bool) -> Iterator[RenderableType]:
    top = head(run.verified)
    yield Text(printable(top.first), style=_COLOURS[top.outcome])
    yield Text(printable(top.on_paper))
    yield pairs(top.rows)
    notes = [*top.notes, *map(printable, warnings)]
    shown = notes if full or len(notes) <= _NOTES else notes[: _NOTES - 1]
    for note in shown:
        line = Text(f"note: {note}", style="yellow")
        if not full:
            line.truncate(150, overflow="ellipsis")
        yield line
    if len(shown) < len(notes):
        yield Text(f"note: ... and {len(notes) - len(shown)} more", style="yellow")


def _item(item: rows.Item, room: int | None = None) -> Padding:
    """An item, in so many characters at most."""
    line = Text(f"{item.kind} ", style="dim").append(printable(item.name), style="bold not dim")
    line.append(f": {printable(item.text)}", style="not dim")
    if room is not None:
        line.truncate(room, overflow="ellipsis")
    return Padding(line, (0, 0, 0, 2))


def _differs(
    items: Sequence[rows.Item], room: int, console: Console, *, lines: int
) -> Iterator[RenderableType]:
    """Items in their order; of each kind the first, before any second is shown.

    Args:
        lines: that an item takes, at most.
    """
    yield _heading(rows.DIFFERS)
    if not items:
        yield Text("  nothing")
        return
    # Words that do not fit move to the next line, which costs some of the first.
    width = lines * (console.width - 2) - 12 * (lines - 1)
    made = [_item(item, width) for item in items]
    room -= 2 + 1  # the heading with its blank line, and "... and more"
    shown: set[int] = set()
    for place in rows.turns(items):
        room -= _height(console, made[place])
        if room < 0 and len(shown) >= _LEAST:
            break
        shown.add(place)
    yield from (made[place] for place in sorted(shown))
    if len(shown) < len(items):
        yield Text(f"  ... and {len(items) - len(shown)} more: --full")


def _missing(run: RunReport, *, full: bool) -> Iterator[RenderableType]:
    lacks = rows.missing(run.verified)
    yield _heading(rows.MISSING)
    if not lacks:
        yield Text("  nothing")
    for lack in lacks if full else lacks[:1]:
        yield _indented(lack.text) if full else _one_line(lack.text)
        if full and lack.cells:
            yield _indented(", ".join(cell.name for cell in lack.cells), by=4, style="dim")
        if lack.command and (full or len(lack.command) <= _LONGEST):
            yield _Command("  " + printable(lack.command), style="cyan")
        elif lack.command:
            yield Text(f"  its command has {len(lack.command):,} characters: --full prints it")
    if not full and len(lacks) > 1:
        yield _one_line("and " + "; ".join(lack.text for lack in lacks[1:]))


def _one_line(text: str) -> Padding:
    # Not as a Text of its own: printing it would drop how it is to be cut.
    line = Text(printable(text), no_wrap=True, overflow="ellipsis")
    return Padding(line, (0, 0, 0, 2))


def _below(run: RunReport, cells: Set[Cell] | None, *, most: int) -> Iterator[RenderableType]:
    """All that follows what differs, in short.

    Args:
        most: summaries, at most; without any, 0 puts the figures in one line.
    """
    published = run.verified.run.study.published
    yield from _missing(run, full=False)
    yield _heading(rows.heading(rows.FINDINGS, run.verified.run))
    yield _claims(run.verified.claims, head(run.verified).evidence, own=not published)
    yield from _summaries(run.summaries[:most])
    yield from _numbers(run)
    if run.summaries:
        left = len(run.summaries) - most
        more = f"{counted(left, 'more panel')}, " if left else ""
        yield Text(f"{more}all cells and comparisons: the same command with --full", style="dim")
        return
    yield _heading(rows.heading(rows.BESIDE, run.verified.run))
    known = [row for row in rows.figure_rows(run, cells) if row.run]
    if not published and most:
        yield from figure_lines(run, cells)
    elif not most or not known:
        count = sum(row.run for row in known)
        yield Text(f"  {counted(count, 'point')} in {counted(len(known), 'figure')}: --full")
    else:
        made = table("figure", "points", "paper", "ours", "largest difference")
        for row in known:
            points = str(row.run) if row.run == row.points else f"{row.run} of {row.points}"
            values = (f"{row.paper:.3f}", f"{row.ours:.3f} {words.signed(row.difference)}")
            made.add_row(row.figure, points, *values, row.largest)
        yield made
    yield Text("All cells, comparisons and points: the same command with --full", style="dim")


def _summaries(shown: Sequence[SummaryReport]) -> Iterator[RenderableType]:
    """Curves and matrices; nothing without any."""
    if shown:
        yield _heading(rows.ANSWER)
        yield Text(READ)
    for summary in shown:
        yield from summary_lines(summary, 80)


def _answer(answer: Answer, evidence: bool) -> Text:
    """An answer on a finding; without colour where it is none on the paper."""
    return Text(answer.value, style=STYLE[answer] if evidence else "")


def _claims(claims: Sequence[ClaimVerdict], evidence: bool, *, own: bool) -> Table:
    """A line a finding: how many of the comparisons that decided it hold, and where it fails.

    "noticed": the smallest true mean effect that would have been shown in nine of ten runs. A
    study of one's own has the effect of the comparison that decided first.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("", width=3)
    made.add_column("finding", width=28, no_wrap=True)
    made.add_column("answer", width=12, no_wrap=True)
    # The one that gives way.
    made.add_column("effect, 95 % interval" if own else "comparisons that hold", no_wrap=False)
    made.add_column("noticed", width=7, no_wrap=True)
    for claim in claims:
        told = words.decided_by(claim)
        if own and claim.mean is not None:
            told = f"{words.signed(claim.mean.effect)}{words.between(claim.mean.interval)}, {told}"
        decided = Text(printable(told), no_wrap=True, overflow="ellipsis")
        noticed = words.noticed_effect(claim.mean)
        made.add_row(
            claim.claim.id,
            claim.claim.title,
            _answer(claim.verdict, evidence),
            decided,
            "" if noticed is None else f"{noticed:.3f}",
        )
    return made


def _whole_claim(verdict: ClaimVerdict, evidence: bool) -> Iterator[RenderableType]:
    """A finding with all of its comparisons."""
    line = Text(f"{verdict.claim.id:<4} ", style="bold")
    line.append_text(_answer(verdict.verdict, evidence))
    unpaired = "" if verdict.paired else " (rows not paired: samples are missing)"
    line.append(f"  {verdict.claim.finding}{unpaired}", style="not bold")
    yield line
    if verdict.verdict is Answer.NOT_RUN:
        return  # the reason would only be repeated for each comparison
    for item in verdict.contrasts:
        shown = "beyond it" if item.contrast.beyond else item.verdict.value
        yield _indented(f"{shown}: {words.contrast_text(item)}", by=5, style="dim")


def _numbers(run: RunReport) -> Iterator[RenderableType]:
    yield _heading(rows.NUMBERS)
    levels = rows.level_rows(run.verified)
    if not levels:
        yield Text("  not compared")
        return
    made = table("", "how they came out", "noticed from")
    made.padding = (0, 2, 0, 0)
    for row in levels:
        level = f" ({row.level})" if row.level else ""
        made.add_row(row.what + level, Text(row.outcome, style=STYLE[row.worst]), row.noticed)
    yield made


def _survival(verification: Verification) -> Table:
    """Each claim under each protocol that was run."""
    runs = [(run.run.name, head(run).evidence) for run in verification.runs]
    title = "\nDo the findings survive correction?"
    made = table("", *(printable(name) for name, _ in runs), title=title, wrap=True)
    for claim, found in verification.survival:
        verdicts = dict(found)
        made.add_row(claim, *(_answer(verdicts.get(n, Answer.NOT_RUN), own) for n, own in runs))
    return made
