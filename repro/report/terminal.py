"""The terminal face: 80 columns, readable without colour and when piped."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repro.paper.tasks import DATASETS
from repro.report.figures import STYLE, figure_lines, legend
from repro.report.model import FOLLOWS, Report, RunReport
from repro.report.printable import printable
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict
from repro.verify.findings import paper_verdicts
from repro.verify.published import load_paper
from repro.verify.reference import Reference
from repro.verify.results import Run
from repro.verify.statistics import Interval
from repro.verify.verdicts import Level, NumberVerdict, Verdict
from repro.verify.verification import RunVerification, Verification, command_for

_SHOWN = 12
"""Cells listed one by one, at most; counts stand for the rest."""


def word(verdict: Verdict | Answer) -> Text:
    """A verdict, coloured where colour is shown."""
    return Text(verdict.value, style=STYLE[verdict])


def signed(value: float | None) -> str:
    """A difference with its sign; empty for none."""
    return "" if value is None else f"{value:+.3f}"


def between(interval: Interval | None) -> str:
    """An interval in brackets after a blank; empty for none."""
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
    table = _pairs(facts(verified.run))
    if verified.reference is not None:
        stored = verified.reference
        told = f"{stored.folder.name}, seeds {_listed(stored.run.seeds)}, "
        table.add_row("reference", Text(printable(told + f"{len(stored.run.cells)} results")))
    return table


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(printable(value)))
    return table


def facts(run: Run) -> Iterator[tuple[str, str]]:
    """What a run is: names and values, not yet made printable."""
    changed = ", ".join(f"{name}={value}" for name, value in run.overrides.items())
    yield "paper", "arXiv 2403.09162, NAACL 2024"
    yield "profile", run.profile
    yield "protocol", run.protocol + (f" ({changed})" if changed else "")
    yield "seeds", _listed(run.seeds) or "none"
    machine, versions = run.record.get("machine"), run.record.get("versions")
    if isinstance(machine, dict):
        yield "machine", ", ".join(str(machine[k]) for k in ("cpu", "gpus") if machine.get(k))
    if isinstance(versions, dict):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "lock", str(run.record.get("lock_sha256") or "unknown")


def _listed(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items)


def headlines(run: RunReport) -> Iterator[RenderableType]:
    """Each claim with the comparison that decided it, and its finding below."""
    yield Text("\nDo the paper's claims hold in this run? (Holm-corrected)", style="italic")
    yield _headline("", Text("verdict"), "effect", "95% interval", "paper", "level", "bold")
    for verdict in run.verified.claims:
        item = verdict.headline
        mean = item.mean if item else None
        yield _headline(
            verdict.claim.id,
            word(verdict.verdict),
            signed(mean.effect) if mean else "",
            between(mean.interval).strip() if mean else "",
            signed(item.paper_effect) if item else "",
            run.level_of(verdict) or "none",
        )
        yield Padding(Text(verdict.claim.finding + _unpaired(verdict)), (0, 0, 0, 5))
        if item:
            line = f"{item.contrast.name}: {item.verdict}, {item.reason}"
            yield Padding(Text(line, style="dim"), (0, 0, 0, 5))
    yield Text(
        "Effect: of the comparison that decided; paper: the same on its own figures; level: the "
        "weakest among those of the claim's cells that the reference holds.",
        style="dim",
    )


def _headline(
    name: str, verdict: Text, effect: str, interval: str, paper: str, level: str, style: str = ""
) -> Text:
    shown = verdict.copy()
    shown.pad_right(16 - len(shown))
    rest = f"{effect:<8}{interval:<18}  {paper:<8}{level}".rstrip()
    return Text(f"{name:<5}", style=style).append_text(shown).append(rest)


def claims_table(verdicts: Sequence[ClaimVerdict], title: str) -> Table:
    """Each claim with its contrasts: verdict, effect, interval, the paper's effect."""
    table = _table(title, "", "verdict", "what")
    for verdict in verdicts:
        finding = Text(verdict.claim.finding, style="bold")
        finding.append(_unpaired(verdict))
        table.add_row(verdict.claim.id, word(verdict.verdict), finding)
        if verdict.verdict is Answer.NOT_RUN:
            continue  # the reason would only be repeated for each comparison
        for item in verdict.contrasts:
            shown = Text("beyond it" if item.contrast.beyond else item.verdict.lower(), "dim")
            table.add_row("", shown, contrast_text(item))
    return table


def _unpaired(verdict: ClaimVerdict) -> str:
    return "" if verdict.paired else " (rows not paired: samples are missing)"


def contrast_text(item: ContrastVerdict) -> str:
    """A comparison of a claim in words."""
    text = f"{item.contrast.name}: "
    if item.mean is not None:
        text += signed(item.mean.effect) + between(item.mean.interval)
        if item.paper_effect is not None:
            text += f", paper {signed(item.paper_effect)}"
        if item.ratio is not None:
            text += f", ratio {item.ratio:.2f}"
        text += "; "
    text += item.reason
    if item.power is not None and item.verdict is not Answer.HOLDS:
        text += f"; power {item.power:.0%} {item.power_of}"
    return text


def paper_table() -> Table:
    """Does each finding follow from the figures as printed?"""
    table = _table(
        "Do the findings follow from the published figures?", "", "finding", "from its figures"
    )
    for verdict in paper_verdicts():
        counts = "; ".join(
            f"{item.mean.right_count} of {item.mean.total}"
            for item in verdict.contrasts
            if item.mean and not item.contrast.beyond
        )
        table.add_row(
            verdict.claim.id,
            f"{verdict.claim.finding} ({counts})",
            Text(FOLLOWS[verdict.verdict], style=STYLE[verdict.verdict]),
        )
    return table


def text_conflicts() -> Iterator[str]:
    """Numbers of the paper's text that its figures do not bear out."""
    for stated, shown, twin in load_paper().text_conflicts:
        figure, panel, series, _ = shown.key
        line = f"The text says {stated.value} ({stated.id}); Figure {figure}({panel}) {series} "
        line += f"shows {shown.value}"
        yield line + (f", and {stated.value} is its {twin[2]} value." if twin else ".")


def numbers_table(numbers: Sequence[NumberVerdict], title: str, unit: str = "cells") -> Table:
    """Counts by level and verdict, then the cells that do not pass, or fell outside."""
    table = _table(title, unit, "verdict", "what")
    counts = Counter((number.level, number.verdict) for number in numbers)
    for (level, verdict), count in sorted(counts.items(), key=lambda item: str(item[0])):
        name = f"{level} {level.meaning}" if isinstance(level, Level) else "nothing to compare"
        table.add_row(str(count), word(verdict), name)
    wrong = [n for n in numbers if not n.verdict.passes or n.outside]
    order = list(Verdict)
    for number in sorted(wrong, key=lambda n: -order.index(n.verdict))[:_SHOWN]:
        table.add_row("", word(number.verdict), Text(printable(number_text(number))))
    if len(wrong) > _SHOWN:
        table.add_row("", "", f"... and {len(wrong) - _SHOWN} more")
    return table


def number_text(number: NumberVerdict) -> str:
    """A verdict on a number in words."""
    text = f"{number.name}: "
    if number.ours is not None and number.theirs is not None:
        text += f"{number.ours:.3f}, stored {number.theirs:.3f}, {signed(number.difference)}"
        text += between(number.interval) + f", n = {number.n}; "
    if number.power is not None:
        text += f"power {number.power:.0%}; "
    return text + number.reason + (f"; always '{number.constant}'" if number.constant else "")


def survival_table(verification: Verification) -> Table | None:
    """Each claim under each protocol that was run; None for a single protocol."""
    rows = verification.survival
    if not rows:
        return None
    names = [run.run.name for run in verification.runs]
    table = _table("\nDo the claims survive correction?", "", *map(printable, names))
    for column in table.columns[1:]:
        column.no_wrap = False
    for claim, found in rows:
        verdicts = dict(found)
        table.add_row(claim, *(word(verdicts.get(name, Answer.NOT_RUN)) for name in names))
    return table


def parts(report: Report, asked: Sequence[str] | None = None) -> Iterator[RenderableType]:
    """A whole report, part by part, in reading order; the two questions stay apart.

    Args:
        asked: claims asked for by name: they are shown with all their comparisons, and figures
            with the points that they rest on only.
    """
    for warning in report.verification.warnings:
        yield Text(f"note: {printable(warning)}", style="yellow")
    for index, run in enumerate(report.runs):
        yield Text("\n" * bool(index) + "=" * 80) if len(report.runs) > 1 else Text()
        yield from _run_parts(run, asked)
    survival = survival_table(report.verification)
    if survival is not None:
        yield survival


def _run_parts(run: RunReport, asked: Sequence[str] | None) -> Iterator[RenderableType]:
    verified = run.verified
    yield header(verified)
    yield from headlines(run)
    if asked is None:
        yield Text("All comparisons behind a claim: repro verify RESULTS --claims ID", style="dim")
    else:
        yield claims_table(verified.claims, "\nThe comparisons behind them")
    if verified.numbers:
        yield numbers_table(
            verified.numbers, "\nDo the kit's numbers reproduce? (against the reference)"
        )
    if verified.unstored:
        yield Text(f"{verified.unstored} cells are not in the reference, and not compared")
    if verified.points:
        yield numbers_table(
            verified.points, "\nDo the paper's numbers reproduce? (plotted points)", "points"
        )
    for figure in verified.figures:
        if figure.verdict is Verdict.NOT_REPRODUCED:
            yield (
                Text(f"{figure.name}: ")
                .append_text(word(figure.verdict))
                .append(f", {figure.reason}")
            )
    yield Text("\nThe figures: paper and ours", style="bold")
    yield legend(run)
    every_shot = verified.run.best_of != "smallest"
    needed = {c for claim in verified.claims for c in claim.claim.cells(every_shot=every_shot)}
    yield from figure_lines(run, None if asked is None else needed)
    yield from conclusion(run)


def conclusion(run: RunReport) -> Iterator[Text]:
    """What chance would do, what was not run, and the answers to both questions."""
    verified = run.verified
    count, expected, p = verified.outside
    if expected:
        yield Text(
            f"\n{count} cells lie outside their 95% interval; chance alone would put about "
            f"{expected:.0f} there (p = {p:.2g} for as many)"
        )
    if verified.not_run:
        command = command_for(verified.run, verified.not_run)
        yield Text(f"{len(verified.not_run)} cells were not run: {printable(command)}")
    yield Text("\nNumbers: ", style="bold").append(numbers_answer(run), style="not bold")
    yield Text("Claims:  ", style="bold").append(claims_answer(run), style="not bold")


def numbers_answer(run: RunReport) -> str:
    """One sentence: do the numbers reproduce."""
    judged = run.verified.judged
    if not judged:
        return "not compared; no reference is stored for this kind of run."
    what = "the paper's" if run.verified.points else "the kit's"
    answers = {
        None: "nothing could be compared",
        Verdict.REPRODUCED: f"{what} numbers reproduce",
        Verdict.CONSISTENT: f"{what} numbers agree, not all shown equal",
        Verdict.INCONCLUSIVE: "open, some comparisons show nothing",
        Verdict.NOT_REPRODUCED: f"{what} numbers do NOT all reproduce",
    }
    return f"{answers.get(run.numbers_verdict)} ({tally([n.verdict for n in judged])})."


def claims_answer(run: RunReport) -> str:
    """One sentence: which of the paper's claims hold here, and whether that counts."""
    text = tally([claim.verdict for claim in run.verified.claims])
    if run.verified.claims_count:
        return f"{text}."
    return f"{text}; of the paper's findings on another model, not counted as failures."


def tally(verdicts: Sequence[Verdict | Answer]) -> str:
    """How many of each verdict, best first."""
    found = Counter(verdicts)
    order = [*Verdict, *Answer] if any(isinstance(v, Verdict) for v in found) else [*Answer]
    return ", ".join(f"{found[v]} {v}" for v in dict.fromkeys(order) if found[v])


def reference_parts(reference: Reference) -> Iterator[RenderableType]:
    """What a reference folder holds."""
    run = reference.run
    table = _pairs(facts(run))
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
            table.add_row(*(Text(printable(text)) for text in (name, x, y)))
    return table if table.row_count else None


def _differing(prefix: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{name}".lstrip("."), a.get(name), b.get(name))
    elif a != b:
        yield prefix, a, b
