"""What a run says of how far it is, and of who does what."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from repro import bars
from repro.bars import Relay, Shown
from repro.execute.progress import Whole
from repro.execute.run import run
from repro.execute.worker import Done
from repro.plan.estimate import by_characters, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import steps_of
from repro.plan.store import Store


def whole(
    plan: Plan, folder: Path, progress: Progress | None, said: list[str], done: int | None = None
) -> Whole:
    """Of a run of which the first steps are done; of all without a number."""
    steps = steps_of(plan, folder)
    found = Whole(Store(folder), steps, seconds_of(plan, by_characters), progress, said.append)
    with found.shown():
        for step in steps[:done]:
            found.finished(step, Done())
    return found


def test_without_a_terminal_each_model_but_the_last_is_a_line(plan: Plan, tmp_path: Path) -> None:
    piped = bars.bars(Console(force_terminal=False))
    for progress in (None, piped):
        said: list[str] = []
        whole(plan, tmp_path, progress, said)
        lines = [line for line in said if "models done" in line]
        assert len(lines) == len(plan.models) - 1
        for number, line in enumerate(lines, 1):
            assert re.fullmatch(rf"{number} of 3 models done, about .+ left", line)


def test_a_terminal_shows_the_run_and_each_worker(plan: Plan, tmp_path: Path) -> None:
    said: list[str] = []
    file = io.StringIO()
    progress = bars.bars(Console(file=file, force_terminal=True, width=120))
    steps = steps_of(plan, tmp_path)
    found = Whole(Store(tmp_path), steps, seconds_of(plan, by_characters), progress, said.append)
    with found.shown():
        found.begun("worker 1", "[2/3] a model")
        found.begun("worker 2", "[3/3] another")
        found.told("worker 2", Shown("fine-tuning: loss 1.234, 5,000 tokens/s, 0:12 left", 3, 20))
        for step in steps[:3]:  # weights, the base's two cells, its results
            found.finished(step, Done())
        run_line, one, two = progress.tasks
        assert (run_line.completed, run_line.total) == (2, 4)
        assert re.fullmatch(r"1 of 3 models done, about .+ left", run_line.description)
        assert one.description == "worker 1: [2/3] a model"
        assert two.description.startswith("worker 2: [3/3] another, fine-tuning: loss 1.234, 5,0")
        assert (two.completed, two.total) == (3, 20)
        found.ended("worker 1")
        assert len(progress.tasks) == 2
        found.begun("worker 2", "the next")
        assert [task.description for task in progress.tasks][1:] == ["worker 2: the next"]
    assert not said
    assert not progress.tasks


def test_bars_of_other_processes_are_sent_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    sent: list[Shown] = []
    relay = Relay(sent.append)
    task = relay.add_task("fine-tuning", total=10)
    for number in range(1, 11):
        relay.update(task, completed=number, description=f"loss {number}")
        now[0] += 0.2
    relay.remove_task(task)
    assert [shown.done for shown in sent] == [1, 4, 7, 10]
    assert sent[-1] == Shown("loss 10", 10, 10)


def test_a_run_says_the_last_loss_of_each_fine_tune_and_that_all_was_there(
    plan: Plan, tmp_path: Path
) -> None:
    said: list[str] = []
    for _ in range(2):
        run(plan, Store(tmp_path / "store"), tmp_path / "out", keep_models="all", say=said.append)
    told = [line for line in said if "fine-tuned" in line]
    assert len(told) == 2
    for line in told:
        assert re.fullmatch(r".*: fine-tuned, last loss \d\.\d{3}, [\d,]+ tokens/s", line)
    assert said[-1] == "all cells were there already"
