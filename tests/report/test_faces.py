"""All faces say the same, whatever the texts they show."""

import csv
import io
import json
import random
import re
import runpy
import shutil
from collections import Counter
from collections.abc import Callable
from html import unescape
from pathlib import Path
from xml.dom import minidom

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from repro.errors import ReproError
from repro.printable import printable
from repro.report import charts, export, html, terminal
from repro.report.answer import head
from repro.report.commands import conclude, write_report
from repro.report.export import kit_digest, tables, to_json
from repro.report.folder import write_folder
from repro.report.junit import junit
from repro.report.markdown import markdown
from repro.report.model import Report, RunReport, report
from repro.report.rows import BESIDE, DIFFERS, FINDINGS, MISSING, NUMBERS, failed
from repro.report.words import BRIEFLY
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.claimverdicts import Answer
from repro.verify.reference import record

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "verify" / "conftest.py"))
make: Callable[..., Path] = MAKERS["write_results"]
CELLS = study().claim_cells(claims()["C12"])
SECTIONS = (DIFFERS, MISSING, FINDINGS, NUMBERS, BESIDE)
WORSE = MAKERS["SKILL"] | {CELLS[0]: 0.05}
OUTCOMES = {words: verdict for verdict, words in BRIEFLY.items()}
WORDS = "|".join(OUTCOMES)
ANSWERS = "|".join(sorted(Answer, key=len, reverse=True))
NASTY = "</td></script><script>alert(1)</script>[bold red]|`x`\x1b[31m\x00\u202e\ud800 =1+1 :smile:"
Counts = tuple[Counter[str], Counter[str]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    run = make(home / "run", CELLS, seeds=(1, 2, 3, 4, 5), n=30)
    record([run], home / "expected" / "embedded")
    return home / "expected"


@pytest.fixture(scope="module")
def reports(expected: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    home = tmp_path_factory.mktemp("results")
    same = make(home / "same", CELLS, seeds=(1,), n=30)
    other = {"machine": "B", "noise": "B", "skill": WORSE}
    tampered = make(home / "tampered", CELLS[:-3], seeds=(1,), n=30, **other)
    alone = make(home / "alone", CELLS[:4], n=30, profile=NASTY, machine=NASTY)
    folders = {"same": same, "tampered": tampered, "alone": alone}
    return {name: report(folder, expected=expected) for name, folder in folders.items()}


def printed(found: Report, *, full: bool = False, width: int = 80, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)
    terminal.show(console, found, None, full=full)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def outcomes(text: str) -> Counter[str]:
    """Verdicts by the words of a row such as `5 within the spread, 2 different`."""
    mixed = re.findall(rf"(\d+) ({WORDS})", text)
    return Counter({OUTCOMES[word].value: int(count) for count, word in mixed})


def in_terminal(found: Report) -> Counts:
    text = printed(found, width=200)
    numbers: Counter[str] = Counter()
    section = text[text.index(NUMBERS) : text.index(BESIDE)]
    for count, told in re.findall(r"^(\d+) cells? *(?:\(L\d\))? +(.*)", section, re.M):
        first = re.match(WORDS, told)
        numbers += outcomes(told if told[0].isdigit() else f"{count} {first[0] if first else told}")
    return numbers, Counter(re.findall(rf"^C\d+ +.*? ({ANSWERS})  ", text, re.M))


def in_markdown(found: Report) -> Counts:
    """As a browser would see it, by another library."""
    page = MarkdownIt("commonmark").enable("table").render(markdown(found))
    numbers, held = Counter(), Counter()
    for table in re.findall(r"<table>.*?</table>", page, re.S):
        rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in table.split("</tr>")]
        if rows[0][:2] == ["number", "verdict"]:
            numbers.update(row[1] for row in rows[1:] if row)
        if rows[0][:2] == ["id", "answer"]:
            held.update(row[1] for row in rows[1:] if row)
    return numbers, held


def in_junit(found: Report) -> Counts:
    suites = minidom.parseString(junit(found)).getElementsByTagName("testsuite")
    said = {
        suite.getAttribute("name").rsplit(": ", 1)[-1]: Counter(
            out.firstChild.data.split("\n")[0]  # type: ignore[union-attr]
            for out in suite.getElementsByTagName("system-out")
        )
        for suite in suites
    }
    return said["cells"], said["findings"]


def in_json(found: Report) -> Counts:
    (run,) = json.loads(to_json(found))["runs"]
    numbers, held = run["numbers"], run["claims"]
    return Counter(n["verdict"] for n in numbers), Counter(c["verdict"] for c in held)


def in_csv(found: Report) -> Counts:
    files = tables(found)
    rows = [
        [row["verdict"] for row in csv.DictReader(io.StringIO(files[name]))]
        for name in ("numbers.csv", "claims.csv")
    ]
    return Counter(rows[0]), Counter(rows[1])


FACES = [in_terminal, in_markdown, in_junit, in_json, in_csv]


@pytest.mark.parametrize("face", FACES)
def test_every_face_counts_the_same_verdicts(
    reports: dict[str, Report], face: Callable[[Report], Counts]
) -> None:
    same, held = face(reports["same"])
    assert same == {"REPRODUCED": len(CELLS)}
    assert held.total() == len(claims())
    tampered, held = face(reports["tampered"])
    assert tampered["NOT RUN"] == 3
    assert tampered["NOT REPRODUCED"] >= 1
    assert tampered.total() == len(CELLS)
    assert (tampered, held) == in_json(reports["tampered"])
    numbers, held = face(reports["alone"])
    assert not numbers
    assert held["NOT RUN"] > 0
    assert held == in_json(reports["alone"])[1]


@pytest.mark.parametrize("full", [False, True])
def test_the_terminal_fits_80_columns_without_colour(
    reports: dict[str, Report], full: bool
) -> None:
    for found in reports.values():
        text = printed(found, full=full)
        long = [line for line in text.split("\n") if len(line) > 80]
        assert all(line.startswith("  repro ") for line in long)  # commands stay whole
        assert "\x1b" not in text
    coloured = printed(reports["same"], full=full, force_terminal=True, color_system="standard")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(reports["same"], full=full)


def test_every_face_has_the_same_head_and_the_same_order(reports: dict[str, Report]) -> None:
    for found in reports.values():
        code = found.verification.exit_code
        word = {0: "PASS", 1: "FAIL", 3: "NOT COMPLETE"}[code]
        (run,) = found.runs
        top = head(run.verified)
        assert top.first.startswith(f"{word}: exit code {code}, ")
        texts = [
            printed(found, width=500),
            printed(found, width=500, full=True),
            unescape(markdown(found)),
            junit(found).decode(),
        ]
        for text in texts:
            assert printable(top.first) in unescape(text)
            for sentence in (top.on_paper, top.numbers, top.findings):
                assert sentence in unescape(text)
        assert texts[0].split("\n")[0] == texts[1].split("\n")[0] == printable(top.first)
        assert texts[2].split("\n")[0] == f"# {printable(top.first)}"
        for text in texts[:3]:
            places = [text.index(title) for title in SECTIONS]
            assert places == sorted(places)
        whole = json.loads(to_json(found))
        assert whole["answer"] == top.first
        assert (whole["outcome"], whole["exit_code"]) == (word, code)
        (own,) = whole["runs"]
        assert own["on_paper"] == top.on_paper
        assert not own["evidence_on_paper"]
        assert (own["numbers_sentence"], own["claims_sentence"]) == (top.numbers, top.findings)


def test_what_differs_is_the_same_everywhere(reports: dict[str, Report]) -> None:
    found = reports["tampered"]
    items = failed(found.runs[0].verified)
    assert items[0].kind in ("facts", "run", "figure", "fine-tune", "cell")
    (own,) = json.loads(to_json(found))["runs"]
    assert [item["name"] for item in own["differs"]] == [item.name for item in items]
    full = " ".join(printed(found, width=500, full=True).split())
    for item in items:
        assert f"{item.kind} {item.name}: {item.text}" in full
    assert "3 cells not run" in full
    cells = [item for item in items if item.kind == "cell"]
    assert all("noticed from" in item.text for item in cells)


def test_figures_in_the_terminal_show_paper_ours_and_verdict(reports: dict[str, Report]) -> None:
    """PeerRead, bar FC1 of Figure 4: the paper's number from its file, ours from the results."""
    paper = Path(__file__).parents[2] / "expected_results/paper/figure4.json"
    (known,) = [
        point["value"]
        for point in json.loads(paper.read_text())["points"]
        if (point["panel"], point["series"]) == ("b", "FC1")
    ]
    cells = reports["same"].runs[0].verified.run.cells
    own = [c for c, _ in cells if c.name.startswith("xsum-fticl1-2000.peerread.")]
    ours = max(cells[cell, 1].value for cell in own)
    text = printed(reports["same"], full=True)
    panel = text[text.index("(b) XSum to PeerRead") :]
    row = next(line for line in panel.split("\n") if line.startswith("  FC1"))
    # What passes has no mark.
    assert row.split()[1:7] == [
        "paper", f"{known:.3f}", "ours", f"{ours:.3f}", f"{ours - known:+.3f}", "best",
    ]  # fmt: skip


def test_hostile_texts_are_shown_as_text(reports: dict[str, Report]) -> None:
    found = reports["alone"]
    for full in (False, True):
        text = printed(found, full=full, width=500)
        assert "[bold red]" in text
        assert ":smile:" in text
        assert not set("\x00\x1b\u202e\ud800") & set(text)
    page = MarkdownIt("commonmark").enable("table").render(markdown(found))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    suite = minidom.parseString(junit(found)).getElementsByTagName("testsuite")[0]
    assert "<script>alert(1)</script>[bold red]" in suite.getAttribute("name")
    (run,) = json.loads(to_json(found))["runs"]
    assert run["profile"] == NASTY
    row = next(csv.DictReader(io.StringIO(tables(found)["claims.csv"])))
    assert "alert(1)" in row["run"]
    assert "\x1b" not in row["run"]


def test_junit_keeps_to_the_common_schema(reports: dict[str, Report]) -> None:
    """The parts of the usual XSD (Ant, Jenkins) that CI servers rely on."""
    children = {
        "testsuites": {"testsuite"},
        "testsuite": {"testcase"},
        "testcase": {"skipped", "failure", "system-out"},
    }
    for name, found in reports.items():
        root = minidom.parseString(junit(found)).documentElement
        for tag, allowed in children.items():
            for element in (root, *root.getElementsByTagName("*")):
                if element.tagName == tag:
                    own = {n.tagName for n in element.childNodes if n.nodeType == n.ELEMENT_NODE}
                    assert own <= allowed
        for suite in root.getElementsByTagName("testsuite"):
            cases = suite.getElementsByTagName("testcase")
            assert suite.getAttribute("tests") == str(len(cases))
            names = [case.getAttribute("name") for case in cases]
            assert all(names)
            assert len(set(names)) == len(names)
            for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
                count = len(suite.getElementsByTagName(tag))
                assert suite.getAttribute(attribute) == str(count)
        suites = {
            suite.getAttribute("name").rsplit(": ", 1)[-1]: suite
            for suite in root.getElementsByTagName("testsuite")
        }
        assert list(suites) == ["answer", "facts", "groups", "cells", "findings"]
        assert suites["findings"].getAttribute("failures") == "0"  # another model than the paper's
        code = found.verification.exit_code
        assert (int(root.getAttribute("failures")) > 0) == (code == 1) == (name == "tampered")
        assert (suites["answer"].getAttribute("skipped") == "1") == (code == 3)


def test_findings_count_on_the_papers_model_only(expected: Path, tmp_path: Path) -> None:
    """Asked for by name or not: on another model a finding is neither success nor failure."""
    folder = make(tmp_path / "run", CELLS, seeds=(1,), n=30)
    found = report(folder, expected=expected, asked=["C12"])
    assert found.verification.exit_code == 0
    reversed_ = MAKERS["SKILL"] | {c: 0.9 if c.variant.method == "ft" else 0.1 for c in CELLS}
    own = make(tmp_path / "own", CELLS, n=100, profile="llama2-7b", skill=reversed_)
    found = report(own, expected=expected, asked=["C12"])
    (run,) = found.runs
    assert head(run.verified).evidence
    assert run.verified.claims[0].contradicts
    assert found.verification.exit_code == 1
    suites = minidom.parseString(junit(found)).getElementsByTagName("testsuite")
    assert suites[-1].getAttribute("failures") == "1"
    assert "C12" in head(run.verified).findings


def test_the_order_of_lines_changes_nothing(expected: Path, tmp_path: Path) -> None:
    folder = make(tmp_path / "run", CELLS, seeds=(1, 2), n=30)
    before = report(folder, expected=expected)
    for name in ("results.jsonl", "finetunes.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        (folder / name).write_text("".join(lines))
    after = report(folder, expected=expected)
    assert to_json(after) == to_json(before)
    assert markdown(after) == markdown(before)
    assert printed(after) == printed(before)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, undrawn: None) -> None:
    """Without drawings and HTML, which have tests of their own."""
    monkeypatch.setattr(html, "page", lambda found: "page")


@pytest.mark.usefixtures("quick")
def test_a_report_folder_is_replaced_whole_or_left(
    reports: dict[str, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report"
    files = write_folder(reports["same"], out)
    assert {path.name for path in files} == {
        "report.html", "report.md", "report.json", "junit.xml",
        "claims.csv", "numbers.csv", "points.csv",
    }  # fmt: skip
    assert all(path.is_file() for path in files)
    first = (out / "report.json").read_bytes()

    def fail(run: RunReport, folder: Path) -> None:
        raise ReproError("no matplotlib")

    with monkeypatch.context() as patch:
        patch.setattr(charts, "write_figures", fail)
        with pytest.raises(ReproError, match="no matplotlib"):
            write_folder(reports["tampered"], out)
    assert (out / "report.json").read_bytes() == first
    write_folder(reports["tampered"], out)
    assert (out / "report.json").read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.usefixtures("quick")
def test_what_is_no_report_is_not_replaced(reports: dict[str, Report], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ReproError, match=r"has no report\.json") as caught:
        write_report(reports["same"], tmp_path, Console(file=io.StringIO()))
    assert caught.value.exit_code == 2
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.usefixtures("quick")
def test_a_run_ends_as_verify_does(expected: Path, tmp_path: Path) -> None:
    def end(folder: Path, stored: Path, *, full: bool = False) -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=80, highlight=False)
        found = report(folder, expected=stored)
        code = conclude(found, console, full=full, out=folder / "report")
        assert code == conclude(found, Console(file=io.StringIO()))
        assert isinstance(console.file, io.StringIO)
        return code, " ".join(console.file.getvalue().split())

    whole = make(tmp_path / "whole", CELLS, seeds=(1,), n=30)
    assert end(whole, expected)[0] == 0
    written = (whole / "report" / "report.json").stat().st_mtime_ns
    assert end(whole, expected)[0] == 0
    assert (whole / "report" / "report.json").stat().st_mtime_ns == written
    part = make(tmp_path / "part", CELLS[:-3], seeds=(1,), n=30)
    assert end(part, expected)[0] == 3
    code, text = end(part, tmp_path, full=True)  # a command of a long path is printed there alone
    assert code == 3
    assert "a stored reference for this kind of run" in text
    assert "repro expected record" in text
    worse = make(tmp_path / "worse", CELLS, seeds=(1,), n=30, noise="B", machine="B", skill=WORSE)
    assert end(worse, expected)[0] == 1


@pytest.mark.usefixtures("quick")
def test_a_report_of_another_kit_is_written_again(
    expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "run", CELLS[:4], seeds=(1,), n=30)
    page = folder / "report" / "report.html"

    def finished() -> str:
        found = report(folder, expected=expected)
        conclude(found, Console(file=io.StringIO()), out=page.parent)
        return page.read_text()

    finished()
    page.write_text("as it was")
    assert finished() == "as it was"
    monkeypatch.setattr(export, "kit_digest", lambda: "another kit")
    assert finished() == "page"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("report/web/report.css", True),
        ("report/views.py", True),
        ("studies/paper/claims.toml", True),
        ("report/__pycache__/views.cpython-311.pyc", False),
        ("models/pins.toml", False),
    ],
)
def test_a_kit_is_another_if_files_that_make_reports_are(
    tmp_path: Path, name: str, counts: bool
) -> None:
    kit = Path(export.__file__).parents[1]
    copy = shutil.copytree(kit, tmp_path / "kit", ignore=shutil.ignore_patterns("embedded"))
    assert kit_digest(copy) == kit_digest()
    (copy / name).parent.mkdir(exist_ok=True)
    with (copy / name).open("ab") as file:
        file.write(b" ")
    assert (kit_digest(copy) != kit_digest()) == counts
