"""Verdicts as terminal tables: 80 columns, readable without colour and when piped."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from repro.paper.figures import PANELS
from repro.paper.tasks import DATASETS
from repro.verify.findings import paper_verdicts
from repro.verify.published import load_paper
from repro.verify.reference import Reference
from repro.verify.results import Run
from repro.verify.statistics import Interval
from repro.verify.verdicts import ClaimVerdict, ContrastVerdict, Level, NumberVerdict, Verdict
from repro.verify.verification import RunVerification, Verification, command_for

STYLE = {
    Verdict.REPRODUCED: "green",
    Verdict.CONSISTENT: "cyan",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_REPRODUCED: "bold red",
    Verdict.NOT_RUN: "dim",
}
_SHOWN = 12
"""Cells listed one by one, at most; counts stand for the rest."""


def word(verdict: Verdict) -> Text:
    """A verdict, coloured where colour is shown."""
    return Text(verdict.value, style=STYLE[verdict])


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval.low:+.3f}, {interval.high:+.3f}]"


def _table(title: str, *columns: str, caption: str = "") -> Table:
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, caption=caption or None,
        caption_justify="left",
    )  # fmt: skip
    for name in columns:
        table.add_column(name, no_wrap=name not in ("what", "finding"))
    return table


def header(verified: RunVerification) -> Table:
    """What the run is, and what it is held against."""
    run, table = verified.run, Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in _facts(run):
        table.add_row(name, value)
    if verified.reference is not None:
        stored = verified.reference
        table.add_row(
            "reference",
            f"{stored.folder.name}, seeds {_listed(stored.run.seeds)}, "
            f"{len(stored.run.cells)} results",
        )
    return table


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "paper", "arXiv 2403.09162, NAACL 2024"
    yield "run", run.name
    yield "seeds", _listed(run.seeds) or "none"
    machine, versions = run.record.get("machine"), run.record.get("versions")
    if isinstance(machine, dict):
        yield "machine", ", ".join(str(machine[k]) for k in ("cpu", "gpus") if machine.get(k))
    if isinstance(versions, dict):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    if run.record.get("lock_sha256"):
        yield "lock", str(run.record["lock_sha256"])[:16]


def _listed(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items)


def claims_table(verdicts: Sequence[ClaimVerdict], title: str) -> Table:
    """Each claim with its contrasts: verdict, effect, interval, the paper's effect."""
    table = _table(title, "", "verdict", "what")
    for verdict in verdicts:
        finding = Text(verdict.claim.finding, style="bold")
        if not verdict.paired:
            finding.append(" (rows not paired: samples are missing)")
        table.add_row(verdict.claim.id, word(verdict.verdict), finding)
        if verdict.verdict is Verdict.NOT_RUN:
            continue  # the reason would only be repeated for each comparison
        for item in verdict.contrasts:
            shown = Text("beyond it" if item.contrast.beyond else item.verdict.lower(), "dim")
            table.add_row("", shown, _contrast_text(item))
    return table


def _contrast_text(item: ContrastVerdict) -> str:
    text = f"{item.contrast.name}: "
    if item.mean is not None:
        text += _signed(item.mean.effect) + _between(item.mean.interval)
        if item.paper_effect is not None:
            text += f", paper {_signed(item.paper_effect)}"
        if item.ratio is not None:
            text += f", ratio {item.ratio:.2f}"
        text += "; "
    text += item.reason
    short = [e for e in item.by_dataset if e.right_count < e.total]
    if short and item.contrast.kind == "scores":
        text += " (" + ", ".join(f"{e.name} {e.right_count} of {e.total}" for e in short) + ")"
    if item.power is not None and item.verdict is Verdict.CONSISTENT:
        text += f"; power {item.power:.0%}"
    return text


def paper_table() -> Table:
    """Does each finding follow from the figures as printed?"""
    table = _table(
        "Do the findings follow from the published figures?", "", "finding", "from its figures"
    )
    said = {
        Verdict.REPRODUCED: "follows",
        Verdict.CONSISTENT: "agrees; n = 250 cannot show it",
        Verdict.INCONCLUSIVE: "does not follow",
        Verdict.NOT_REPRODUCED: "contradicted",
        Verdict.NOT_RUN: "no numbers",
    }
    for verdict in paper_verdicts():
        counts = "; ".join(
            f"{item.mean.right_count} of {item.mean.total}"
            for item in verdict.contrasts
            if item.mean and not item.contrast.beyond
        )
        table.add_row(
            verdict.claim.id,
            f"{verdict.claim.finding} ({counts})",
            Text(said[verdict.verdict], style=STYLE[verdict.verdict]),
        )
    return table


def text_conflicts() -> Iterator[str]:
    """Numbers of the paper's text that its figures do not bear out."""
    for stated, shown, twin in load_paper().text_conflicts:
        figure, panel, series, _ = shown.key
        line = f"The text says {stated.value} ({stated.id}); Figure {figure}({panel}) {series} "
        line += f"shows {shown.value}"
        yield line + (f", and {stated.value} is its {twin[2]} value." if twin else ".")


def numbers_table(numbers: Sequence[NumberVerdict], title: str) -> Table:
    """Counts by level and verdict, then the cells that do not pass, or fell outside."""
    table = _table(title, "cells", "verdict", "what")
    counts = Counter((number.level, number.verdict) for number in numbers)
    for (level, verdict), count in sorted(counts.items(), key=lambda item: str(item[0])):
        name = f"{level} {level.meaning}" if isinstance(level, Level) else "nothing to compare"
        table.add_row(str(count), word(verdict), name)
    wrong = [n for n in numbers if not n.verdict.passes or n.outside]
    order = list(Verdict)
    for number in sorted(wrong, key=lambda n: -order.index(n.verdict))[:_SHOWN]:
        table.add_row("", word(number.verdict), number_text(number))
    if len(wrong) > _SHOWN:
        table.add_row("", "", f"... and {len(wrong) - _SHOWN} more")
    return table


def number_text(number: NumberVerdict) -> str:
    """A verdict on a number in words."""
    text = f"{number.name}: "
    if number.ours is not None and number.theirs is not None:
        text += f"{number.ours:.3f}, stored {number.theirs:.3f}, {_signed(number.difference)}"
        text += _between(number.interval) + f", n = {number.n}; "
    if number.power is not None:
        text += f"power {number.power:.0%}; "
    return text + number.reason + (f"; always '{number.constant}'" if number.constant else "")


def panel_rows(numbers: Sequence[NumberVerdict]) -> Table:
    """Plotted points panel by panel: paper, ours, difference, verdict (L3)."""
    table = _table(
        "Figures: paper against ours", "panel", "point", "paper", "ours", "diff.", "verdict"
    )
    for panel in PANELS:
        own = [
            n for n in numbers
            if n.point and (n.point.figure, n.point.panel) == (panel.figure, panel.letter)
        ]  # fmt: skip
        for index, number in enumerate(own):
            assert number.point is not None
            table.add_row(
                f"{panel.figure}{panel.letter} {DATASETS[panel.dataset].printed}" * (index == 0),
                f"{number.point.series} {number.point.shots}",
                f"{number.theirs:.3f}",
                "" if number.ours is None else f"{number.ours:.3f}",
                _signed(number.difference),
                word(number.verdict),
            )
    return table


def survival_table(verification: Verification) -> Table | None:
    """Each claim under each protocol that was run; None for a single protocol."""
    rows = verification.survival
    if not rows:
        return None
    names = [run.run.name for run in verification.runs]
    table = _table("Do the claims survive correction?", "", *names)
    for claim, found in rows:
        verdicts = dict(found)
        table.add_row(claim, *(word(verdicts.get(name, Verdict.NOT_RUN)) for name in names))
    return table


def parts(verification: Verification) -> Iterator[RenderableType]:
    """A whole verification, part by part, in reading order."""
    for warning in verification.warnings:
        yield Text(f"note: {warning}", style="yellow")
    for verified in verification.runs:
        yield header(verified)
        yield claims_table(
            verified.claims, "\nDo the paper's claims hold in this run? (Holm-corrected)"
        )
        if verified.numbers:
            yield numbers_table(
                verified.numbers, "\nDo the kit's numbers reproduce? (against the reference)"
            )
        if verified.unstored:
            yield Text(f"{verified.unstored} cells are not in the reference, and not compared")
        if verified.points:
            yield panel_rows(verified.points)
        count, expected, p = verified.outside
        if expected:
            yield Text(
                f"{count} cells lie outside their 95% interval; chance alone would put about "
                f"{expected:.0f} there (p = {p:.2g} for as many)"
            )
        if verified.not_run:
            yield Text(
                f"{len(verified.not_run)} cells were not run: "
                + command_for(verified.run, verified.not_run)
            )
    survival = survival_table(verification)
    if survival is not None:
        yield survival


def reference_parts(reference: Reference) -> Iterator[RenderableType]:
    """What a reference folder holds."""
    run = reference.run
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(run):
        table.add_row(name, value)
    table.add_row("cells", str(len({cell for cell, _ in run.cells})))
    table.add_row("results", f"{len(run.cells)}, with {sum(r.n for r in run.cells.values())} rows")
    yield table
    spread = _table("Spread over seeds, by test set", "test set", "cells", "mean", "sd over seeds")
    for name, dataset in DATASETS.items():
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
    table = _table("What differs between the runs", "what", "A", "B")
    for column in table.columns:
        column.no_wrap = False
    for name, x, y in _differing("", dict(a.record), dict(b.record)):
        if name.split(".")[0] != "source":
            table.add_row(name, str(x), str(y))
    return table if table.row_count else None


def _differing(prefix: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{name}".lstrip("."), a.get(name), b.get(name))
    elif a != b:
        yield prefix, a, b
