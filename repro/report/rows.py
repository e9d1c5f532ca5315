"""The rows that all faces show: what differs, what is missing, numbers, the paper's beside ours.

A face decides how many of them it shows and how they look, never what they say.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

from repro.printable import counted
from repro.report import words
from repro.report.model import RunReport
from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.verify.fingerprint import FactCheck, subjects
from repro.verify.rerun import Lack, asked_seeds, command_for
from repro.verify.verdicts import Level, NumberVerdict, Verdict, worst
from repro.verify.verification import RunVerification, without_samples

DIFFERS = "What differs"
MISSING = "What is missing"
FINDINGS = "Do the paper's findings hold in this run?"
NUMBERS = "Do the numbers reproduce?"
ANSWER = "The answer at a glance"
BESIDE = "The paper's numbers beside this run's"
_OWN = {FINDINGS: "Do the study's claims hold in this run?", BESIDE: "This run's numbers"}

_GROUPS = ("run", "figure", "fine-tune")


def heading(section: str, run: Run) -> str:
    """The heading of a section, which speaks of the paper only where the study is the paper's."""
    return section if run.study.published else _OWN.get(section, section)


class Item(NamedTuple):
    """Something that differs.

    Attributes:
        kind: "facts", "run", "figure", "fine-tune", "cell", "point" or "finding".
        text: what differs and by how much.
    """

    kind: str
    name: str
    text: str


def failed(verified: RunVerification) -> list[Item]:
    """All that differs: facts, then the run, figures and fine-tunes, cells, points, findings."""
    bad = Verdict.NOT_REPRODUCED
    items = _facts([check for check in verified.facts if check.verdict is bad])
    for level in _GROUPS:
        groups = [g for g in verified.groups if g.level == level and g.verdict is bad]
        items += [Item(level, group.name, words.group_text(group)) for group in groups]
    items += [Item("figure", f.name, f.reason) for f in verified.figures if f.verdict is bad]
    for kind, numbers in (("cell", verified.numbers), ("point", verified.points)):
        wrong = [number for number in numbers if number.verdict is bad]
        wrong.sort(key=lambda number: -abs(number.difference or 0.0))
        items += [Item(kind, number.name, words.number_text(number)) for number in wrong]
    for claim in verified.claims if verified.claims_count else ():
        if claim.contradicts:
            text = "otherwise than in the published figures: " + "; ".join(claim.contradicts)
            items.append(Item("finding", claim.claim.id, text))
    return items


def _facts(wrong: Iterable[FactCheck]) -> list[Item]:
    """Fine-tunes of which the same facts differ are one item."""
    by_subject: dict[str, list[FactCheck]] = {}
    for check in wrong:
        by_subject.setdefault(check.subject, []).append(check)
    alike: dict[tuple[str, ...], list[str]] = {}
    for subject, checks in by_subject.items():
        alike.setdefault(tuple(check.fact for check in checks), []).append(subject)
    items = []
    for first, *others in alike.values():
        name = first + (f" and {len(others)} more" if others else "")
        items.append(Item("facts", name, "; ".join(map(words.fact_text, by_subject[first]))))
    return items


def turns(items: Sequence[Item]) -> list[int]:
    """Places of items by turns: the first of each kind, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turn = []
    for item in items:
        turn.append(seen[item.kind])
        seen[item.kind] += 1
    return sorted(range(len(items)), key=turn.__getitem__)


def chosen(items: Sequence[Item], count: int) -> list[Item]:
    """Some of the items, in their order: of each kind the first, before any second."""
    return [items[place] for place in sorted(turns(items)[:count])]


def missing(verified: RunVerification) -> list[Lack]:
    """All that is missing, each with the command that runs or records it."""
    run = verified.run
    found: list[Lack] = []

    def lack(text: str, cells: Iterable[Cell], seeds: Sequence[int] | None = None) -> None:
        own = tuple(dict.fromkeys(cells))
        command = command_for(run, own, seeds) if own else ""
        found.append(Lack(text=text, cells=own, command=command))

    if cells := verified.not_run:
        lack(f"{counted(len(cells), 'cell')} not run", cells)
    if short := verified.short:
        cell, (n, wanted) = next(iter(short.items()))
        such = f"{n} of {wanted} rows of {cell.name}"
        lack(f"rows of {counted(len(short), 'cell')}, such as {such}", short)
    if bare := without_samples(run, [number.cell for number in verified.numbers]):
        lack(f"samples files of {counted(len(bare), 'cell')}, such as {bare[0].name}", bare)
    lost = [seed for seed in asked_seeds(run) if seed not in run.seeds]
    if lost and verified.fewer:
        text = f"seed{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
        lack(text, run.asked or run.by_cell, lost)
    if names := subjects(verified.facts, Verdict.NOT_RUN):
        first = next(check for check in verified.facts if check.verdict is Verdict.NOT_RUN)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        # Running its cells again tells the facts of a fine-tune again.
        untold = (
            cell
            for cell, seed in run.cells
            if "the run" in names or f"{cell.variant.name} seed {seed}" in names
        )
        lack(f"facts on {', '.join(names[:3])}{more}, such as {words.fact_text(first)}", untold)
    if undecided := [n for n in verified.numbers if n.verdict is Verdict.INCONCLUSIVE]:
        text = f"what would decide {counted(len(undecided), 'cell')}, such as "
        text += f"{undecided[0].name}: {words.number_text(undecided[0])}"
        found.append(Lack(text=text, cells=tuple(number.cell for number in undecided)))
    if silent := verified.untold:
        rest = (cell for claim in silent for cell in run.study.claim_cells(claim.claim))
        lack(f"what {', '.join(claim.claim.id for claim in silent)} rest on", rest)
    if verified.reference is not None and not verified.judged:
        own = counted(len(run.by_cell), "cell")
        found.append(Lack(text=f"stored values of {own}: the reference has none of them"))
    if verified.reference is None and not verified.points:
        text = "a stored reference for this kind of run: name one with --expected, or keep "
        text += "trusted runs as one"
        command = f"repro expected record {shlex.quote(str(run.folder))} --out NEW_FOLDER"
        found.append(Lack(text=text, command=command))
    return found


@dataclass(frozen=True)
class LevelRow:
    """How facts, groups, or the cells or points of a level came out.

    Attributes:
        what: how many of what, in words.
        counts: how many came out how, best first, with the words for it.
        noticed: the smallest differences that would have been noticed, in words.
    """

    what: str
    level: Level | None
    counts: tuple[tuple[int, Verdict, str], ...]
    noticed: str

    @property
    def worst(self) -> Verdict:
        return worst(verdict for _, verdict, _ in self.counts)

    @property
    def outcome(self) -> str:
        """How they came out, in words; a number only where they did not all come out alike."""
        if len(self.counts) == 1:
            return self.counts[0][2]
        brief = words.BRIEFLY
        if self.level is Level.L3:
            brief = brief | {Verdict.CONSISTENT: "not different"}
        return ", ".join(f"{count} {brief[verdict]}" for count, verdict, _ in self.counts)


def level_rows(verified: RunVerification) -> list[LevelRow]:
    """Facts, then groups from large to small, cells by level, and points."""
    rows: list[LevelRow] = []

    def add(what: str, level: Level | None, verdicts: Sequence[Verdict], noticed: str) -> None:
        found = Counter(verdicts)
        counts = tuple((found[v], v, words.outcome(v, level)) for v in Verdict if found[v])
        if counts:
            rows.append(LevelRow(what, level, counts, noticed))

    def add_numbers(numbers: Sequence[NumberVerdict], what: str) -> None:
        for level in (*Level, None):
            own = [number for number in numbers if number.level is level]
            verdicts = [number.verdict for number in own]
            add(counted(len(own), what), level, verdicts, _noticed(own, level))

    facts, figures = verified.facts, verified.figures
    add(counted(len(facts), "training fact"), None, [check.verdict for check in facts], "any")
    for level in _GROUPS:
        by_name: dict[str, list[Verdict]] = {}
        groups = [group for group in verified.groups if group.level == level]
        for group in groups:
            by_name.setdefault(group.name, []).append(group.verdict)
        what = "the whole run" if level == "run" else counted(len(by_name), level)
        noticed = _range([group.noticed for group in groups if group.what.startswith("mean")])
        add(what, Level.L2, list(map(worst, by_name.values())), noticed)
    add_numbers(verified.numbers, "cell")
    noticed = _range([figure.noticed for figure in figures])
    what = counted(len(figures), "figure mean")
    add(what, Level.L3, [figure.verdict for figure in figures], noticed)
    add_numbers(verified.points, "plotted point")
    return rows


def _noticed(numbers: Sequence[NumberVerdict], level: Level | None) -> str:
    if level in (Level.L0, Level.L1):
        return " or ".join(filter(None, sorted(set(map(words.noticed_text, numbers)))))
    return _range([v for n in numbers if (v := words.noticed_of(n)) is not None])


def _range(values: Sequence[float]) -> str:
    """`0.034 (0.012 to 0.090)`: the median, least and largest; empty for none."""
    if not values:
        return ""
    low, high = words.size_text(min(values)), words.size_text(max(values))
    return low if low == high else f"{words.size_text(median(values))} ({low} to {high})"


class FigureRow(NamedTuple):
    """A figure's points: the paper's values beside ours.

    Attributes:
        paper, ours: means over the points that were run; None where none was.
        largest: the point that is farthest from the paper's, in words.
    """

    figure: str
    points: int
    run: int
    paper: float | None
    ours: float | None
    difference: float | None
    largest: str


def figure_rows(run: RunReport, cells: Set[Cell] | None = None) -> Iterator[FigureRow]:
    """A row a figure.

    Args:
        cells: count only points that rest on one of these.
    """
    for figure in run.verified.run.study.figures:
        points = [p for panel in run.of_figure(figure) for p in panel.points if p.rests_on(cells)]
        known = [item for item in points if item.ours is not None]
        values = [item.ours for item in known if item.ours is not None]
        published = [item.paper for item in known if item.paper is not None]
        ours = fmean(values) if values else None
        paper = fmean(published) if known and len(published) == len(known) else None
        difference = None if ours is None or paper is None else ours - paper
        far = max(known, key=lambda item: abs(item.difference or 0.0), default=None)
        largest = ""
        if far is not None and far.difference is not None:
            place = f"{figure}{far.point.panel} {far.series}, {far.shots_text}"
            largest = f"{far.difference:+.3f} at {place}"
        yield FigureRow(figure, len(points), len(known), paper, ours, difference, largest)
