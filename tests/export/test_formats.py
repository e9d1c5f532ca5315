"""Exports are read by the tools that they are for, and hold what the results hold."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from repro.api import Results
from repro.cli.main import cli
from repro.errors import ReproError


def export(run: Path, form: str, out: Path) -> Path:
    cli.main(["export", str(run), "--format", form, "-o", str(out)], standalone_mode=False)
    return out


def test_csv(run: Path, results: Results, tmp_path: Path) -> None:
    out = export(run, "csv", tmp_path / "out")
    with (out / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["cell"], float(r["value"])) for r in rows] == [
        (c.cell, c.value) for c in results.cells
    ]
    with (out / "samples.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == len(results.samples) == 9
    assert {row["prompt_sha256"] for row in samples} == {s.prompt_sha256 for s in results.samples}
    with (out / "claims.csv").open(newline="") as file:
        assert {row["claim"] for row in csv.DictReader(file)} >= {"C1", "C18"}


@pytest.mark.interop
def test_the_harness_shows_its_logs(run: Path, results: Results, tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval.utils", reason="needs '.[interop]'")
    import datasets

    out = export(run, "lm-eval", tmp_path / "out")
    for name, variant in (("base", "base"), ("amazon-ft-2000-seed42", "amazon-ft-2000")):
        names = [str(path) for path in (out / name).iterdir()]
        (summary,) = lm_eval.get_results_filenames(names)
        found = json.loads(Path(summary).read_text())
        table = lm_eval.make_table(found)
        for cell in results.cells.where(variant=variant):
            task = cell.cell.partition(".")[2]
            (line,) = (line for line in table.splitlines() if f"|{task}" in line)
            assert float(line.split("|")[7]) == pytest.approx(cell.value, abs=5e-5)
            (samples,) = (n for n in names if lm_eval.get_file_task_name(Path(n).name) == task)
            rows = datasets.load_dataset("json", data_files=samples, split="train").to_list()
            metric = {"accuracy": "acc", "rougeL": "rougeL"}[cell.metric]
            assert sum(row[metric] for row in rows) / len(rows) == pytest.approx(cell.value)
            date = lm_eval.get_file_datetime(Path(samples).name)
            assert Path(summary).name == f"results_{date}.json"


@pytest.mark.interop
def test_inspect_reads_its_logs(run: Path, results: Results, tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="needs '.[interop]'")
    out = export(run, "inspect", tmp_path / "out")
    infos = log.list_eval_logs(str(out))
    assert len(infos) == len(results.cells)
    for info in infos:
        read = log.read_eval_log(info)
        variant = read.eval.model.removeprefix("repro/").removesuffix("-seed42")
        (cell,) = results.cells.where(cell=f"{variant}.{read.eval.task}")
        assert read.status == "success"
        assert read.results.scores[0].metrics[cell.metric].value == cell.value
        for sample, own in zip(read.samples, results.samples_of(cell.cell), strict=True):
            assert (sample.input, sample.target) == (own.prompt, own.gold)
            assert sample.output.completion == own.output
            assert sample.scores[cell.metric].as_float() == own.score


def test_a_data_set_for_the_hub(run: Path, results: Results, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    hub = pytest.importorskip("huggingface_hub")
    out = export(run, "hf-dataset", tmp_path / "out")
    names = datasets.get_dataset_config_names(str(out))
    assert names == ["cells", "samples", "finetunes", "claims"]
    cells = datasets.load_dataset(str(out), split="train", cache_dir=tmp_path / "cache")
    assert cells["value"][:] == [cell.value for cell in results.cells]
    samples = datasets.load_dataset(
        str(out), "samples", split="train", cache_dir=tmp_path / "cache"
    )
    assert samples["prompt"][:] == [sample.prompt for sample in results.samples]
    card = hub.DatasetCard.load(out / "README.md")
    assert card.data.license == "apache-2.0"
    assert results.cells[0].profile in card.data.pretty_name
    assert "## Licences" in card.text


def test_model_cards(run: Path, results: Results, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    out = export(run, "hf-model-card", tmp_path / "out")
    assert [path.parent.name for path in out.glob("*/README.md")] == ["amazon-ft-2000-seed42"]
    card = hub.ModelCard.load(out / "amazon-ft-2000-seed42" / "README.md")
    (score,) = card.data.eval_results
    (cell,) = results.cells.where(variant="amazon-ft-2000")
    assert (score.dataset_name, score.metric_value) == ("amazon", cell.value)
    (tuned,) = results.finetunes
    assert tuned.facts["rows_sha256"] in card.text
    assert cell.model_key in card.text


def test_an_export_replaces_an_older_one_and_nothing_else(run: Path, tmp_path: Path) -> None:
    export(run, "inspect", tmp_path / "out")
    export(run, "hf-model-card", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.json"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ReproError, match="so it is not replaced"):
        export(run, "hf-model-card", tmp_path / "mine")


def test_other_data_and_models_bring_their_licences(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    model = {"kind": "hub", "repo": "somebody/a-model", "revision": "0" * 40}
    (copy / "run.json").write_text(json.dumps(record | {"data": "upstream", "model": model}))
    text = (export(copy, "hf-dataset", tmp_path / "data") / "README.md").read_text("utf-8")
    assert 'license: "other"' in text
    assert "a licence of its own" in text
    assert "licence of the base model" in text
    (card,) = export(copy, "hf-model-card", tmp_path / "cards").glob("*/README.md")
    assert 'base_model: "somebody/a-model"' in card.read_text()
