"""The rows that all faces show: what differs, what is missing, findings, numbers, the paper's.

A face decides how many of them it shows and how they look, never what they say.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from repro.printable import counted
from repro.report.words import (
    briefly,
    contrast_text,
    decided_by,
    fact_text,
    group_text,
    noticed_effect,
    noticed_of,
    noticed_text,
    number_text,
    outcome,
    size_text,
)
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.fingerprint import FactCheck
from repro.verify.rerun import Lack, asked_seeds, command_for
from repro.verify.statistics import Interval
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict, worst
from repro.verify.verification import RunVerification, without_samples

DIFFERS = "What differs"
MISSING = "What is missing"
FINDINGS = "Do the paper's findings hold in this run?"
NUMBERS = "Do the numbers reproduce?"
ANSWER = "The answer at a glance"
BESIDE = "The paper's numbers beside this run's"
_OWN = {FINDINGS: "Do the study's claims hold in this run?", BESIDE: "This run's numbers"}


def heading(section: str, run: Run) -> str:
    """The heading of a section, which speaks of the paper only where the study is the paper's."""
    return section if run.study.published else _OWN.get(section, section)


_GROUPS = ("run", "figure", "fine-tune")


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that differs.

    Attributes:
        kind: "facts", "run", "figure", "fine-tune", "cell", "point" or "finding".
        text: what differs and by how much.
    """

    kind: str
    name: str
    text: str


def failed(verified: RunVerification) -> tuple[Item, ...]:
    """All that differs: facts, then the run, figures and fine-tunes, cells, points, findings."""
    return (*_facts(verified), *_groups(verified), *_numbers(verified), *_claims(verified))


def chosen(items: Sequence[Item], count: int) -> tuple[Item, ...]:
    """Some of the items, in their order: of each kind the first, before any second."""
    return tuple(items[place] for place in sorted(turns(items)[:count]))


def turns(items: Sequence[Item]) -> list[int]:
    """Places of items by turns: the first of each kind, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, item in enumerate(items):
        seen[item.kind] += 1
        ranked.append((seen[item.kind], place))
    return [place for _, place in sorted(ranked)]


def _facts(verified: RunVerification) -> Iterator[Item]:
    """Fine-tunes of which the same facts differ are one item."""
    by_subject: dict[str, list[FactCheck]] = {}
    for check in verified.facts:
        if check.verdict is Verdict.NOT_REPRODUCED:
            by_subject.setdefault(check.subject, []).append(check)
    alike: dict[tuple[str, ...], list[str]] = {}
    for subject, checks in by_subject.items():
        alike.setdefault(tuple(check.fact for check in checks), []).append(subject)
    for subjects in alike.values():
        name = subjects[0]
        if len(subjects) > 1:
            name += f" and {len(subjects) - 1} more"
        text = "; ".join(fact_text(check) for check in by_subject[subjects[0]])
        yield Item(kind="facts", name=name, text=text)


def _groups(verified: RunVerification) -> Iterator[Item]:
    for level in _GROUPS:
        for group in verified.groups:
            if group.level == level and group.verdict is Verdict.NOT_REPRODUCED:
                yield Item(kind=level, name=group.name, text=group_text(group))


def _numbers(verified: RunVerification) -> Iterator[Item]:
    for figure in verified.figures:
        if figure.verdict is Verdict.NOT_REPRODUCED:
            yield Item(kind="figure", name=figure.name, text=figure.reason)

    def size(number: NumberVerdict) -> float:
        return -abs(number.difference or 0.0)

    for kind, numbers in (("cell", verified.numbers), ("point", verified.points)):
        wrong = [n for n in numbers if n.verdict is Verdict.NOT_REPRODUCED]
        for number in sorted(wrong, key=size):
            yield Item(kind=kind, name=number.name, text=number_text(number))


def _claims(verified: RunVerification) -> Iterator[Item]:
    for claim in verified.claims if verified.claims_count else ():
        if claim.contradicts:
            text = "otherwise than in the published figures: " + "; ".join(claim.contradicts)
            yield Item(kind="finding", name=claim.claim.id, text=text)


def missing(verified: RunVerification) -> tuple[Lack, ...]:
    """All that is missing, each with the command that runs or records it."""
    return tuple(_lacks(verified))


def _lacks(verified: RunVerification) -> Iterator[Lack]:
    run = verified.run
    if verified.not_run:
        cells = verified.not_run
        what = counted(len(cells), "cell")
        yield Lack(
            text=f"{what} not run", cells=cells, command=command_for(run, cells)
        )  # fmt: skip
    if verified.short:
        cell, (n, wanted) = next(iter(verified.short.items()))
        yield Lack(
            text=f"rows of {counted(len(verified.short), 'cell')}, such as {n} of {wanted} rows of "
            f"{cell.name}",
            cells=tuple(verified.short),
            command=command_for(run, tuple(verified.short)),
        )
    bare = without_samples(run, [number.cell for number in verified.numbers])
    if bare:
        yield Lack(
            text=f"samples files of {counted(len(bare), 'cell')}, such as {bare[0].name}",
            cells=bare,
            command=command_for(run, bare),
        )
    lost = [seed for seed in asked_seeds(run) if seed not in run.seeds]
    if lost and verified.fewer:
        cells = tuple(run.asked or run.by_cell)
        yield Lack(
            text=f"seed{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}",
            cells=cells,
            command=command_for(run, cells, lost),
        )
    yield from _untold(verified)
    undecided = [n for n in verified.numbers if n.verdict is Verdict.INCONCLUSIVE]
    if undecided:
        yield Lack(
            text=f"what would decide {counted(len(undecided), 'cell')}, such as "
            f"{undecided[0].name}: {number_text(undecided[0])}",
            cells=tuple(number.cell for number in undecided),
        )
    if verified.reference is None and not verified.points:
        yield Lack(
            text="a stored reference for this kind of run: name one with --expected, or keep "
            "trusted runs as one",
            command=f"repro expected record {command_folder(run)} --out NEW_FOLDER",
        )


def command_folder(run: Run) -> str:
    """The results folder as a word of a command."""
    return command_for(run, ()).rsplit(" --out ", 1)[-1]


def _untold(verified: RunVerification) -> Iterator[Lack]:
    """Facts that the run does not tell; running its cells again writes them again."""
    run = verified.run
    untold = [check for check in verified.facts if check.verdict is Verdict.NOT_RUN]
    if not untold:
        return
    names = list(dict.fromkeys(check.subject for check in untold))
    cells = tuple(
        cell
        for cell, seed in run.cells
        if "the run" in names or f"{cell.variant.name} seed {seed}" in names
    )
    yield Lack(
        text=f"facts on {', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}, "
        f"such as {fact_text(untold[0])}",
        cells=tuple(dict.fromkeys(cells)),
        command=command_for(run, tuple(dict.fromkeys(cells))) if cells else "",
    )


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """A finding in a line.

    Attributes:
        decided: what decided, short; reason: in full, with the comparison's name.
        effect, interval, paper: of the comparison that decided.
        noticed: the smallest true effect that it would have shown.
        power: its chance to be shown, if the truth were the published numbers.
    """

    id: str
    title: str
    finding: str
    answer: Answer
    decided: str
    reason: str
    effect: float | None
    interval: Interval | None
    paper: float | None
    noticed: float | None
    power: float | None


def claim_rows(claims: Sequence[ClaimVerdict]) -> tuple[ClaimRow, ...]:
    """A row a finding, in the paper's order."""
    return tuple(_claim_row(claim) for claim in claims)


def _claim_row(claim: ClaimVerdict) -> ClaimRow:
    item = claim.headline
    mean = item.mean if item else None
    return ClaimRow(
        id=claim.claim.id,
        title=claim.claim.title,
        finding=claim.claim.finding,
        answer=claim.verdict,
        decided=decided_by(claim),
        reason=contrast_text(item) if item else claim.reason,
        effect=mean.effect if mean else None,
        interval=mean.interval if mean else None,
        paper=item.paper_effect if item else None,
        noticed=noticed_effect(mean),
        power=item.power if item else None,
    )


@dataclass(frozen=True, kw_only=True)
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
        return ", ".join(f"{count} {briefly(v, self.level)}" for count, v, _ in self.counts)


def level_rows(verified: RunVerification) -> tuple[LevelRow, ...]:
    """Facts, then groups from large to small, cells by level, and points."""
    return (*_fact_rows(verified), *_group_rows(verified), *_number_rows(verified))


def _counts(
    verdicts: Sequence[Verdict], level: Level | None
) -> tuple[tuple[int, Verdict, str], ...]:
    found = Counter(verdicts)
    return tuple((found[v], v, outcome(v, level)) for v in Verdict if found[v])


def _fact_rows(verified: RunVerification) -> Iterator[LevelRow]:
    if verified.facts:
        yield LevelRow(
            what=counted(len(verified.facts), "training fact"),
            level=None,
            counts=_counts([check.verdict for check in verified.facts], None),
            noticed="any",
        )


def _group_rows(verified: RunVerification) -> Iterator[LevelRow]:
    for level in _GROUPS:
        by_name: dict[str, list[GroupVerdict]] = {}
        for group in verified.groups:
            if group.level == level:
                by_name.setdefault(group.name, []).append(group)
        if by_name:
            every = [group for own in by_name.values() for group in own]
            scores = [group.noticed for group in every if group.what.startswith("mean")]
            yield LevelRow(
                what="the whole run" if level == "run" else counted(len(by_name), level),
                level=Level.L2,
                counts=_counts(
                    [worst(g.verdict for g in own) for own in by_name.values()], Level.L2
                ),
                noticed=_range(scores),
            )


def _number_rows(verified: RunVerification) -> Iterator[LevelRow]:
    for numbers, what in ((verified.numbers, "cell"), (verified.points, "plotted point")):
        if what != "cell" and verified.figures:
            yield LevelRow(
                what=counted(len(verified.figures), "figure mean"),
                level=Level.L3,
                counts=_counts([figure.verdict for figure in verified.figures], Level.L3),
                noticed=_range([figure.noticed for figure in verified.figures]),
            )
        for level in (*Level, None):
            own = [number for number in numbers if number.level is level]
            if own:
                yield LevelRow(
                    what=counted(len(own), what),
                    level=level,
                    counts=_counts([number.verdict for number in own], level),
                    noticed=_noticed(own),
                )


def _noticed(numbers: Sequence[NumberVerdict]) -> str:
    if numbers[0].level in (Level.L0, Level.L1):
        texts = sorted({noticed_text(number) for number in numbers})
        return " or ".join(filter(None, texts))
    return _range([v for n in numbers if (v := noticed_of(n)) is not None])


def _range(values: Sequence[float]) -> str:
    """`0.034 (0.012 to 0.090)`: the median, least and largest; empty for none."""
    if not values:
        return ""
    low, high = size_text(min(values)), size_text(max(values))
    return low if low == high else f"{size_text(median(values))} ({low} to {high})"
