"""Tasks for lm-evaluation-harness: the kit's own prompts, and the kit's own scores."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import repro
from repro.cli.main import cli
from repro.cli.options import build_plan, parse
from repro.errors import ReproError
from repro.evaluate.encode import Job, encode
from repro.export import harness_functions
from repro.export.tasks import write_tasks
from repro.models.spec import EMBEDDED
from repro.studies.paper.tasks import DATASETS

ROWS = 3
# The scored tokens of their labels, those of prompt 1, are no text behind prompt 2 (AUDIT A5).
NO_TASKS = {f"mnli1.p2.{shots}" for shots in (0, 3, 5, 7)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.mark.interop
@pytest.mark.parametrize("protocol", ["published-code", "corrected"])
def test_all_sets_give_the_scores_of_the_kit(
    place: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="needs '.[interop]'")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("TQDM_DISABLE", "1")
    chosen = ["--protocol", protocol, "--rows", str(ROWS), "--store", str(place / "store")]
    out, own = place / f"tasks-{protocol}", place / f"run-{protocol}"
    cli.main(["export", "tasks", *chosen, "-o", str(out)], standalone_mode=False)
    words = ["run", *chosen, "--variants", "base", "--out", str(own)]
    cli.main(words, standalone_mode=False)
    logging.disable(logging.WARNING)
    try:
        model = HFLM(
            pretrained=str(EMBEDDED), device="cpu", dtype="float32", batch_size=32,
            add_bos_token=False,
        )  # fmt: skip
        manager = TaskManager(include_path=str(out), include_defaults=False)
        found = lm_eval.simple_evaluate(
            model=model, tasks=["repro"], task_manager=manager, bootstrap_iters=0
        )
    finally:
        logging.disable(logging.NOTSET)
    scores = {
        name.removeprefix("repro_").replace("_", "."): one.get("acc,none", one.get("rougeL,none"))
        for name, one in found["results"].items()
        if name != "repro" and name.removeprefix("repro_") not in DATASETS
    }
    cells = {cell.cell.partition(".")[2]: cell.value for cell in repro.load(own).cells}
    if protocol == "published-code":
        cells = {name: value for name, value in cells.items() if name not in NO_TASKS}
    assert {name.partition(".")[0] for name in scores} == set(DATASETS)
    assert scores == pytest.approx(cells)


def exported(folder: Path, tokenizer: Any, **options: Any) -> Any:
    """The tasks of a plan, and the plan."""
    defaults: dict[str, Any] = {
        "study": "paper", "profile": "embedded", "protocol_name": None, "overrides": (),
        "figures": None, "claims": None, "variants": "base", "tests": None, "cells": None,
        "grid": None, "rows": 2, "seeds": None, "data_dir": None, "store": folder / "store",
        "checkpoints": None, "skip_missing": False, "engine": "torch", "model": (),
    }  # fmt: skip
    plan = build_plan(parse(**defaults | options), lambda _: None)
    out = folder / "out"
    out.mkdir()
    write_tasks(plan, tokenizer, out)
    return plan, out


@pytest.mark.parametrize("protocol", ["published-code", "paper-text", "corrected"])
@pytest.mark.parametrize("data", ["embedded", "upstream"])
def test_texts_have_the_tokens_of_the_kit(
    data: str, protocol: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The harness sees texts only: tokenised, they must be the kit's prompts and labels."""
    transformers = pytest.importorskip("transformers")
    options: dict[str, Any] = {"protocol_name": protocol}
    if data == "upstream":
        import os

        source = request.getfixturevalue("upstream")
        vocabulary = os.environ.get("REPRO_LLAMA2_TOKENIZER")
        if not vocabulary:
            pytest.skip("REPRO_LLAMA2_TOKENIZER does not name the Llama-2 tokenizer")
        tokenizer = transformers.AutoTokenizer.from_pretrained(vocabulary)
        options |= {"profile": "small", "data_dir": source.folder}
        options["tests"] = "rte,mnli1,amazon,paws,socialqa"
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED)
    plan, out = exported(tmp_path, tokenizer, **options)
    tasks = json.loads((out / "tasks.json").read_text())
    harness_functions.HERE, before = out, harness_functions.HERE
    missing = set()
    try:
        for cell in plan.models[0].cells:
            name = f"repro_{cell.cell.dataset}_{cell.cell.prompt}_{cell.cell.shots}"
            if name not in tasks:
                missing.add(name.removeprefix("repro_").replace("_", "."))
                continue
            encoded = encode(
                Job(cell.asked, cell.rows, cell.demonstrations), tokenizer, plan.request.protocol
            )
            rows = harness_functions.rows(cell=name)["test"].to_list()
            for row, ids in zip(rows, encoded.prompts, strict=True):
                told = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
                assert told == list(ids), name
                for label, choice in zip(
                    tasks[name]["labels"], tasks[name]["choices"], strict=True
                ):
                    whole = tokenizer(row["prompt"] + choice, add_special_tokens=False)["input_ids"]
                    assert whole[-1] == encoded.labels[label], (name, label, choice)
                    assert len(whole) <= len(ids) + 1
    finally:
        harness_functions.HERE = before
    assert missing == (NO_TASKS if plan.request.protocol.label_tokens == "prompt-1" else set())


def test_cells_that_texts_cannot_score_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", str(tmp_path / "store"), "--rows", "2", "-o", str(tmp_path / "out")]
    cells = ["--cells", "base.mnli1.p2.0,base.rte.p1.0"]
    cli.main(["export", "tasks", *cells, *words], standalone_mode=False)
    assert "left out: repro_mnli1_p2_0: " in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in (tmp_path / "out").glob("*.yaml")] == ["repro_rte_p1_0.yaml"]
    with pytest.raises(ReproError, match="no task is left") as caught:
        cli.main(["export", "tasks", "--cells", "base.mnli1.p2.0", *words], standalone_mode=False)
    assert caught.value.hint == "--set label_tokens=in-context"


def test_scores_of_rows() -> None:
    doc = {"labels": ["yes", "no"], "gold": "no"}
    assert harness_functions.accuracy(doc, [(-1.0, False), (-1.0, False)]) == {"acc": 0.0}
    assert harness_functions.accuracy(doc, [(-2.0, False), (-1.0, True)]) == {"acc": 1.0}
    split = harness_functions.accuracy({"labels": ["yes", "no"], "gold": "-"}, [(0.0, True)] * 2)
    assert split == {"acc": 0.0}
    text = {"gold": "a b c d", "stemmer": False, "cut": True}
    assert harness_functions.rouge(text, ["a b c d\n\nand more"]) == {"rougeL": 1.0}
    whole = harness_functions.rouge(text | {"cut": False}, ["a b c d\n\nand more"])
    assert whole == {"rougeL": pytest.approx(0.8)}
    assert harness_functions.rouge(text, ["a b"]) == {"rougeL": pytest.approx(2 / 3)}
