"""Worker processes side by side on the embedded grid, and simulated makespans up to 64 workers.

Runs have fresh stores and take turns; ratios are of wall times, start included, and of the time
from the first step to the last. Simulated are the plans' own estimates, given to the scheduler that
runs have, against the larger of the work by the workers and the longest chain.
"""

import heapq
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from benchmarks._small import REPRO
from repro import studies
from repro.cli.options import build_plan, parse
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.schedule import finish
from repro.execute.worker import Done, Worker
from repro.plan.cost import duration
from repro.plan.estimate import by_characters, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import Artefact, Evaluate, FineTune, Step, steps_of

Row = dict[str, object]
WORKERS = (1, 2, 4, 8, 16, 32, 64)
BOUND = 1.15
SMALL = ["--cells", "base.amazon.p1.*,amazon-ft-16.amazon.p1.0", "--rows", "20"]


def _seconds(words: list[str], workers: int, executor: str = "local") -> tuple[float, float]:
    """Wall time of a `repro run` of one-thread workers, and of its steps alone."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        where = ["--out", str(home / "out"), "--store", str(home / "store")]
        start = time.perf_counter()
        subprocess.run(
            [*REPRO, "run", *where, "--workers", str(workers), "--executor", executor, *words],
            check=True,
            capture_output=True,
        )
        whole = time.perf_counter() - start
        lines = (home / "out" / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    return whole, json.loads(lines[-1])["seconds"]


def _measured(words: list[str], repeats: int, *, judged: bool) -> list[Row]:
    if len(os.sched_getaffinity(0)) < 2:
        raise ReproError("two workers need two cores", hint="", exit_code=EXIT_MISSING)
    ways = {"one": (1, "local"), "two": (2, "local")}
    if find_spec("ray"):
        ways["ray"] = (2, "ray")
    turns = [{name: _seconds(words, *way) for name, way in ways.items()} for _ in range(repeats)]
    found: list[Row] = []
    for told, index in (("start included", 0), ("steps alone", 1)):
        asked = [("2 against 1", "one", "two", 1.8)]
        asked += [("2 on Ray against 2", "two", "ray", 0.9)] if "ray" in ways else []
        for name, other, own, target in asked:
            ratio = statistics.median(turn[other][index] / turn[own][index] for turn in turns)
            seconds = [statistics.median(t[each][index] for t in turns) for each in (own, other)]
            met = "yes" if ratio >= target else "no"
            found.append(
                {
                    "what": f"embedded, {told}",
                    "workers": name,
                    "seconds": " against ".join(f"{value:.0f}" for value in seconds),
                    "ratio": f"{ratio:.2f} times as fast",
                    "target": target,
                    "target met": met if judged else "not judged",
                }
            )
    return found


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
        keys = [cell.key for cell in step.cells] if isinstance(step, Evaluate) else []
        keys += [step.key] if isinstance(step, FineTune) else []
        return sum(seconds[key] for key in keys)

    steps = steps_of(plan, Path("out"))
    work = sum(map(cost, steps))
    pool = Simulated(workers, cost)
    finish(steps, pool, cast(Worker, _Nobody()), lambda *_: None, seconds, lambda _: None)
    # No schedule is shorter than a fine-tune and its longest cell.
    longest = max(
        (seconds[model.key] if model.recipe else 0.0) + max(seconds[c.key] for c in model.cells)
        for model in plan.models
    )
    return pool.now, max(work / workers, longest), work


def _simulated(profile: str, most: tuple[int, ...]) -> list[Row]:
    """By the plan's estimates; rates of llama2-7b are derived, see its profile."""
    names = ["figures", "claims", "variants", "tests", "cells", "grid", "rows", "seeds"]
    request = parse(
        **dict.fromkeys([*names, "data_dir", "protocol_name", "checkpoints"]),
        study=studies.DEFAULT,
        profile=profile,
        overrides=(),
        store=Path("store"),
        skip_missing=True,  # the authors' site lacks two training sets
        engine="torch",
        model=(),
    )
    try:
        plan = build_plan(request, print)
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
    """Rows of the table; the whole grid is run once a number of workers, being long itself."""
    measured = _measured(SMALL, 1, judged=False) if small else _measured([], 1, judged=True)
    profiles = ("embedded", "small", "llama2-7b")
    return [*measured, *(row for name in profiles for row in _simulated(name, WORKERS))]
