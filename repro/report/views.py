"""What only the HTML report says: the filters of its template, what the run is, and its cells."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from markupsafe import Markup

from repro.printable import counted, printable
from repro.report import words
from repro.report.charts import metric_of
from repro.report.model import PanelReport, Plotted, RunReport
from repro.results.runs import CellResult
from repro.spec.cells import Cell
from repro.spec.points import BEST
from repro.verify.claimverdicts import Answer, Effect
from repro.verify.published import Published
from repro.verify.statistics import Interval
from repro.verify.verdicts import Level, NumberVerdict, Verdict

NOT_COMPARED = "NOT COMPARED"
"""The code of what there is nothing to compare with; `not compared` in words."""
NONE = "\u2013"
MEANING: dict[Verdict | Answer, str] = {
    Verdict.REPRODUCED: "equal: bit for bit, but for rounding, or within the registered margin",
    Verdict.CONSISTENT: "within the spread of the stored seeds, which does not show equality",
    Verdict.INCONCLUSIVE: "undecided: neither agreement nor a difference could be shown",
    Verdict.NOT_REPRODUCED: "different: farther off than a faithful run is",
    Verdict.NOT_RUN: "missing: no results",
    **{answer: answer.meaning for answer in Answer if answer is not Answer.NOT_RUN},
}


def number(value: float | None, form: str = ".3f") -> str:
    """A number, as a score with three decimals."""
    return NONE if value is None else format(value, form).replace("-", "\u2212")


def signed(value: float | None) -> str:
    """A difference with its sign; three decimals, or two digits if it is smaller than that."""
    if value is None:
        return NONE
    rounded = abs(value) < 1e-7 or abs(value) >= 0.0005
    return number(value, "+.3f" if rounded else "+.2g")


def between(interval: Interval | None, write: Callable[[float], str] = number) -> str:
    """An interval in brackets; empty for none."""
    return "" if interval is None else f"[{write(interval.low)}, {write(interval.high)}]"


def percent(value: float | None) -> str:
    """A share, with a thin space before the sign."""
    return NONE if value is None else Markup(f"{value:.0%}".replace("%", "\u202f%"))


def reading_error(known: Published | None) -> str:
    """How far the paper's value may be off, with a thin space behind the sign."""
    return "" if known is None or known.exact else Markup(f"\u00b1\u2009{known.error:.4f}")


def in_words(verdict: Verdict | None, level: Level | None) -> str:
    """A verdict in words."""
    return "not compared" if verdict is None else words.outcome(verdict, level)


def tally(report: PanelReport) -> str:
    """How many points of a panel came out how."""
    found = Counter(
        words.BRIEFLY[p.verdict] if p.verdict else "not compared" for p in report.points
    )
    text = ", ".join(f"{count} {name}" for name, count in found.items())
    if not any(item.numbers for item in report.points):
        return text
    # Beside a figure that shows the paper's values, a bare verdict would seem to be about those.
    return f"Against {'the paper' if report.against_paper else 'the stored runs'}: {text}"


def effect(mean: Effect | None) -> str:
    """An effect, where there is one."""
    return signed(mean.effect if mean else None)


def interval(item: Effect | NumberVerdict | None) -> str:
    """The interval of an effect or a difference in brackets."""
    return between(item.interval if item else None, signed)


FILTERS: dict[str, Callable[..., str | float | None]] = {
    "between": between,
    "decided_by": words.decided_by,
    "effect": effect,
    "in_words": in_words,
    "interval": interval,
    "metric": metric_of,
    "noticed": words.noticed_text,
    "noticed_effect": words.noticed_effect,
    "number": number,
    "p_value": lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
    "percent": percent,
    "reading_error": reading_error,
    "signed": signed,
    "tally": tally,
}
"""By their names in the template."""


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
        yield "Study", f"{own.study.name}: {own.study.question}"
    yield "Profile", own.profile
    changed = ", ".join(f"{name} = {value}" for name, value in own.overrides.items())
    yield "Protocol", own.protocol + (f", with {changed}" if changed else "")
    yield "Seeds", words.seeds_text(own.seeds)
    rows = sorted({result.n for result in own.cells.values()})
    yield "Test rows", f"{rows[0]} to {rows[-1]} a cell" if len(rows) > 1 else f"{rows[0]} a cell"
    yield "Machine", _listed(record.get("machine"))
    yield "Numerics", _listed(own.identity.get("numerics"))
    for title, name in (("Trained", "trained"), ("Evaluated by", "engine")):
        if name in own.identity:
            yield title, str(own.identity[name])
    yield "Versions", _listed(record.get("versions"))
    yield "Source", _listed(record.get("source"))
    yield "Lock file, SHA-256", str(record.get("lock_sha256") or "unknown")
    told, stored = "none is stored for this kind of run", run.verified.reference
    if stored is not None:
        told = f"{stored.folder.name}, {words.seeds_text(stored.run.seeds)}, "
        told += counted(len(stored.run.cells), "result")
    yield "Reference", told


def _listed(table: object) -> str:
    if not isinstance(table, Mapping) or not table:
        return "unknown"
    texts = ((str(name).replace("_", " "), _text(value)) for name, value in table.items())
    return ", ".join(f"{name} {text}" for name, text in texts if text)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def cell_rows(run: RunReport) -> list[dict[str, Any]]:
    """The cells that were run, then those that the reference has besides."""
    plotted: dict[Cell, list[Plotted]] = {}
    for item in run.points:
        for cell in item.point.cells:
            plotted.setdefault(cell, []).append(item)
    every = dict.fromkeys((*run.cells, *run.by_cell))
    return [_cell_row(run, cell, plotted.get(cell, [])) for cell in every]


def _cell_row(run: RunReport, cell: Cell, plotted: list[Plotted]) -> dict[str, Any]:
    results = run.cells.get(cell, {})
    own = [item for item in plotted if item.point.shots != BEST]
    # Without a reference, a cell has the verdict of its point, which is held against the paper.
    found = run.by_cell.get(cell) or next((n for item in own for n in item.numbers), None)
    reason = "the reference lacks this cell"
    if run.verified.reference is None:
        reason = "there is nothing to hold it against"
    if found is not None:
        reason = found.reason
        reason += f"; always '{printable(found.constant)}'" if found.constant else ""
    return {
        "name": cell.name,
        "task": run.verified.run.study.task_of(cell).name,
        "panels": [item.point.figure + item.point.panel for item in plotted],
        "paper": own[0].paper if own else None,
        "ours": sum(r.value for r in results.values()) / len(results) if results else None,
        "number": found or NumberVerdict(cell=cell),
        "verdict": found.verdict if found else None,
        "reason": reason,
        # What the script shows.
        "dataset": cell.dataset,
        "seeds": [str(seed) for seed, result in results.items() if result.outcomes is not None],
        "facts": list(_facts(results, plotted, found, reason)),
    }


def _facts(
    results: Mapping[int | None, CellResult],
    plotted: list[Plotted],
    found: NumberVerdict | None,
    reason: str,
) -> Iterator[tuple[str, str]]:
    """What the view of a cell says above its samples."""
    verdict, level = (found.verdict, found.level) if found else (None, None)
    yield "Outcome", in_words(verdict, level) + (f" ({level}, {level.meaning})" if level else "")
    yield "Why", reason
    for seed, result in results.items():
        where = "This run" if seed is None else f"This run, seed {seed}"
        yield where, f"{result.metric} {number(result.value)}, n = {result.n}, key {result.key}"
        if result.constant is not None:
            yield where, f"every row got the label '{result.constant}'"
    if found is not None and found.theirs is not None:
        what = "The paper" if found.point else counted(found.stored, "stored run")
        yield what, number(found.theirs)
        difference = f"{signed(found.difference)} {interval(found)}"
        yield "Difference", difference.strip()
        yield "Noticed from", words.noticed_text(found) or NONE
        if found.margin is not None:
            power = f"{percent(found.power)} {words.EQUAL_POWER}"
            yield "Margin", f"{found.margin:.3f}; power {power}"
    for item in plotted:
        best = " (the best of several cells)" if item.point.shots == BEST else ""
        yield (
            f"Figure {item.point.figure}({item.point.panel})",
            f"{item.series}, {item.shots_text}{best}: paper {number(item.paper)}, "
            f"this run {number(item.ours)} {between(item.interval)}".strip(),
        )
