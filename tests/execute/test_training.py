"""Fine-tuning in several processes gives what one process gives."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from repro.data.embedded import EmbeddedData
from repro.errors import ReproError
from repro.execute.training import TrainingRequest, launch, train
from repro.finetune import recipe_from
from repro.models.spec import EMBEDDED
from repro.spec.tasks import Part
from repro.studies.paper.prompts import template
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import TASKS, task_of


def _request(folder: Path, **changes: object) -> TrainingRequest:
    folder.mkdir()
    factors = {"learning_rate_factor": 25.0, "length_factor": 1.0}
    recipe = recipe_from(protocol("published-code"), seed=1, dtype="float32", **factors)
    rows = (
        EmbeddedData()
        .rows(Part("train", "amazon", 2000), task_of(Part("train", "amazon", 2000)))
        .select(range(20))
        .to_list()
    )
    return TrainingRequest(
        base=str(EMBEDDED),
        folder=str(folder),
        task="sentiment",
        fields=["input"],
        text=template(TASKS["sentiment"], "p1"),
        rows=rows,
        demonstrations=[],
        contexts=[],
        recipe=asdict(recipe) | changes,
        device="cpu",
        rotary="float32",
        token_budget=4096,
    )


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_two_processes_end_in_the_same_weights(tmp_path: Path, sharded: bool) -> None:
    one, two = _request(tmp_path / "one"), replace(_request(tmp_path / "two"), sharded=sharded)
    train(one)
    launch(two, 2)
    machine = json.loads((tmp_path / "two/facts.json").read_text())["machine"]
    assert (machine["processes"], machine["sharded"]) == (2, sharded)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    base = load_file(EMBEDDED / "model.safetensors")
    for name, own in weights[0].items():
        # Sums are split otherwise, and AdamW scales a gradient that is mere rounding up to a whole
        # step of 5e-4: not one weight in a thousand may be more than a hundredth of that apart, and
        # none more than a step. A lost micro-batch moves nearly all of them by about a step.
        apart = abs(weights[1][name] - own)
        assert (apart > 5e-6).mean() < 1e-3, name
        assert apart.max() < 5e-4, name
    moved = max(abs(weights[0][name][: len(old)] - old).max() for name, old in base.items())
    assert moved > 1e-4


def test_moments_in_main_memory_change_no_bit(tmp_path: Path) -> None:
    here, away = _request(tmp_path / "here"), replace(_request(tmp_path / "away"), offloaded=True)
    train(here)
    train(away)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "away"))
    assert all((one[name] == two[name]).all() for name in one)
    told = [json.loads((tmp_path / n / "facts.json").read_text()) for n in ("here", "away")]
    assert [facts["machine"]["offloaded"] for facts in told] == [False, True]


@pytest.mark.usefixtures("warm")
def test_an_error_of_a_process_is_told(tmp_path: Path) -> None:
    request = _request(tmp_path / "bad", max_length=1)
    with pytest.raises(ReproError, match="no training sample has a label left"):
        launch(request, 2)
