"""The figures as text: the paper's value over ours, the difference, and a mark for the verdict."""

from collections.abc import Iterator, Sequence, Set

from rich.text import Text

from repro.printable import counted
from repro.report.model import Plotted, RunReport
from repro.spec.cells import Cell
from repro.spec.points import BEST
from repro.verify.claimverdicts import Answer
from repro.verify.verdicts import Verdict

MARKS = {Verdict.INCONCLUSIVE: "?", Verdict.NOT_REPRODUCED: "X", Verdict.NOT_RUN: "-"}
"""Only what does not pass is marked."""
STYLE: dict[Verdict | Answer, str] = {
    Verdict.REPRODUCED: "green",
    Verdict.CONSISTENT: "cyan",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_REPRODUCED: "bold red",
    Verdict.NOT_RUN: "dim",
    Answer.HOLDS: "green",
    Answer.AGREES: "cyan",
    Answer.CANNOT_TELL: "yellow",
    Answer.PARTLY: "yellow",
    Answer.FAILS: "bold red",
}
LABEL, KIND, CELL = 10, 7, 15
"""Widths in columns: a series' name, "paper" or "ours", and a point; four points fit into 80."""
Series = Sequence[Sequence[Plotted]]


def legend(run: RunReport) -> Text:
    """What differences and marks say about this run."""
    text = "Below the paper's number ours, and ours - paper"
    text += "." if run.verified.points else ", which is no test on another model."
    if not any(item.numbers for item in run.points):
        return Text(text + " There is nothing to hold these numbers against.")
    against = "the paper's" if run.verified.points else "the stored run's"
    return Text(
        f"{text} Marked is what does not pass against {against}: X different, ? not to be decided, "
        "- missing."
    )


def figure_lines(run: RunReport, cells: Set[Cell] | None = None) -> Iterator[Text]:
    """All figures of a run, a line at a time; panels of which nothing was run are named only.

    Args:
        cells: show only points that rest on one of these.
    """
    empty = []
    for figure in run.verified.run.study.figures:
        titled = False
        for panel in run.of_figure(figure):
            series = [[p for p in own if p.rests_on(cells)] for own in panel.series.values()]
            shown = [own for own in series if any(item.ours is not None for item in own)]
            if not shown:
                empty.append(panel.name)
                continue
            if not titled:
                yield Text(f"\nFigure {figure}", style="bold")
                titled = True
            title = f"{panel.title}, {panel.panel.metric}"
            if not run.verified.run.study.published:
                yield Text(f"{title}, [95 % interval]")
                yield from _own_lines(shown)
            else:
                yield Text(title)
                yield from _bars(shown) if panel.panel.train else _lines(shown)
    if empty and cells is None:
        yield Text(f"\nPanels of which nothing was run: {', '.join(empty)}")


def _lines(shown: Series) -> Iterator[Text]:
    """A line panel: a row a series, a column a shot count."""
    shots = sorted({int(item.point.shots) for own in shown for item in own})
    heads = "".join(f"{counted(count, 'shot'):<{CELL}}" for count in shots)
    yield Text(" " * (LABEL + KIND) + heads.rstrip(), style="dim")
    for own in shown:
        by_shots = {item.point.shots: item for item in own}
        paper = Text(f"  {own[0].series:<{LABEL - 2}}{'paper':<{KIND}}")
        ours = Text(f"{'':<{LABEL}}{'ours':<{KIND}}")
        for count in shots:
            item = by_shots.get(count)
            above = f"{item.paper:.3f}" if item and item.paper is not None else ""
            paper.append(f"{above:<{CELL}}")
            ours.append_text(_ours(item))
        for line in (paper, ours):
            line.rstrip()
            yield line


def _own_lines(shown: Series) -> Iterator[Text]:
    """A panel of a study without published numbers: values with their 95 % intervals."""
    for own in shown:
        values = [
            f"{item.shots_text}: {item.ours:.3f} "
            f"[{item.interval.low:.3f}, {item.interval.high:.3f}]"
            for item in own
            if item.ours is not None and item.interval is not None
        ]
        yield Text(f"  {own[0].series}")
        yield Text(f"    {'; '.join(values)}")


def _bars(shown: Series) -> Iterator[Text]:
    """A bar panel: a row a bar."""
    for item in (item for own in shown for item in own):
        row = Text(f"  {item.series:<{LABEL - 2}}paper {item.paper:.3f}  ours ")
        row.append_text(_ours(item))
        if item.point.shots == BEST and item.chosen:
            row.append(f" best with {item.chosen_text}", style="dim")
        row.rstrip()
        yield row


def _ours(item: Plotted | None) -> Text:
    """Our value, the difference and the mark, as wide as a column."""
    text = Text()
    if item is not None and item.ours is not None:
        text.append(f"{item.ours:.3f} {item.difference:+.3f} ")
    if item is not None and item.verdict is not None:
        text.append(MARKS.get(item.verdict, ""), style=STYLE[item.verdict])
    text.pad_right(CELL - len(text))
    return text
