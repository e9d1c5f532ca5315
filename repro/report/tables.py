"""Tables of `repro claims`, `repro compare` and `repro expected`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from repro.printable import counted, printable
from repro.report.figures import STYLE
from repro.report.model import FOLLOWS
from repro.report.summaries import DEPARTED_HEADS, DEPARTED_READ, departures
from repro.report.words import number_text, outcome, seeds_text
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer, ContrastVerdict
from repro.verify.findings import paper_verdicts
from repro.verify.published import load_paper
from repro.verify.reference import Reference
from repro.verify.verdicts import Level, NumberVerdict, Verdict

_SHOWN = 12
"""Cells listed one by one, at most; counts stand for the rest."""


def table(*columns: str, title: str = "", wrap: bool = False) -> Table:
    """A table without lines around it; `wrap` lets all columns wrap, not only long texts."""
    long = columns if wrap else ("what", "finding", "how they came out")
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, no_wrap=name not in long)
    return made


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values, a line each."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column()
    for name, value in rows:
        made.add_row(name, Text(printable(value)))
    return made


def departures_table(run: Run) -> Table:
    """How far fine-tunes went from the base."""
    made = table(*DEPARTED_HEADS)
    made.caption, made.caption_justify = DEPARTED_READ, "left"
    for row in departures(run):
        made.add_row(*row.texts)
    return made


def paper_parts() -> Iterator[RenderableType]:
    """Does each finding follow from the figures as printed? And numbers of the text that do not."""
    title = "Do the findings follow from the published figures?"
    made = table("", "finding", "from its figures", title=title)

    def row(name: str, what: str, items: Iterable[ContrastVerdict], answer: Answer) -> None:
        counts = "; ".join(f"{i.mean.right_count} of {i.mean.total}" for i in items if i.mean)
        made.add_row(name, f"{what} ({counts})", Text(FOLLOWS[answer], style=STYLE[answer]))

    for verdict in paper_verdicts():
        row(verdict.claim.id, verdict.claim.finding, verdict.own, verdict.verdict)
        for item in verdict.contrasts:
            if item.contrast.beyond:
                row("", f"not claimed: {item.contrast.name}", [item], item.verdict)
    yield made
    for stated, shown, twin in load_paper().text_conflicts:
        figure, panel, series, _ = shown.key
        line = f"The text says {stated.value} ({stated.id}); Figure {figure}({panel}) {series} "
        line += f"shows {shown.value}"
        yield line + (f", and {stated.value} is its {twin[2]} value." if twin else ".")


def reference_parts(reference: Reference) -> Iterator[RenderableType]:
    """What a reference folder holds."""
    run = reference.run
    rows = sum(result.n for result in run.cells.values())
    counts = (("cells", f"{len(run.by_cell)}"), ("results", f"{len(run.cells)}, with {rows} rows"))
    yield pairs((*facts(run), *counts))
    title = "Spread over seeds, by test set"
    spread = table("test set", "cells", "mean", "sd over seeds", title=title)
    for name, dataset in run.study.datasets.items():
        groups = [
            [result.value for result in by_seed.values()]
            for cell, by_seed in run.by_cell.items()
            if cell.dataset == name
        ]
        if groups:
            mean = sum(map(sum, groups)) / sum(map(len, groups))
            spread.add_row(dataset.printed, str(len(groups)), f"{mean:.3f}", _pooled(groups))
    yield spread


def _pooled(groups: Sequence[Sequence[float]]) -> str:
    """The pooled standard deviation within groups; empty where no group has two values."""
    free = sum(len(values) - 1 for values in groups)
    squares = sum((value - fmean(values)) ** 2 for values in groups for value in values)
    return f"{(squares / free) ** 0.5:.3f}" if free else ""


_LISTED = 3
"""Items of a list that differences show."""


def differences(a: Run, b: Run) -> Table | None:
    """What differs between the identities of two runs; None if nothing does."""
    made = table("what", "A", "B", title="What differs between the runs", wrap=True)
    for row in _differing("", dict(a.record), dict(b.record)):
        if row[0].split(".")[0] != "source":
            made.add_row(*(Text(printable(text)) for text in row))
    return made if made.row_count else None


def _differing(prefix: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{name}".lstrip("."), a.get(name), b.get(name))
    elif a != b:
        yield prefix, _plain(a), _plain(b)


def _plain(value: Any) -> Any:
    """Lists as people write them, long ones cut."""
    if not isinstance(value, list):
        return value
    more = len(value) - _LISTED
    return ", ".join(map(str, value[:_LISTED])) + (f" and {more} more" if more > 0 else "")


def facts(run: Run) -> Iterator[tuple[str, str]]:
    """What a run is: names and values, not yet made printable."""
    changed = ", ".join(f"{name}={value}" for name, value in run.overrides.items())
    if run.study.published:
        yield "paper", "arXiv 2403.09162, NAACL 2024"
    else:
        yield "study", f"{run.study.name}: {run.study.question}"
    yield "profile", run.profile
    yield "protocol", run.protocol + (f" ({changed})" if changed else "")
    if "trained" in run.identity:
        yield "trained", str(run.identity["trained"])
    yield "seeds", seeds_text(run.seeds)
    machine, versions = run.record.get("machine"), run.record.get("versions")
    if isinstance(machine, dict):
        yield (
            "machine",
            ", ".join(str(_plain(machine[k])) for k in ("cpu", "gpus") if machine.get(k)),
        )
    if isinstance(versions, dict):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "lock", str(run.record.get("lock_sha256") or "unknown")


def numbers_table(numbers: Sequence[NumberVerdict], title: str) -> Table:
    """Counts by level and verdict, then the cells that do not pass."""
    made = table("cells", "what", title=title)
    counts = Counter((number.level, number.verdict) for number in numbers)
    for (level, verdict), count in sorted(counts.items(), key=str):
        name = f" ({level}, {level.meaning})" if isinstance(level, Level) else ""
        made.add_row(str(count), Text(outcome(verdict, level) + name, style=STYLE[verdict]))
    order = list(Verdict)
    wrong = [number for number in numbers if not number.verdict.passes]
    wrong.sort(key=lambda number: -order.index(number.verdict))
    for number in wrong[:_SHOWN]:
        text = f"{number.verdict}: {number.name}: {number_text(number)}"
        made.add_row("", Text(printable(text)))
    if len(wrong) > _SHOWN:
        made.add_row("", f"... and {counted(len(wrong) - _SHOWN, 'more cell')}")
    return made
