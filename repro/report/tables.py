"""Tables of `repro claims`, `repro compare` and `repro expected`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from repro.printable import counted, printable
from repro.report.departures import HEADS, READ, departures
from repro.report.figures import STYLE
from repro.report.model import FOLLOWS
from repro.report.words import number_text, outcome, seeds_text
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer, ContrastVerdict
from repro.verify.findings import paper_verdicts
from repro.verify.published import load_paper
from repro.verify.reference import Reference
from repro.verify.verdicts import Level, NumberVerdict, Verdict

_SHOWN = 12
"""Cells listed one by one, at most; counts stand for the rest."""


def table(*columns: str, title: str = "") -> Table:
    """A table without lines around it."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, no_wrap=name not in ("what", "finding"))
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
    made = table(*HEADS)
    made.caption, made.caption_justify = READ, "left"
    for row in departures(run):
        made.add_row(*row.texts)
    return made


def paper_table() -> Table:
    """Does each finding follow from the figures as printed?"""
    title = "Do the findings follow from the published figures?"
    made = table("", "finding", "from its figures", title=title)

    def row(name: str, what: str, items: Iterable[ContrastVerdict], answer: Answer) -> None:
        counts = "; ".join(f"{i.mean.right_count} of {i.mean.total}" for i in items if i.mean)
        made.add_row(name, f"{what} ({counts})", Text(FOLLOWS[answer], style=STYLE[answer]))

    for verdict in paper_verdicts():
        own = [item for item in verdict.contrasts if not item.contrast.beyond]
        row(verdict.claim.id, verdict.claim.finding, own, verdict.verdict)
        for item in verdict.contrasts:
            if item.contrast.beyond:
                row("", f"not claimed: {item.contrast.name}", [item], item.verdict)
    return made


def text_conflicts() -> Iterator[str]:
    """Numbers of the paper's text that its figures do not bear out."""
    for stated, shown, twin in load_paper().text_conflicts:
        figure, panel, series, _ = shown.key
        line = f"The text says {stated.value} ({stated.id}); Figure {figure}({panel}) {series} "
        line += f"shows {shown.value}"
        yield line + (f", and {stated.value} is its {twin[2]} value." if twin else ".")


def reference_parts(reference: Reference) -> Iterator[RenderableType]:
    """What a reference folder holds."""
    run = reference.run
    made = pairs(facts(run))
    made.add_row("cells", str(len(run.by_cell)))
    made.add_row("results", f"{len(run.cells)}, with {sum(r.n for r in run.cells.values())} rows")
    yield made
    spread = table(
        "test set", "cells", "mean", "sd over seeds", title="Spread over seeds, by test set"
    )
    for name, dataset in run.study.datasets.items():
        values: dict[str, list[float]] = {}
        for (cell, _), result in run.cells.items():
            if cell.dataset == name:
                values.setdefault(cell.name, []).append(result.value)
        if values:
            several = [v for v in values.values() if len(v) > 1]
            deviation = _pooled(several)
            spread.add_row(
                dataset.printed,
                str(len(values)),
                f"{sum(map(sum, values.values())) / sum(map(len, values.values())):.3f}",
                "" if deviation is None else f"{deviation:.3f}",
            )
    yield spread


def _pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """Pooled standard deviation within groups."""
    squares = sum(sum((x - sum(g) / len(g)) ** 2 for x in g) for g in groups)
    free = sum(len(g) - 1 for g in groups)
    return float((squares / free) ** 0.5) if free else None


def differences(a: Run, b: Run) -> Table | None:
    """What differs between the identities of two runs; None if nothing does."""
    made = table("what", "A", "B", title="What differs between the runs")
    for column in made.columns:
        column.no_wrap = False
    for name, x, y in _differing("", dict(a.record), dict(b.record)):
        if name.split(".")[0] != "source":
            made.add_row(*(Text(printable(text)) for text in (name, x, y)))
    return made if made.row_count else None


def _differing(prefix: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{name}".lstrip("."), a.get(name), b.get(name))
    elif a != b:
        yield prefix, a, b


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
        yield "machine", ", ".join(str(machine[k]) for k in ("cpu", "gpus") if machine.get(k))
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
    wrong = [n for n in numbers if not n.verdict.passes]
    order = list(Verdict)
    for number in sorted(wrong, key=lambda n: -order.index(n.verdict))[:_SHOWN]:
        text = f"{number.verdict}: {number.name}: {number_text(number)}"
        made.add_row("", Text(printable(text)))
    if len(wrong) > _SHOWN:
        made.add_row("", f"... and {counted(len(wrong) - _SHOWN, 'more cell')}")
    return made
