"""The HTML report: one file that needs no network and runs nothing but its own script.

Verdicts, tables and drawings are there without any script; the script adds filters, links into the
page, and the view of a cell's samples, which travel packed inside the page.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from repro import __version__
from repro.errors import EXIT_MISSING, ReproError
from repro.extras import install_command
from repro.printable import printable
from repro.report import charts, summaries, views
from repro.report.answer import Outcome, first_line, head
from repro.report.departures import HEADING, HEADS, READ, departures
from repro.report.inline import inline_svg
from repro.report.model import FOLLOWS, Report, RunReport
from repro.report.packing import LONGEST, pack
from repro.report.summaries import SummaryReport
from repro.report.summarycharts import draw_summary, spoken
from repro.report.words import BRIEFLY
from repro.results.texts import prompts
from repro.verify.claimverdicts import Answer
from repro.verify.verdicts import Level, Verdict

try:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
except ModuleNotFoundError:
    raise ReproError(
        "the HTML report needs jinja2, which is not installed",
        hint=install_command("report"),
        exit_code=EXIT_MISSING,
    ) from None

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def write(report: Report, path: Path) -> Path:
    """Write a report as one HTML file.

    Raises:
        ReproError: a samples file or a prompt cannot be read (1).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names may hold half a surrogate pair, which UTF-8 does not.
    path.write_bytes(page(report).encode("utf-8", "backslashreplace"))
    return path


def page(report: Report) -> str:
    """A report as the text of an HTML file."""
    return render(
        "report.html.j2",
        _web("report.js"),
        first=printable(first_line(report.verification)),
        outcome=Outcome.of(report.verification.exit_code).value,
        evidence=any(head(run).evidence for run in report.verification.runs),
        published=any(run.verified.run.study.published for run in report.runs),
        runs=[_run(run, index, report) for index, run in enumerate(report.runs)],
        warnings=[printable(text) for text in report.verification.warnings],
        survival=[
            (claim, {printable(name): verdict for name, verdict in row})
            for claim, row in report.verification.survival
        ],
        verdicts=[(verdict.value, BRIEFLY[verdict]) for verdict in Verdict],
        answers=[answer for answer in Answer if answer is not Answer.NOT_RUN],
        meaning=views.MEANING,
        follows=list(FOLLOWS.values()),
        levels=list(Level),
        tasks=list(dict.fromkeys(t for run in report.runs for t in run.verified.run.study.tasks)),
        not_compared=views.NOT_COMPARED,
        read=summaries.READ,
        departures={"heading": HEADING, "read": READ, "heads": HEADS},
        longest=f"{LONGEST:,}",
    )


def render(template: str, script: str = "", **values: object) -> str:
    """A template of `web/` as a page that allows nothing but its own style and script."""
    style = _web("report.css")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    allowed = f"'{_hash(script)}'" if script else "'none'"
    return environment.from_string(_web(template)).render(
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src '{_hash(style)}'",
                f"script-src {allowed}",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        style=Markup(style),
        script=Markup(script),
        version=__version__,
        **values,
    )


def _run(run: RunReport, index: int, report: Report) -> dict[str, Any]:
    view = views.run_view(run, index, report)
    packets = pack(run, prompts(run.verified.run.folder))
    facts = {
        row["name"]: {
            "dataset": row["dataset"],
            "facts": row.pop("facts"),
            "seeds": [
                str(seed)
                for seed, result in run.cells.get(cell, {}).items()
                if result.outcomes is not None
            ],
        }
        for cell, row in zip(views.cells_of(run), view["cells"], strict=True)
    }
    return view | {
        "summaries": [
            _summary(report, f"{view['id']}-summary{number}")
            for number, report in enumerate(run.summaries, 1)
        ],
        "departures": [row.texts for row in departures(run.verified.run)],
        "figures": [_figure(run, view["id"], figure) for figure in run.verified.run.study.figures],
        "packets": {name: Markup(packet) for name, packet in packets.by_dataset.items()},
        "samples": packets,
        "facts": Markup(script_json(facts)),
    }


def _figure(run: RunReport, prefix: str, figure: str) -> dict[str, Any]:
    panels, known = [], run.verified.run.study.figures[figure]
    for panel, view in views.figure_views(run, figure):
        drawing = inline_svg(
            charts.svg_text(charts.draw_panel(panel)),
            prefix=f"{prefix}-{view['name']}",
            title=f"Figure {figure}{view['title']}",
            text=views.spoken(panel),
        )
        panels.append(view | {"svg": Markup(drawing)})
    looks = (*charts.styles(run.of_figure(figure)), *charts.run_looks(run))
    legend = [
        (
            Markup(
                inline_svg(
                    charts.svg_text(charts.draw_swatch(look)),
                    prefix=f"{prefix}-{figure}-sign{number}",
                    title=f"Sign of {look.label}",
                    text="",
                )
            ),
            look.label,
        )
        for number, look in enumerate(looks)
    ]
    return {
        "name": figure,
        "title": known.title,
        # Six panels in a row would be too small to read on a screen.
        "columns": {6: 3}.get(known.columns, known.columns),
        "panels": panels,
        "legend": legend,
    }


def _summary(report: SummaryReport, prefix: str) -> dict[str, Any]:
    """A curve or matrix: its drawing, and its places as a table."""
    drawing = inline_svg(
        charts.svg_text(draw_summary(report)),
        prefix=prefix,
        title=report.title,
        text=spoken(report),
    )
    return {
        "title": report.title,
        "kind": report.summary.kind,
        "axis": report.summary.axis,
        "columns": report.summary.columns,
        "rows": [(row, list(own.values())) for row, own in report.grid()],
        "count": report.count_text,
        "svg": Markup(drawing),
    }


def script_json(value: object) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or a line."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)


def _web(name: str) -> str:
    return files("repro.report").joinpath("web", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names a script or style that it allows."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
