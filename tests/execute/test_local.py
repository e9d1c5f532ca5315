"""Several worker processes: the same bytes whatever their number, and whoever dies."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from repro import profiles
from repro.bars import Watch
from repro.errors import ReproError
from repro.execute import local, schedule
from repro.execute.local import Place, Processes
from repro.execute.run import run
from repro.execute.schedule import Alone, Schedule, parts
from repro.execute.worker import Done, Worker
from repro.machine.gpus import Cuda
from repro.models.probes import Probes
from repro.models.spec import ModelSpec
from repro.plan.estimate import by_characters, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import Evaluate, FineTune, Step, steps_of
from repro.plan.store import Store
from repro.profiles import Profile

TWO = [Place(device="cpu", threads=1)] * 2


def whole(plan: Plan, folder: Path, workers: Sequence[Place] = ()) -> dict[str, bytes]:
    """The bytes of a run that do not tell of time and place."""
    out = folder / "out"
    said: list[str] = []
    run(plan, Store(folder / "store"), out, keep_models="last", say=said.append, workers=workers)
    names = ["results.jsonl", "finetunes.jsonl", "prompts.jsonl"]
    files = [out / name for name in names] + sorted((out / "samples").iterdir())
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def alone(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(plan, tmp_path_factory.mktemp("alone"))


def test_two_workers_write_the_bytes_of_one(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path
) -> None:
    assert whole(plan, tmp_path, TWO) == alone


def test_workers_that_nothing_can_be_forked_for_start_afresh(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (long := tmp_path / ("folder-" * 12)).mkdir()  # a socket's path has 107 characters at most
    code = "from repro.execute import forked\n"
    code += "print(*(forked.context(device).get_start_method() for device in ('cpu', 'cuda')))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(long)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["spawn", "spawn"]

    def no_socket() -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(forkserver, "ensure_running", no_socket)
    assert whole(plan, tmp_path, TWO) == alone


def test_workers_killed_at_any_moment_change_nothing(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the first workers is killed a moment after it was given a step."""
    moments = random.Random(0)

    def kill(pid: int) -> None:
        with suppress(ProcessLookupError):  # the run was over before
            os.kill(pid, signal.SIGKILL)

    struck: list[int] = []
    give = local._Process.give

    def give_and_kill(process: local._Process, step: Step) -> None:
        give(process, step)
        pid = process._process.pid
        if len(struck) < 4 and pid is not None:
            struck.append(pid)
            threading.Timer(moments.uniform(0, 0.5), kill, (pid,)).start()

    monkeypatch.setattr(local._Process, "give", give_and_kill)
    monkeypatch.setattr(schedule, "DEATHS", 9)
    assert whole(plan, tmp_path, TWO) == alone
    assert len(struck) == 4


DRIVER = """
import pickle, sys
from pathlib import Path
from repro.execute.local import Place
from repro.execute.run import run
from repro.execute.schedule import parts
from repro.plan.store import Store
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    plan = pickle.loads((folder / "plan.pickle").read_bytes())
    run(plan, Store(folder / "store"), folder / "out", keep_models="last",
        say=lambda text: print(text, flush=True), workers=[Place(device="cpu", threads=1)] * 2)
"""


def test_a_killed_driver_takes_its_workers_along_and_the_next_run_goes_on(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path
) -> None:
    import pickle

    (tmp_path / "plan.pickle").write_bytes(pickle.dumps(plan))
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            if "fine-tuning" in line:
                driver.kill()
                break
        driver.stdout.read()  # ends when the last worker, which has it too, is gone
    assert whole(plan, tmp_path, TWO) == alone


class NoRoom:
    """Training rows for which there is no memory."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __len__(self) -> int:
        return 1

    def to_list(self) -> list[dict[str, str]]:
        raise self._error


def _diverging(step: FineTune) -> FineTune:
    recipe = replace(step.training.recipe, learning_rate=1e9)
    return replace(step, training=replace(step.training, recipe=recipe))


def _cramped(error: Exception, step: FineTune) -> FineTune:
    rows: Any = NoRoom(error)
    return replace(step, training=replace(step.training, rows=rows))


CUDA = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")


@pytest.mark.parametrize(
    ("workers", "broken", "code", "told"),
    [
        (2, _diverging, 1, "diverged"),
        (2, partial(_cramped, MemoryError()), 3, "out of memory"),
        (2, partial(_cramped, OSError(errno.ENOSPC, "No space left")), 3, "No space left"),
        (1, partial(_cramped, CUDA), 3, "out of memory: CUDA out of memory. Tried to allocate 2"),
        (1, _diverging, 1, "diverged"),
    ],
    ids=["two: diverged", "two: main memory", "two: disk", "one: memory of a GPU", "one: diverged"],
)
def test_a_step_that_fails_is_told_once_and_the_others_go_on(
    plan: Plan,
    tmp_path: Path,
    workers: int,
    broken: Callable[[FineTune], FineTune],
    code: int,
    told: str,
) -> None:
    said: list[str] = []
    store = Store(tmp_path / "store")
    (tmp_path / "out" / "samples").mkdir(parents=True)
    steps = steps_of(plan, tmp_path / "out")
    index, whole = next((i, s) for i, s in enumerate(steps) if isinstance(s, FineTune))
    steps[index] = broken(whole)
    done: list[str] = []

    def note(step: Step, took: Done) -> None:
        done.append(step.name)

    own = Worker(store, say=said.append)
    seconds = seconds_of(plan, by_characters) if workers > 1 else {}
    several = Processes(store, TWO[:workers], said.append, Watch())
    failed = pytest.raises(ReproError, match=f"^{whole.name} failed: .*{told}")
    with several if workers > 1 else nullcontext(Alone(own)) as pool, failed as caught:
        Schedule(steps, pool, own, note, seconds).finish()
    assert caught.value.exit_code == code
    assert caught.value.hint
    (line,) = [text for text in said if "failed" in text]
    assert line == str(caught.value)
    model = whole.name.removeprefix("finetune ")
    waiting = {step.name for step in steps if model in step.name}
    assert len(waiting) == 3, "the fine-tune, its evaluation, and its results"
    # An evaluation may be done in parts, which have its name.
    assert set(done) == {step.name for step in steps} - waiting


def test_a_worker_that_dies_again_and_again_ends_the_run_with_the_step(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give = local._Process.give

    def give_and_kill(process: local._Process, step: Step) -> None:
        assert process._process.pid is not None
        os.kill(process._process.pid, signal.SIGKILL)
        give(process, step)

    monkeypatch.setattr(local._Process, "give", give_and_kill)
    with pytest.raises(ReproError, match=r"3 workers ended with it \(SIGKILL\)") as caught:
        whole(plan, tmp_path, TWO)
    assert "workers" in caught.value.hint


def test_parts_of_an_evaluation_hold_every_cell_once_and_keep_test_sets_whole(
    plan: Plan, tmp_path: Path
) -> None:
    seconds = seconds_of(plan, by_characters)
    for step in steps_of(plan, tmp_path):
        if not isinstance(step, Evaluate):
            continue
        for most in (0.0, 1e-3, 1.0, 1e9):
            shared = parts(step, lambda s: sum(seconds[c.key] for c in s.cells), most)  # type: ignore[union-attr]
            assert [c.key for part in shared for c in part.cells] == [c.key for c in step.cells]
            places = [{(c.cell.dataset, c.cell.prompt) for c in part.cells} for part in shared]
            assert sum(map(len, places)) == len(set.union(*places))


@pytest.mark.parametrize(
    ("workers", "cores", "found"),
    [("auto", 8, 8), ("3", 8, 3), ("auto", 1, 1), ("9", 8, "room for"), ("0", 8, "number"),
     ("many", 8, "number"), ("-1", 8, "number")],
)  # fmt: skip
def test_workers_are_as_many_as_there_is_room_for(
    workers: str, cores: int, found: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: set(range(cores)))
    profile = profiles.load("embedded")
    spec = ModelSpec.from_table(profile.model, profile.origin)
    if isinstance(found, int):
        assert local.places(workers, profile, spec) == [Place(device="cpu", threads=1)] * found
        return
    with pytest.raises(ReproError, match=found) as caught:
        local.places(workers, profile, spec)
    assert caught.value.exit_code == 2


def gpus(monkeypatch: pytest.MonkeyPatch, *names: str, gb: float = 85) -> None:
    """A machine with such GPUs and 256 GB of main memory."""
    count = len(names)
    cuda = Cuda("13.0", (13, 0), (int(gb * 1e9),) * count, names, ((9, 0),) * count)
    probes = Probes(cuda=lambda: cuda, memory=lambda: 256 * 10**9)
    monkeypatch.setattr(local, "Probes", lambda: probes)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def profile_and_spec(name: str) -> tuple[Profile, ModelSpec]:
    profile = profiles.load(name)
    return profile, ModelSpec.from_table(profile.model, profile.origin)


def test_workers_get_gpus_of_their_own_and_share_where_memory_goes_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus(monkeypatch, "H100", "H100")
    asked = profile_and_spec("small")
    assert [p.gpus for p in local.places("auto", *asked)] == ["0", "1"]
    assert [p.gpus for p in local.places("4", *asked)] == ["0", "1", "0", "1"]
    with pytest.raises(ReproError, match="more than this machine has room for: 2 GPUs"):
        local.places("99", *asked)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [p.gpus for p in local.places("auto", *asked)] == ["5", "7"]


def test_a_worker_gets_as_many_gpus_as_a_fine_tune_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama-2-7b takes 64 GB on each of two cards, and evaluates on one."""
    gpus(monkeypatch, *["H100"] * 5)
    asked = profile_and_spec("llama2-7b")
    assert [p.gpus for p in local.places("auto", *asked)] == ["0,1", "2,3"]
    found = local.places("auto", *asked, tuned=False)
    assert [p.gpus for p in found] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ReproError, match="3 workers are more than this machine") as caught:
        local.places("3", *asked)
    assert caught.value.exit_code == 2


def test_gpus_of_several_kinds_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, "A100", "H100", "A100")
    asked = profile_and_spec("small")
    with pytest.raises(ReproError, match=r"several kinds \(A100, H100\)") as caught:
        local.places("auto", *asked)
    assert caught.value.exit_code == 2
    assert "CUDA_VISIBLE_DEVICES=0,2" in caught.value.hint
    assert "repro merge" in caught.value.hint
    assert len(local.places("1", *asked)) == 1
