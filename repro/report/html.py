"""The HTML report: one file that needs no network and runs nothing but its own script.

Verdicts, tables and drawings are there without any script; the script adds filters, links into the
page, and the view of a cell's samples, which travel packed inside the page.
"""

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from repro import __version__
from repro.printable import printable
from repro.report import charts, summaries, views
from repro.report.answer import Outcome, first_line, head
from repro.report.model import FOLLOWS, Report, RunReport
from repro.report.packing import LONGEST, pack
from repro.report.rows import BESIDE, FINDINGS, chosen, failed, heading, level_rows, missing
from repro.report.summarycharts import draw_summary, spoken
from repro.report.words import BRIEFLY
from repro.results.texts import prompts
from repro.verify.claimverdicts import Answer
from repro.verify.verdicts import Level

SHOWN = 20
"""Items that differ that the page lists; on paper the first of them."""
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_COLOURS = {"#000000": "currentColor", "#ffffff": "var(--paper)", "#dddddd": "var(--rule)"}
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_STYLE = re.compile(r' style="([^"]*)"')
_NAMES = re.compile(r'(?<= id=")|(?<=xlink:href="#)|(?<=url\(#)')


def page(report: Report) -> str:
    """A report as the text of an HTML file.

    Raises:
        ReproError: a samples file or a prompt cannot be read (1).
    """
    verification = report.verification
    runs = [_run(run, index) for index, run in enumerate(report.runs)]
    return render(
        "report.html.j2",
        _web("report.js"),
        first=first_line(verification),
        outcome=Outcome.of(verification.exit_code),
        evidence=any(run["head"].evidence for run in runs),
        published=any(run["published"] for run in runs),
        runs=runs,
        warnings=verification.warnings,
        survival=[(claim, dict(row)) for claim, row in verification.survival],
        briefly=BRIEFLY,
        answers=[answer for answer in Answer if answer is not Answer.NOT_RUN],
        follows={claim.claim.id: FOLLOWS[claim.verdict] for claim in report.paper},
        levels=list(Level),
        tasks=list(dict.fromkeys(t for run in report.runs for t in run.verified.run.study.tasks)),
        summaries=summaries,
        views=views,
        longest=f"{LONGEST:,}",
    )


def render(template: str, script: str = "", **values: object) -> str:
    """A template of `web/` as a page that allows nothing but its own style and script.

    Texts are made printable, then escaped; only `Markup` is not.
    """
    style = _web("report.css")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda x: printable(x) if isinstance(x, str) and not hasattr(x, "__html__") else x,
    )
    environment.filters |= views.FILTERS
    allowed = f"'{_hash(script)}'" if script else "'none'"
    return environment.from_string(_web(template)).render(
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        version=__version__,
        **values,
    )


def _run(run: RunReport, index: int) -> dict[str, Any]:
    """All that the template shows of a run."""
    verified, own, prefix = run.verified, run.verified.run, f"r{index}"
    items, packets, cells = failed(verified), pack(run, prompts(own.folder)), views.cell_rows(run)
    facts = {row["name"]: {key: row[key] for key in ("dataset", "facts", "seeds")} for row in cells}
    return {
        "id": prefix,
        "index": index,
        "name": run.name,
        "published": own.study.published,
        "head": head(verified),
        "identity": list(views.identity(run)),
        "findings": heading(FINDINGS, own).replace("'", "\u2019"),
        "beside": heading(BESIDE, own).replace("'", "\u2019"),
        "differs": chosen(items, SHOWN),
        "more": max(0, len(items) - SHOWN),
        "missing": missing(verified),
        "claims": [(claim, run.level_of(claim)) for claim in verified.claims],
        "levels": level_rows(verified),
        "cells": cells,
        "against": "the paper" if verified.points and not verified.numbers else "the stored run",
        "summaries": [
            (one, _svg(draw_summary(one), f"{prefix}-summary{number}", one.title, spoken(one)))
            for number, one in enumerate(run.summaries, 1)
        ],
        "departures": summaries.departures(own),
        "figures": [_figure(run, prefix, figure) for figure in own.study.figures],
        "packets": {name: Markup(packet) for name, packet in packets.by_dataset.items()},
        "samples": packets,
        "facts": Markup(script_json(facts)),
    }


def _figure(run: RunReport, prefix: str, figure: str) -> dict[str, Any]:
    panels, known = [], run.verified.run.study.figures[figure]
    for panel in run.of_figure(figure):
        title, told = f"Figure {figure}{panel.title}", charts.spoken(panel)
        panels.append(
            (panel, _svg(charts.draw_panel(panel), f"{prefix}-{panel.name}", title, told))
        )
    legend = []
    for number, look in enumerate(charts.looks(run, figure)):
        name = f"{prefix}-{figure}-sign{number}"
        sign = _svg(charts.draw_swatch(look), name, f"Sign of {look.label}", "")
        legend.append((sign, look.label))
    return {
        "name": figure,
        "title": known.title,
        # Six panels in a row would be too small to read on a screen.
        "columns": {6: 3}.get(known.columns, known.columns),
        "panels": panels,
        "legend": legend,
    }


def _svg(canvas: charts.Figure, prefix: str, title: str, text: str) -> Markup:
    """A drawing of matplotlib as an element for a page whose policy forbids inline styles.

    Its colours are the page's.

    Args:
        prefix: made part of every id, since a page holds many drawings.
        title, text: its name and description, for those who do not see it.
    """
    drawing = charts.svg_text(canvas)
    opening, body = _DROPPED.sub("", drawing[drawing.index("<svg") :]).split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    body = _STYLE.sub(_as_attributes, body)
    for colour, own in _COLOURS.items():
        body = body.replace(f'"{colour}"', f'"{own}"')
    body = _NAMES.sub(f"{prefix}-", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").strip()
    names = f'aria-labelledby="{prefix}-title" aria-describedby="{prefix}-text"'
    return Markup(
        f'<svg {box[0] if box else ""} role="img" {names} focusable="false" '
        'fill="currentColor">'
        f'<title id="{prefix}-title">{escape(title)}</title>'
        f'<desc id="{prefix}-text">{escape(text)}</desc>{body}'
    )


def _as_attributes(match: re.Match[str]) -> str:
    pairs = (item.split(":", 1) for item in match[1].split(";") if ":" in item)
    kept = ((name.strip(), value.strip()) for name, value in pairs)
    return "".join(f' {name}="{value}"' for name, value in kept if name != "font-family")


def script_json(value: object) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or a line."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)


def _web(name: str) -> str:
    return files("repro.report").joinpath("web", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names a script or style that it allows."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
