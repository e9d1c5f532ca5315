"""All faces of the audit say the same, and show any text as text."""

import csv
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Tree

from repro.audit.compare import Agreement, Comparison, Stored
from repro.audit.faces import write
from repro.audit.findings import FINDINGS

HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m"
TOLD = {
    ("no-majority", "mnli1, all"): Agreement.EQUAL,
    ("no-majority", HOSTILE): Agreement.DIFFERS,
    ("label-tokens", "nli, neutral: scored"): Agreement.NOT_RUN,
}


class Page(HTMLParser):
    """The verdicts of the values, by text, and every element's name."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def comparisons() -> list[Comparison]:
    return [
        Comparison(
            Stored("A5", finding, what, 2, audit_says=3 if verdict is Agreement.EQUAL else None),
            {Agreement.EQUAL: 2, Agreement.DIFFERS: 7, Agreement.NOT_RUN: None}[verdict],
            verdict,
        )
        for (finding, what), verdict in TOLD.items()
    ]


def test_faces_agree_and_show_texts_as_texts(tmp_path: Path) -> None:
    findings = [finding for finding in FINDINGS if finding.id in {name for name, _ in TOLD}]
    write(findings, comparisons(), {}, tmp_path / "out")
    folder = tmp_path / "out"
    counts = Counter(verdict.value for verdict in TOLD.values())

    with (folder / "audit.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["finding"], line["what"]): line["verdict"] for line in lines} == TOLD
    stored = json.loads((folder / "audit.json").read_text("utf-8"))["comparisons"]
    assert Counter(item["verdict"] for item in stored) == counts

    cases = Tree.parse(folder / "junit.xml").getroot().findall("testsuite/testcase")
    kinds = Counter(
        next((tag for tag in ("failure", "skipped") if case.find(tag) is not None), "passed")
        for case in cases
    )
    assert kinds == {"passed": 1, "failure": 1, "skipped": 1}

    page = Page()
    page.feed((folder / "audit.html").read_text("utf-8"))
    values = {row[0]: row[4] for row in page.rows if len(row) == 6 and row[4] in counts}
    assert values == {
        what.replace("\x1b", "\\x1b"): verdict.value for (_, what), verdict in TOLD.items()
    }
    assert "script" not in page.tags
    assert page.tags.count("section") == len(findings)

    text = (folder / "audit.md").read_text("utf-8")
    assert "<script>" not in text
    assert "AUDIT says 3" in text
    assert [line.split(" | ")[-1] for line in text.splitlines() if "A5 |" in line] == [
        "NOT RUN |",
        "DIFFERS |",
    ]
