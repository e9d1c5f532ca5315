"""Results from Python: what the files hold, as plain typed rows."""

import json
import runpy
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import repro
from repro.api import Results
from repro.errors import ReproError
from repro.spec.cells import Cell

ROOT = Path(__file__).parents[1]
MAKERS = runpy.run_path(str(ROOT / "tests" / "verify" / "conftest.py"))
NAMES = ["base.sst2.p1.0", "base.xsum.p1.1", "amazon-ft-2000.sst2.p1.0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [Cell.parse(name) for name in NAMES]
    home = tmp_path_factory.mktemp("api")
    made: Path = MAKERS["write_results"](home / "run", cells, seeds=(1, 2), n=20)
    return made


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return repro.load(folder)


def test_cells_are_the_lines_of_the_file(folder: Path, results: Results) -> None:
    lines = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    assert len(results.cells) == len(lines) == 4
    for line in lines:
        (cell,) = results.cells.where(cell=line["cell"], seed=line["seed"])
        assert (cell.value, cell.n, cell.key) == (line["value"], 20, line["key"])
        assert f"{cell.variant}.{cell.dataset}.{cell.prompt}.{cell.shots}" == cell.cell


def test_samples_have_the_mean_of_their_cell(results: Results) -> None:
    assert len(results.samples) == 4 * 20
    for cell in results.cells:
        own = results.samples_of(cell.cell, cell.seed)
        assert sum(sample.score for sample in own) / len(own) == pytest.approx(cell.value)
        assert {sample.logits is None for sample in own} == {cell.metric != "accuracy"}
    assert len(results.samples_of("amazon-ft-2000.sst2.p1.0")) == 2 * 20
    with pytest.raises(ReproError, match=r"has no cell 'base\.rte\.p1\.0'"):
        results.samples_of("base.rte.p1.0")


def test_claims_are_those_of_verify(folder: Path, results: Results) -> None:
    from repro.report.model import report

    shown = report(folder).runs[0].verified.claims
    assert [(c.claim, c.verdict) for c in results.claims] == [
        (one.claim.id, one.verdict.value) for one in shown
    ]


def test_finetunes_and_records(folder: Path, results: Results) -> None:
    assert [(t.variant, t.seed) for t in results.finetunes] == [
        ("amazon-ft-2000", 1),
        ("amazon-ft-2000", 2),
    ]
    assert all(t.losses for t in results.finetunes)
    assert results.records == (json.loads((folder / "run.json").read_text()),)


def test_tables_are_sequences_of_frozen_rows(results: Results) -> None:
    assert list(results.cells[:2]) == [results.cells[0], results.cells[1]]
    with pytest.raises(FrozenInstanceError):
        results.cells[0].value = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError, match="Score has no field 'colour'"):
        results.cells.where(colour="red")
    assert results.cells.to_dicts()[0]["cell"] == results.cells[0].cell


def test_pandas(results: Results) -> None:
    pytest.importorskip("pandas")
    frame = results.cells.to_pandas()
    assert list(frame["cell"]) == [cell.cell for cell in results.cells]
    assert results.samples.to_pandas()["score"].between(0, 1).all()
    assert "verdict" in results.claims[:0].to_pandas().columns


def test_prompts_come_with_a_real_run(tmp_path: Path) -> None:
    from repro.cli.main import cli

    words = ["run", "--cells", "base.rte.p1.3", "--rows", "2"]
    where = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    cli.main([*words, *where], standalone_mode=False)
    (cell,) = repro.load(tmp_path / "out").cells
    samples = repro.load(str(tmp_path / "out")).samples
    assert cell.low is not None
    assert cell.low <= cell.value <= cell.high
    assert [sample.row for sample in samples] == [0, 1]
    for sample in samples:
        assert sample.prompt is not None
        assert sample.prompt.count("### Inference:") == 4
        assert sample.output in sample.logits


def test_no_results_say_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=r"has no results\.jsonl"):
        repro.load(tmp_path)


def test_importing_the_kit_stays_light() -> None:
    code = "import sys, repro; print({'numpy', 'torch'} & set(sys.modules), repro.load.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "load"]
