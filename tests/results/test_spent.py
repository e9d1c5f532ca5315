"""What a run took: device hours, and what they cost."""

import json
import runpy
import shutil
from pathlib import Path

import pytest

from repro.cli.main import cli
from repro.errors import ReproError
from repro.report.model import report
from repro.results.spent import Rates
from repro.spec.cells import Cell

ROOT = Path(__file__).parents[2]
MAKERS = runpy.run_path(str(ROOT / "tests" / "verify" / "conftest.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [Cell.parse("base.sst2.p1.0"), Cell.parse("amazon-ft-2000.sst2.p1.0")]
    made: Path = MAKERS["write_results"](tmp_path_factory.mktemp("spent") / "run", cells, n=20)
    lines = (made / "finetunes.jsonl").read_text().splitlines()
    (tuned,) = map(json.loads, lines)
    tuned["machine"]["processes"] = 4
    (made / "finetunes.jsonl").write_text(json.dumps(tuned) + "\n")
    steps = [("weights", 60), ("finetune amazon-ft-2000 seed 42", 3600), ("run", 9999)]
    steps += [("evaluate amazon-ft-2000 seed 42 float32", 240), ("run", 9999)]
    text = "".join(json.dumps({"step": n, "seconds": s}) + "\n" for n, s in steps)
    (made / "timings.jsonl").write_text(text)
    return made


def test_a_fine_tune_on_four_devices_counts_four_times(folder: Path) -> None:
    (run,) = report(folder, rates=Rates(price=2.0, carbon=0.25)).verification.runs
    assert run.spent is not None
    assert run.spent.hours == pytest.approx(4 + 300 / 3600)
    assert str(run.spent) == (
        "4.08 device hours for 3 steps; 8.17 dollars at 2 an hour; 1.02 kg of CO2e at 0.25 kg an "
        "hour"
    )


@pytest.mark.usefixtures("undrawn")
def test_all_faces_tell_it_and_the_price_only_where_asked(folder: Path, tmp_path: Path) -> None:
    for more, told in (([], False), (["--price", "2"], True)):
        out = tmp_path / f"report{len(more)}"
        cli.main(["report", str(folder), "-o", str(out), *more], standalone_mode=False)
        for name in ("report.html", "report.md", "report.json", "junit.xml"):
            text = (out / name).read_text(encoding="utf-8")
            assert "4.08 device hours for 3 steps" in text
            assert ("8.17 dollars at 2 an hour" in text) == told


def test_results_that_do_not_tell_have_no_such_line(folder: Path, tmp_path: Path) -> None:
    made = MAKERS["write_results"](tmp_path / "run", [Cell.parse("base.sst2.p1.0")], n=20)
    (run,) = report(made).verification.runs
    assert run.spent is None


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"step": "weights", "seconds": "42"}, "seconds"),
        ({"step": "weights", "seconds": -1}, "seconds"),
        ({"step": ["weights"], "seconds": 1}, "step"),
        ({"step": "weights"}, "seconds"),
    ],
)
def test_a_malformed_time_is_refused_with_file_and_line(
    folder: Path, tmp_path: Path, line: dict[str, object], field: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    with (copy / "timings.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ReproError, match=rf"timings\.jsonl, line 6: field '{field}'"):
        report(copy)
