"""What a run says of how far it is."""

import re
from pathlib import Path

from rich.console import Console

from repro.bars import bars
from repro.execute.progress import Whole
from repro.plan.plan import Plan
from repro.plan.store import Store


def test_without_a_terminal_each_model_but_the_last_is_a_line(plan: Plan, tmp_path: Path) -> None:
    piped = bars(Console(force_terminal=False))
    for progress in (None, piped):
        said: list[str] = []
        whole = Whole(plan, Store(tmp_path), plan.models, progress, said.append)
        with whole.shown():
            for model in plan.models:
                whole.finished(model)
        assert len(said) == len(plan.models) - 1
        for number, line in enumerate(said, 1):
            assert re.fullmatch(rf"{number} of 3 models done, about .+ left", line)


def test_with_a_terminal_a_bar_says_it(plan: Plan, tmp_path: Path) -> None:
    said: list[str] = []
    progress = bars(Console(force_terminal=True))
    whole = Whole(plan, Store(tmp_path), plan.models, progress, said.append)
    with whole.shown():
        whole.finished(plan.models[0])
        (task,) = progress.tasks
        assert (task.completed, task.total) == (1, 3)
        assert "left" in task.description
    assert not said
    assert not progress.tasks
