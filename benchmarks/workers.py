"""Worker processes side by side on the embedded grid, and simulated makespans up to 64 workers.

Runs have fresh stores and take turns; ratios are of wall times, start included, and of the time
from the first step to the last. Simulated are the plans' own estimates, against the larger of the
work by the workers and the longest chain.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks._small import REPRO
from repro import studies
from repro.cli.options import parse
from repro.errors import EXIT_MISSING, ReproError
from repro.plan.cost import duration
from repro.plan.makespan import makespan
from repro.plan.outline import outline

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


def _simulated(profile: str, most: tuple[int, ...]) -> list[Row]:
    """By the plan's estimates; rates of llama2-7b are derived, see its profile."""
    names = ["figures", "claims", "variants", "tests", "cells", "grid", "rows", "seeds"]
    request = parse(
        **dict.fromkeys([*names, "data_dir", "protocol_name", "checkpoints"]),
        study=studies.DEFAULT,
        profile=profile,
        overrides=(),
        store=Path("store"),
        skip_missing=False,
        engine="torch",
        model=(),
    )
    rows = outline(
        request.cells,
        study=request.study,
        profile=request.profile,
        protocol=request.protocol,
        seeds=request.seeds,
        test_limit=request.test_limit,
        given=request.given,
        choice=None,
    ).rows
    found: list[Row] = []
    for workers in most:
        simulated = makespan(rows, workers)
        ratio = simulated.seconds / simulated.least
        found.append(
            {
                "what": f"{profile}, simulated",
                "workers": workers,
                "seconds": f"{simulated.seconds:.0f} ({duration(simulated.seconds)})",
                "ratio": f"{ratio:.3f} of the lower bound, "
                f"{simulated.busy / simulated.seconds / workers:.0%} busy",
                "target": BOUND,
                "target met": "yes" if ratio <= BOUND else "no",
            }
        )
    return found


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table; the whole grid is run once a number of workers, being long itself."""
    measured = _measured(SMALL, 1, judged=False) if small else _measured([], 1, judged=True)
    profiles = ("embedded", "small", "llama2-7b")
    return [*measured, *(row for name in profiles for row in _simulated(name, WORKERS))]
