"""Fine-tuning in several processes gives what one process gives."""

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from repro import profiles
from repro.data.embedded import EmbeddedData
from repro.errors import ReproError
from repro.evaluate import Settings
from repro.execute.training import launch, train
from repro.finetune import recipe_from
from repro.models.memory import Placement
from repro.models.spec import EMBEDDED, ModelSpec
from repro.plan.placement import Choice
from repro.plan.plan import TORCH, Training
from repro.plan.steps import FineTune, Setup
from repro.spec.prompts import Template
from repro.spec.tasks import Part
from repro.studies.paper.prompts import template
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import TASKS, task_of


def _job(
    folder: Path, *, gpus: int = 1, sharded: bool = False, offloaded: bool = False, **changes: Any
) -> tuple[FineTune, Path, dict[str, Path], Choice]:
    """What `train` takes: a step, the base, the folder of its model, and a placement."""
    folder.mkdir()
    published = protocol("published-code")
    recipe = recipe_from(published, seed=1, dtype="float32", learning_rate_factor=25.0)
    train_set = Part("train", "amazon", 2000)
    rows = EmbeddedData().rows(train_set, task_of(train_set))
    setup = Setup(
        base="base",
        spec=ModelSpec(kind="embedded"),
        compute=profiles.load("embedded").compute,
        protocol=published,
        settings=Settings(token_budget=4096, max_new_tokens=1),
        engine=TORCH,
    )
    training = Training(
        recipe=replace(recipe, **changes),
        template=Template(TASKS["sentiment"], template(TASKS["sentiment"], "p1")),
        rows=rows.select(range(20)),
        demonstrations=rows.select([]),
        contexts=(),
        dropped={},
        facts={},
    )
    step = FineTune(key="key", name="finetune", label="", setup=setup, training=training)
    where = Placement(sharded=sharded, offloaded=offloaded)
    return step, EMBEDDED, {"key": folder}, Choice(placement=where, gpus=gpus, tokens=4096)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_two_processes_end_in_the_same_weights(tmp_path: Path, sharded: bool) -> None:
    train(*_job(tmp_path / "one"))
    launch(*_job(tmp_path / "two", gpus=2, sharded=sharded))
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
    train(*_job(tmp_path / "here"))
    train(*_job(tmp_path / "away", offloaded=True))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "away"))
    assert all((one[name] == two[name]).all() for name in one)
    told = [json.loads((tmp_path / n / "facts.json").read_text()) for n in ("here", "away")]
    assert [facts["machine"]["offloaded"] for facts in told] == [False, True]


@pytest.mark.usefixtures("warm")
def test_an_error_of_a_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="no training sample has a label left"):
        launch(*_job(tmp_path / "bad", gpus=2, max_length=1))


_RANK = """
import os, sys
from repro.execute.training import _end_with
held = open(sys.argv[1], "w")
print("ready", file=held, flush=True)
_end_with(0)
"""
_AGENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True).wait()
"""
_LAUNCHER = """
import signal, sys
from repro.execute.training import run_together
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
run_together([sys.executable, "-c", *sys.argv[1:]])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_launched_them(tmp_path: Path, how: signal.Signals) -> None:
    """As those of torchrun, which have a session of their own."""
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    end = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-c", _LAUNCHER, _AGENT, _RANK, str(alive)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as launcher:
        try:
            assert select.select([end], [], [], 60)[0]
            assert os.read(end, 100) == b"ready\n"
            launcher.send_signal(how)
            assert select.select([end], [], [], 60)[0]
            assert os.read(end, 100) == b""  # nobody has it open any more
        finally:
            launcher.kill()
