"""The faces for programs: report.json with everything, and its three main tables as CSV.

Format 2 is described in this folder's README. A field that is added keeps the number; one that
changes its meaning or goes away raises it.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repro import __version__
from repro.files import file_sha256
from repro.printable import printable
from repro.report.answer import Outcome, first_line, head
from repro.report.model import Plotted, Report, RunReport
from repro.report.rows import failed, level_rows, missing
from repro.report.summaries import departures
from repro.report.words import EQUAL_POWER, decided_by, noticed_effect, noticed_of
from repro.results.texts import TEXTS
from repro.verify.claimverdicts import ClaimVerdict, ContrastVerdict, Effect
from repro.verify.statistics import Interval
from repro.verify.verdicts import GroupVerdict, NumberVerdict, Verdict, worst

FORMAT = 2
Row = dict[str, Any]

_KIT = Path(__file__).parents[1]


def kit_digest(kit: Path = _KIT) -> str:
    """A hash over the kit's files that word and draw a report."""
    digest = hashlib.sha256()
    for path in sorted(path for name in ("studies", "report") for path in (kit / name).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(kit).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def to_json(report: Report) -> str:
    """The whole report. Non-ASCII is escaped, so that any text comes back as it was."""
    verification = report.verification
    value = {
        "format": FORMAT,
        "kit": __version__,
        "kit_sha256": kit_digest(),
        "paper": "arXiv:2403.09162",
        "answer": first_line(verification),
        "outcome": Outcome.of(verification.exit_code),
        "exit_code": verification.exit_code,
        "warnings": list(verification.warnings),
        "runs": [_run(run) for run in report.runs],
        "paper_claims": [claim_row(claim) for claim in report.paper],
        "survival": [{"claim": name, "verdicts": dict(row)} for name, row in verification.survival],
    }
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def tables(report: Report) -> dict[str, str]:
    """File name -> CSV: all claims, numbers and points of all runs."""
    found: dict[str, list[Row]] = {"claims.csv": [], "numbers.csv": [], "points.csv": []}
    for run in report.runs:
        where = {"run": run.name}
        found["claims.csv"] += [where | claim_row(claim, run) for claim in run.verified.claims]
        found["numbers.csv"] += [where | number_row(number) for number in run.verified.judged]
        found["points.csv"] += [where | point_row(point) for point in run.points]
    return {name: to_csv(rows) for name, rows in found.items()}


def _run(run: RunReport) -> Row:
    verified, own, top = run.verified, run.verified.run, head(run.verified)
    stored, texts = verified.reference, own.folder / TEXTS
    moved = departures(own) if run.summaries else ()
    judged = {number.verdict for number in verified.judged} - {Verdict.NOT_RUN}
    judged |= {figure.verdict for figure in verified.figures}
    return {
        **_fields(own, "name", "profile", "protocol", "overrides", "seeds", "record"),
        "prompts_sha256": file_sha256(texts) if texts.is_file() else None,
        "reference": None
        if stored is None
        else {
            "name": stored.folder.name,
            "seeds": stored.run.seeds,
            "results": len(stored.run.cells),
        },
        "answer": top.first,
        "outcome": top.outcome,
        "evidence_on_paper": top.evidence,
        "on_paper": top.on_paper,
        "ran": dict(top.ran),
        "numbers_sentence": top.numbers,
        "claims_sentence": top.findings,
        "notes": top.notes,
        "exit_code": verified.exit_code,
        "departures": [asdict(row) | {"variant": row.variant.name} for row in moved],
        "summaries": [
            {"kind": one.summary.kind, "title": one.title, "axis": one.summary.axis}
            | {"values": list(one.records())}
            for one in run.summaries
        ],
        "claims_count": verified.claims_count,
        "numbers_verdict": worst(judged) if judged else None,
        "unstored": verified.unstored,
        "differs": [item._asdict() for item in failed(verified)],
        "missing": [
            {"text": lack.text, "cells": [c.name for c in lack.cells], "command": lack.command}
            for lack in missing(verified)
        ],
        "claims": [
            claim_row(claim, run) | {"contrasts": [_contrast(item) for item in claim.contrasts]}
            for claim in verified.claims
        ],
        "facts": [asdict(check) for check in verified.facts],
        "groups": [_with_ends(group) for group in verified.groups],
        "numbers": [number_row(number) for number in verified.judged],
        "levels": [
            {"what": row.what, "level": row.level}
            | {"counts": {verdict: count for count, verdict, _ in row.counts}}
            | {"noticed": row.noticed}
            for row in level_rows(verified)
        ],
        "paper_figures": [
            _fields(item, "name", "verdict", "reason", "difference")
            | _ends(item.interval)
            | _fields(item, "noticed", "points", "p", "p_adjusted")
            for item in verified.figures
        ],
        "points": [point_row(point) for point in run.points],
        "results": [
            by_seed[seed].raw
            for by_seed in run.cells.values()
            for seed in sorted(by_seed, key=lambda seed: seed or 0)
        ],
    }


def claim_row(claim: ClaimVerdict, run: RunReport | None = None) -> Row:
    """A claim with the comparison that decided it."""
    item, mean = claim.headline, claim.mean
    return {
        "id": claim.claim.id,
        "verdict": claim.verdict,
        "level": run.level_of(claim) if run else None,
        "comparison": item.contrast.name if item else None,
        "effect": mean.effect if mean else None,
        **_ends(mean.interval if mean else None),
        "paper_effect": item.paper_effect if item else None,
        "ratio": item.ratio if item else None,
        "power": item.power if item else None,
        "power_of": item.power_of if item else "",
        "noticed": noticed_effect(mean),
        "decided_by": decided_by(claim),
        "contradicts": claim.contradicts,
        "seeds": item.seeds if item else (),
        **_fields(claim, "p_shown", "p_adjusted", "paired", "reason"),
        **_fields(claim.claim, "title", "finding", "source"),
    }


def number_row(number: NumberVerdict) -> Row:
    """A verdict on a number; `against` says what it was held against."""
    return {
        "name": number.name,
        "against": "paper" if number.point else "reference",
        "cell": number.cell.name,
        **_fields(number, "verdict", "level", "ours", "theirs", "difference"),
        **_ends(number.interval),
        **_fields(number, "seeds", "n", "stored", "p", "p_adjusted", "equivalence_p", "margin"),
        "power": number.power,
        "power_of": "" if number.power is None else EQUAL_POWER,
        "noticed": noticed_of(number),
        **_fields(number, "constant", "reason"),
    }


def point_row(item: Plotted) -> Row:
    """A plotted point: the paper's value and ours; no verdict where nothing was compared."""
    point, known = item.point, item.published
    return {
        **_fields(point, "figure", "panel", "series", "shots"),
        "variant": point.variant.name,
        **_fields(point, "dataset", "prompt"),
        "cells": [cell.name for cell in point.cells],
        "paper": item.paper,
        "paper_error": known.error if known else None,
        "occluded": known.occluded if known else None,
        "ours": item.ours,
        **_ends(item.interval),
        **_fields(item, "difference", "verdict", "seeds", "n", "chosen", "optimism"),
    }


def _contrast(item: ContrastVerdict) -> Row:
    return {
        **_fields(item.contrast, "name", "beyond"),
        "verdict": item.verdict,
        "mean": None if item.mean is None else _with_ends(item.mean),
        "by_dataset": [_with_ends(effect) for effect in item.by_dataset],
        "pairs": [_with_ends(effect) for effect in item.pairs],
        **_fields(item, "expected", "p_shown", "p_otherwise", "allowed", "shown", "otherwise"),
        **_fields(item, "contradicts", "constant", "power", "power_of", "seeds", "paper_effect"),
        **_fields(item, "ratio", "reason"),
    }


def _fields(item: object, *names: str) -> Row:
    return {name: getattr(item, name) for name in names}


def _with_ends(item: Effect | GroupVerdict) -> Row:
    table = asdict(item)
    table.pop("interval")
    return table | _ends(item.interval)


def _ends(interval: Interval | None) -> Row:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _finite(value: Any) -> Any:
    """JSON values; a number that is none becomes null, which every reader of JSON takes."""
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    # numpy's truth values are no bool.
    return value.item() if hasattr(value, "item") else value


def to_csv(rows: Iterable[Row]) -> str:
    """A table with a header, as CSV."""
    text = io.StringIO()
    writer: Any = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, row, lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _field(value) for name, value in row.items()})
    return text.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if not isinstance(value, str):
        return _finite(value)
    # Spreadsheets would run what begins like a formula.
    return ("'" if value[:1] in ("=", "+", "-", "@") else "") + printable(value)
