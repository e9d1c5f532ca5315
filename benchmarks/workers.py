"""Worker processes side by side on the embedded grid, and simulated makespans up to 64 workers.

Runs have fresh stores and take turns; ratios are of wall times, start included, and of the time
from the first step to the last. Two runs of one worker each that know nothing of each other show
what two cores give at most, for a core is slower beside a busy one. Simulated are the plans' own
estimates, given to the scheduler that runs have, against the larger of the work by the workers and
the longest chain.
"""

import heapq
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

from benchmarks._small import REPRO
from repro import studies
from repro.cli.options import build_plan, parse
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.schedule import Schedule
from repro.execute.worker import Done, Worker
from repro.plan.cost import duration
from repro.plan.estimate import by_characters, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import Artefact, Collect, Step, steps_of, timed

Row = dict[str, object]
WORKERS = (1, 2, 4, 8, 16, 32, 64)
BOUND = 1.15
LEAST = 0.05
PART = ["--figures", "1,2"]
SMALL = ["--cells", "base.amazon.p1.*,amazon-ft-16.amazon.p1.0", "--rows", "20"]


class Took(NamedTuple):
    """Seconds of a `repro run`.

    Attributes:
        whole: start included; steps: from the first to the last; work: of all steps together.
    """

    whole: float
    steps: float
    work: float


def _took(words: list[str], *options: str) -> Took:
    """What a `repro run` of one-thread workers took, with a fresh store."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        start = time.perf_counter()
        with _started(home, words, options) as run:
            run.communicate()
        whole = time.perf_counter() - start
        assert run.returncode == 0
        text = (home / "out" / "timings.jsonl").read_text(encoding="utf-8")
    *steps, run_line = map(json.loads, text.splitlines())
    return Took(whole, run_line["seconds"], sum(step["seconds"] for step in steps))


def _started(home: Path, words: list[str], options: Sequence[str]) -> subprocess.Popen[bytes]:
    where = ["--out", str(home / "out"), "--store", str(home / "store")]
    command = [*REPRO, "run", *where, *options, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _beside(words: list[str]) -> float:
    """Seconds of two runs of one worker each, with stores of their own, at the same time."""
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        runs = [_started(Path(name, each), words, ["--workers", "1"]) for each in "ab"]
        for run in runs:
            run.communicate()
            assert run.returncode == 0
        return time.perf_counter() - start


@contextmanager
def _two_threads() -> Iterator[str]:
    """A copy of the embedded profile for one process with two threads."""
    text = files("repro.profiles").joinpath("embedded.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "two.toml"
        path.write_text(text.replace("\nthreads = 1\n", "\nthreads = 2\n"), encoding="utf-8")
        yield str(path)


def _measured(words: list[str], repeats: int, *, judged: bool) -> list[Row]:
    if len(os.sched_getaffinity(0)) < 2:
        raise ReproError("two workers need two cores", hint="", exit_code=EXIT_MISSING)
    with _two_threads() as profile:
        ways = {
            "one": ["--workers", "1"],
            "threads": ["--workers", "1", "--profile", profile],
            "two": ["--workers", "2"],
        }
        if find_spec("ray"):
            ways["ray"] = ["--workers", "2", "--executor", "ray"]
        turns = [
            {name: _took(words, *options) for name, options in ways.items()} for _ in range(repeats)
        ]
        apart = statistics.median(2 * turn["one"].whole / _beside(words) for turn in turns)
    asked = [("2 against 1", "one", "two", 1.8)]
    asked += [("2 against 1 of 2 threads", "threads", "two", 1.67)]
    asked += [("2 on Ray against 2", "two", "ray", 0.9)] if "ray" in ways else []
    found: list[Row] = []
    for told, field in (("start included", "whole"), ("steps alone", "steps")):
        for name, other, own, target in asked:
            pairs = [(getattr(turn[other], field), getattr(turn[own], field)) for turn in turns]
            ratio = statistics.median(before / after for before, after in pairs)
            seconds = [statistics.median(each) for each in zip(*pairs, strict=True)]
            found.append(
                {
                    "what": f"embedded, {told}",
                    "workers": name,
                    "seconds": f"{seconds[1]:.0f} against {seconds[0]:.0f}",
                    "ratio": f"{ratio:.2f} times as fast",
                    "target": target,
                    "target met": _met(ratio >= target, judged=judged),
                }
            )
    found.append(
        {
            "what": "embedded, two runs of one worker side by side, against one after the other",
            "ratio": f"{apart:.2f} times as fast: what two cores give at most",
        }
    )
    for name in [way for way in ("two", "ray") if way in ways]:
        spent = statistics.median(1 - turn[name].work / (2 * turn[name].steps) for turn in turns)
        where = " on Ray" if name == "ray" else ""
        what = f"2 workers{where}: start, waiting, collecting"
        found.append(_overhead(what, spent, "", judged=judged))
    work = statistics.median(turn["two"].work for turn in turns)
    return [*found, *_moved(work / 2, judged=judged)]


def _met(right: bool, *, judged: bool) -> str:
    return ("yes" if right else "no") if judged else "not judged"


def _overhead(what: str, share: float, told: str, *, judged: bool) -> Row:
    return {
        "what": what,
        "workers": 2,
        "seconds": told,
        "ratio": f"{share:.1%} of the workers' time",
        "target": LEAST,
        "target met": _met(share <= LEAST, judged=judged),
    }


def _moved(grid: float, *, judged: bool) -> Iterator[Row]:
    """Steps to workers and back, and what workers load, beside the seconds of the grid."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import repro.execute.preload"], check=True)
    begun = time.perf_counter() - start
    told = f"{begun:.1f}, once for both"
    yield _overhead("start of workers", begun / grid / 2, told, judged=judged)
    steps = [s for s in steps_of(_plan("embedded"), Path("out")) if not isinstance(s, Collect)]
    start, size = time.perf_counter(), 0
    for step in steps:
        content = pickle.dumps(step)
        pickle.loads(content)
        size += len(content)
    spent = time.perf_counter() - start
    told = f"{spent:.2f} for {size / 1e6:.1f} MB"
    yield _overhead("steps sent to workers", spent / grid / 2, told, judged=judged)


class Simulated:
    """Workers of which each step takes the seconds that are expected of it, and no time here.

    Attributes:
        now: seconds since the start; idle: of all workers together, before the last step ended.
    """

    def __init__(self, workers: int, cost: Callable[[Step], float]) -> None:
        self._workers, self._cost = workers, cost
        self._running: list[tuple[float, int, Step]] = []
        self._given = 0
        self.now = self.idle = 0.0

    def __len__(self) -> int:
        return self._workers

    @property
    def busy(self) -> list[Step]:
        """The steps in hand."""
        return [step for _, _, step in self._running]

    def give(self, step: Step) -> bool:
        """Give a step to an idle worker; whether there was one."""
        if len(self._running) == self._workers:
            return False
        self._given += 1
        heapq.heappush(self._running, (self.now + self._cost(step), self._given, step))
        return True

    def answers(self) -> list[tuple[Step, Any]]:
        """The step that ends next."""
        end, _, step = heapq.heappop(self._running)
        self.idle += (end - self.now) * (self._workers - len(self._running) - 1)
        self.now = end
        return [(step, Done())]

    def forget(self, artefact: Artefact) -> None:
        """Nothing is kept."""


class _Nobody:
    """In place of this process's worker: collects and drops nothing."""

    def do(self, step: Step) -> Done:
        return Done()


def simulate(plan: Plan, workers: int) -> tuple[float, float, float]:
    """Seconds by the scheduler itself and the plan's estimates, the lower bound, and the work."""
    seconds = seconds_of(plan, by_characters)

    def cost(step: Step) -> float:
        return sum(seconds[key] for key in timed(step))

    steps = steps_of(plan, Path("out"))
    work = sum(map(cost, steps))
    pool = Simulated(workers, cost)
    Schedule(steps, pool, cast(Worker, _Nobody()), lambda *_: None, seconds).finish()
    # No schedule is shorter than a fine-tune and its longest cell.
    longest = max(
        (seconds[model.key] if model.training else 0.0) + max(seconds[c.key] for c in model.cells)
        for model in plan.models
    )
    return pool.now, max(work / workers, longest), work


def _plan(profile: str) -> Plan:
    """Of everything that the data allows; the authors' site lacks two training sets."""
    names = ["figures", "claims", "variants", "tests", "cells", "grid", "rows", "seeds"]
    request = parse(
        **dict.fromkeys([*names, "data_dir", "protocol_name", "checkpoints"]),
        study=studies.DEFAULT,
        profile=profile,
        overrides=(),
        store=Path("store"),
        skip_missing=True,
        engine="torch",
        model=(),
    )
    return build_plan(request, print)


def _simulated(profile: str, most: tuple[int, ...]) -> list[Row]:
    """By the plan's estimates; rates of llama2-7b are derived, see its profile."""
    try:
        plan = _plan(profile)
    except ReproError as error:
        return [{"what": f"{profile}, simulated", "seconds": f"not simulated: {error}"}]
    found: list[Row] = []
    for workers in most:
        seconds, least, work = simulate(plan, workers)
        found.append(
            {
                "what": f"{profile}, simulated",
                "workers": workers,
                "seconds": f"{seconds:.0f} ({duration(seconds)})",
                "ratio": f"{seconds / least:.3f} of the lower bound, "
                f"{work / seconds / workers:.0%} busy",
                "target": BOUND,
                "target met": "yes" if seconds / least <= BOUND else "no",
            }
        )
    return found


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table; a part of the grid is run three times at most, being long itself."""
    words = SMALL if small else PART
    measured = _measured(words, 1 if small else min(repeats, 3), judged=not small)
    profiles = ("embedded", "small", "llama2-7b")
    return [*measured, *(row for name in profiles for row in _simulated(name, WORKERS))]
