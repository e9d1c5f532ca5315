"""Where a run's time went."""

import json
from pathlib import Path

import pytest

from repro.cli.main import cli
from repro.execute.timing import epochs_taken, in_words

FLOPS = ("prefill", "decode", "train")


def test_a_run_says_and_stores_where_its_time_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--variants", "amazon-ft-2000", "--tests", "amazon,socialqa", "--rows", "4"]
    where = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    cli.main([*words, *where], standalone_mode=False)
    told = capsys.readouterr().out
    lines = (tmp_path / "out/timings.jsonl").read_text(encoding="utf-8").splitlines()
    *steps, line = map(json.loads, lines)
    assert line["step"] == "run"
    assert set(line["parts"]) >= {"load", "prompts", *FLOPS, "metrics", "results", "other"}
    assert sum(line["parts"].values()) == pytest.approx(line["seconds"], abs=0.02)
    # Every step lies within the run, and training within its own step.
    assert sum(step["seconds"] for step in steps) <= line["seconds"]
    (train,) = [step["seconds"] for step in steps if step["step"].startswith("finetune")]
    assert line["parts"]["train"] == pytest.approx(train, rel=0.05)
    # A part's fraction times its seconds is its arithmetic; the run's is the sum of all.
    used = {name: line["mfu"][name] * line["parts"][name] for name in FLOPS}
    assert line["mfu"]["run"] * line["seconds"] == pytest.approx(sum(used.values()), rel=0.05)
    assert "GFLOP/s were used" in " ".join(told.split())

    cli.main([*words, *where], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    lines = (tmp_path / "out/timings.jsonl").read_text(encoding="utf-8").splitlines()
    assert "mfu" not in json.loads(lines[-1])  # no model ran
    assert "GFLOP/s" not in told


@pytest.mark.parametrize(
    ("samples", "steps", "epochs"),
    [(160, 20, 2), (160, 4, 0.4), (200, 24, 1.92), (8, 2, 2)],  # of 16 samples; 8 are unused; fewer
)
def test_a_training_that_ends_at_a_checkpoint_took_fewer_tokens(
    samples: int, steps: int, epochs: float
) -> None:
    recipe = {"micro_batch": 2, "accumulation": 8}
    known = {"recipe": recipe, "samples": samples, "steps": steps, "dead_micro_batches": [0, 0]}
    assert epochs_taken(known) == epochs


def test_in_words() -> None:
    line = {"seconds": 10.0, "parts": {"load": 1.0, "train": 8.96, "wait": 0.04}}
    assert in_words(line) == "10 s: train 90%, load 10%"
    line |= {"matmul_flops": 1.234e12, "mfu": {"train": 0.456, "run": 0.4}}
    assert in_words(line).splitlines()[1] == (
        "40% of the measured 1,234 GFLOP/s were used (train 46%)"
    )
