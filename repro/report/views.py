"""What the HTML report says, in words and rows of text, ready for its template."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repro.printable import printable
from repro.report.answer import head
from repro.report.charts import metric_of
from repro.report.model import FOLLOWS, PanelReport, Plotted, Report, RunReport
from repro.report.rows import (
    BESIDE,
    FINDINGS,
    ClaimRow,
    chosen,
    claim_rows,
    failed,
    heading,
    level_rows,
    missing,
)
from repro.report.words import (
    BRIEFLY,
    EQUAL_POWER,
    counted,
    noticed_effect,
    noticed_text,
    outcome,
    seeds_text,
)
from repro.spec.cells import Cell
from repro.spec.points import BEST
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict
from repro.verify.statistics import Interval
from repro.verify.verdicts import Level, NumberVerdict, Verdict

NOT_COMPARED = "NOT COMPARED"
"""The code of what there is nothing to compare with; `not compared` in words."""
SHOWN = 20
"""Items that differ that the page lists; on paper the first of them."""
NONE = "\u2013"
MEANING: dict[Verdict | Answer, str] = {
    Verdict.REPRODUCED: "equal: bit for bit, but for rounding, or within the registered margin",
    Verdict.CONSISTENT: "within the spread of the stored seeds, which does not show equality",
    Verdict.INCONCLUSIVE: "undecided: neither agreement nor a difference could be shown",
    Verdict.NOT_REPRODUCED: "different: farther off than a faithful run is",
    Verdict.NOT_RUN: "missing: no results",
    **{answer: answer.meaning for answer in Answer if answer is not Answer.NOT_RUN},
}


def number(value: float | None) -> str:
    """A score with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference with its sign; three decimals, or two digits if it is smaller than that."""
    if value is None:
        return NONE
    rounded = abs(value) < 1e-7 or abs(value) >= 0.0005
    text = f"{value:+.3f}" if rounded else f"{value:+.2g}"
    return _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def p_value(p: float) -> str:
    """A p-value with its relation sign."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def between(interval: Interval | None, *, sign: bool = False) -> str:
    """An interval in brackets; empty for none."""
    if interval is None:
        return ""
    write = signed if sign else number
    return f"[{write(interval.low)}, {write(interval.high)}]"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}".replace("%", "\u202f%")


def named(verdict: Verdict | None) -> str:
    """A verdict's code, also where there was nothing to compare with."""
    return NOT_COMPARED if verdict is None else verdict.value


def in_words(verdict: Verdict | None, level: Level | None) -> str:
    """A verdict in words."""
    return "not compared" if verdict is None else outcome(verdict, level)


def identity(run: RunReport) -> Iterator[tuple[str, str]]:
    """What the run is: pairs of a name and a text."""
    own, record = run.verified.run, run.verified.run.record
    if own.study.published:
        yield (
            "Paper",
            "Unveiling the Generalization Power of Fine-Tuned Large Language Models, "
            "arXiv 2403.09162, NAACL 2024",
        )
    else:
        yield "Study", printable(f"{own.study.name}: {own.study.question}")
    yield "Profile", printable(own.profile)
    changed = ", ".join(
        f"{printable(name)} = {printable(value)}" for name, value in own.overrides.items()
    )
    yield "Protocol", printable(own.protocol) + (f", with {changed}" if changed else "")
    yield "Seeds", seeds_text(own.seeds)
    rows = sorted({result.n for result in own.cells.values()})
    yield "Test rows", f"{rows[0]} to {rows[-1]} a cell" if len(rows) > 1 else f"{rows[0]} a cell"
    yield "Machine", _listed(record.get("machine"))
    yield "Numerics", _listed(own.identity.get("numerics"))
    if "trained" in own.identity:
        yield "Trained", printable(own.identity["trained"])
    if "engine" in own.identity:
        yield "Evaluated by", printable(own.identity["engine"])
    yield "Versions", _listed(record.get("versions"))
    yield "Source", _listed(record.get("source"))
    yield "Lock file, SHA-256", printable(record.get("lock_sha256") or "unknown")
    stored = run.verified.reference
    if stored is None:
        yield "Reference", "none is stored for this kind of run"
    else:
        told = f"{stored.folder.name}, {seeds_text(stored.run.seeds)}, "
        yield "Reference", printable(told + counted(len(stored.run.cells), "result"))


def _listed(table: object) -> str:
    if not isinstance(table, Mapping) or not table:
        return "unknown"
    texts = ((str(name).replace("_", " "), _text(value)) for name, value in table.items())
    return ", ".join(f"{name} {text}" for name, text in texts if text)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(printable, value))
    return str(value).lower() if isinstance(value, bool) else printable(value)


def claim_view(row: ClaimRow, claim: ClaimVerdict, paper: ClaimVerdict | None) -> dict[str, Any]:
    """A claim: what decided it, and all of its comparisons.

    Args:
        paper: the same claim on the paper's own numbers.
    """
    main = claim.headline
    mean = main.mean if main else None
    return {
        "id": row.id,
        "finding": row.finding,
        "source": claim.claim.source,
        "unpaired": not claim.paired,
        "verdict": row.answer.value,
        "decided": printable(row.decided),
        "effect": signed(row.effect),
        "interval": between(mean.interval, sign=True) if mean else "",
        "paper": signed(row.paper),
        "headline": main.contrast.name if main else "",
        "noticed": number(row.noticed),
        "power": percent(row.power),
        "follows": FOLLOWS[paper.verdict] if paper else NONE,
        "p": p_value(claim.p_adjusted),
        "contrasts": [_contrast_row(item) for item in claim.contrasts],
        "panels": claim.claim.panels,
    }


def _contrast_row(item: ContrastVerdict) -> dict[str, Any]:
    mean = item.mean
    return {
        "name": item.contrast.name,
        "beyond": item.contrast.beyond,
        "verdict": item.verdict.value,
        "effect": signed(mean.effect if mean else None),
        "interval": between(mean.interval, sign=True) if mean else "",
        "paper": signed(item.paper_effect),
        "ratio": NONE if item.ratio is None else _minus(f"{item.ratio:.2f}"),
        "noticed": number(noticed_effect(mean)),
        "power": percent(item.power),
        "reason": printable(item.reason),
    }


def panel_view(report: PanelReport) -> dict[str, Any]:
    """A panel's texts and its points as rows."""
    found = Counter(
        BRIEFLY[item.verdict] if item.verdict else "not compared" for item in report.points
    )
    numbers = [number for item in report.points for number in item.numbers]
    # Beside a figure that shows the paper's values, a bare verdict would seem to be about those.
    paper = any(number.point for number in numbers)
    against = f"Against {'the paper' if paper else 'the stored runs'}: " if numbers else ""
    return {
        "name": report.panel.figure + report.panel.letter,
        "title": report.title,
        "metric": metric_of(report),
        "tally": against + ", ".join(f"{count} {name}" for name, count in found.items()),
        "against": "Against the paper" if paper else "Against the stored run",
        "points": [_point_row(item) for item in report.points],
    }


def spoken(report: PanelReport) -> str:
    """What a panel's drawing shows, for those who do not see it."""
    ours = [item for item in report.points if item.ours is not None]
    paper = any(item.published for item in report.points)
    return (
        f"{metric_of(report)} of {', '.join(report.series)}: "
        + ("bars" if report.panel.train else "lines over the number of in-context examples")
        + (f", the paper's {len(report.points)} values hollow and dashed" if paper else "")
        + f", this run's {len(ours)} solid. The table of this panel has all values."
    )


def _point_row(item: Plotted) -> dict[str, Any]:
    point, known = item.point, item.published
    levels = sorted({n.level for n in item.numbers if n.level})
    return {
        "series": item.series,
        "shots": item.shots_text,
        "chosen": item.chosen_text if item.chosen else "",
        "paper": number(item.paper),
        "error": "" if known is None or known.exact else f"\u00b1\u2009{known.error:.4f}",
        "occluded": known is not None and known.occluded,
        "ours": number(item.ours),
        "interval": between(item.interval),
        "difference": signed(item.difference),
        "verdict": named(item.verdict),
        "outcome": in_words(item.verdict, levels[-1] if levels else None),
        "levels": ", ".join(levels) or NONE,
        "noticed": " or ".join(dict.fromkeys(map(noticed_text, item.numbers))) or NONE,
        "reasons": list(dict.fromkeys(n.reason for n in item.numbers if n.reason)),
        "cells": [cell.name for cell in point.cells],
    }


def cell_rows(run: RunReport) -> list[dict[str, Any]]:
    """All cells that were run or compared, as rows of text."""
    plotted: dict[Cell, list[Plotted]] = {}
    for panel in run.panels:
        for item in panel.points:
            for cell in item.point.cells:
                plotted.setdefault(cell, []).append(item)
    return [_cell_row(run, cell, plotted.get(cell, ())) for cell in cells_of(run)]


def cells_of(run: RunReport) -> tuple[Cell, ...]:
    """The cells that were run, then those that the reference has besides."""
    return tuple(dict.fromkeys((*run.cells, *run.by_cell)))


def _cell_row(run: RunReport, cell: Cell, plotted: Sequence[Plotted]) -> dict[str, Any]:
    results = run.cells.get(cell, {})
    mean = sum(r.value for r in results.values()) / len(results) if results else None
    own = [item for item in plotted if item.point.shots != BEST]
    # Without a reference, a cell has the verdict of its point, which is held against the paper.
    verdict = run.by_cell.get(cell) or next((n for item in own for n in item.numbers), None)
    row = {
        "name": cell.name,
        "task": run.verified.run.study.task_of(cell).name,
        "dataset": cell.dataset,
        "panels": [item.point.figure + item.point.panel for item in plotted],
        "paper": number(own[0].paper) if own else NONE,
        "ours": number(mean),
        "theirs": number(verdict.theirs if verdict else None),
        "difference": signed(verdict.difference if verdict else None),
        "interval": between(verdict.interval, sign=True) if verdict else "",
        "level": verdict.level or NONE if verdict else NONE,
        "noticed": (noticed_text(verdict) if verdict else "") or NONE,
        "verdict": named(verdict.verdict if verdict else None),
        "outcome": in_words(verdict.verdict, verdict.level) if verdict else "not compared",
        "reason": _reason(run, verdict),
    }
    return row | {"facts": list(_facts(row, results, plotted, verdict))}


def _reason(run: RunReport, verdict: NumberVerdict | None) -> str:
    if verdict is None and run.verified.reference is None:
        return "there is nothing to hold it against"
    if verdict is None:
        return "the reference lacks this cell"
    always = f"; always '{printable(verdict.constant)}'" if verdict.constant else ""
    return verdict.reason + always


def _facts(
    row: Mapping[str, Any],
    results: Mapping[int | None, Any],
    plotted: Sequence[Plotted],
    verdict: NumberVerdict | None,
) -> Iterator[tuple[str, str]]:
    """What the view of a cell says above its samples."""
    level = verdict.level if verdict else None
    yield "Outcome", row["outcome"] + (f" ({level}, {level.meaning})" if level else "")
    yield "Why", row["reason"]
    for seed, result in results.items():
        where = "This run" if seed is None else f"This run, seed {seed}"
        yield where, f"{result.metric} {number(result.value)}, n = {result.n}, key {result.key}"
        if result.constant is not None:
            yield where, f"every row got the label '{result.constant}'"
    if verdict is not None and verdict.theirs is not None:
        what = "The paper" if verdict.point else counted(verdict.stored, "stored run")
        yield what, number(verdict.theirs)
        yield "Difference", f"{row['difference']} {row['interval']}".strip()
        yield "Noticed from", row["noticed"]
        if verdict.margin is not None:
            yield "Margin", f"{verdict.margin:.3f}; power {percent(verdict.power)} {EQUAL_POWER}"
    for item in plotted:
        point = item.point
        best = " (the best of several cells)" if point.shots == BEST else ""
        yield (
            f"Figure {point.figure}({point.panel})",
            f"{item.series}, {item.shots_text}{best}: paper {number(item.paper)}, "
            f"this run {number(item.ours)} {between(item.interval)}".strip(),
        )


def run_view(run: RunReport, index: int, report: Report) -> dict[str, Any]:
    """All that the template shows of a run but drawings and samples."""
    verified = run.verified
    paper = {claim.claim.id: claim for claim in report.paper}
    top, items = head(verified), failed(verified)
    return {
        "id": f"r{index}",
        "index": index,
        "name": printable(run.name),
        "head": {
            "first": printable(top.first),
            "outcome": top.outcome.value,
            "on_paper": printable(top.on_paper),
            "rows": [
                (name, printable(text))
                for name, text in (*top.ran, ("numbers", top.numbers), ("findings", top.findings))
            ],
            "notes": [printable(note) for note in top.notes],
            "evidence": top.evidence,
        },
        "identity": list(identity(run)),
        "published": verified.run.study.published,
        "headings": {
            "findings": heading(FINDINGS, verified.run).replace("'", "\u2019"),
            "beside": heading(BESIDE, verified.run).replace("'", "\u2019"),
        },
        "differs": [(i.kind, printable(i.name), printable(i.text)) for i in chosen(items, SHOWN)],
        "more": max(0, len(items) - SHOWN),
        "missing": [
            {
                "text": printable(lack.text),
                "command": printable(lack.command),
                "cells": [cell.name for cell in lack.cells],
            }
            for lack in missing(verified)
        ],
        "claims": [
            claim_view(row, claim, paper.get(row.id)) | {"level": run.level_of(claim)}
            for row, claim in zip(claim_rows(verified.claims), verified.claims, strict=True)
        ],
        "levels": [
            {
                "what": row.what,
                "level": row.level,
                "counts": [
                    {"count": count, "verdict": verdict.value, "words": words}
                    for count, verdict, words in row.counts
                ],
                "noticed": row.noticed or NONE,
                "linked": "cell" in row.what,
            }
            for row in level_rows(verified)
        ],
        "cells": cell_rows(run),
        "against": "the paper" if verified.points and not verified.numbers else "the stored run",
    }


def figure_views(run: RunReport, figure: str) -> list[tuple[PanelReport, dict[str, Any]]]:
    """The panels of a figure with their views."""
    return [(panel, panel_view(panel)) for panel in run.of_figure(figure)]
