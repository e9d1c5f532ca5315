"""Runs `repro run --workers 2` again and again, and kills workers and drivers at random moments.

Usage: python crew_harness.py KILLS SEED FOLDER OPTIONS...   (options of `repro run`)

As in kill_harness.py everything is imported once, drivers are forked, and FOLDER/reference is an
uninterrupted run, of one process. Workers are forked too, so that a new one costs nothing. When a
run has finished in spite of its kills, the next begins afresh in FOLDER/1 and so on; the last one
is left to finish. Prints as JSON, for each of these runs, what was killed and how far it was.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

KILLS, SEED, FOLDER = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])


def serve(*args: Any) -> None:
    """A worker without what a fork has and a worker has not: the lock of the results folder."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink().name == ".lock":
                os.close(int(link.name))
    real_serve(*args)


def child(folder: Path, workers: int) -> None:
    """Run the command, its workers as forks."""
    from repro.cli.main import cli
    from repro.execute import forked, local, schedule

    global real_serve
    real_serve, local._serve = local._serve, serve
    forked.context = lambda _: multiprocessing.get_context("fork")
    schedule.DEATHS = 99
    where = ["--out", str(folder / "out"), "--store", str(folder / "store")]
    cli.main(["run", "--workers", str(workers), *where, *sys.argv[4:]], standalone_mode=False)


def start(folder: Path, workers: int = 2) -> int:
    """The driver's process."""
    folder.mkdir(exist_ok=True)
    pid = os.fork()
    if pid == 0:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            child(folder, workers)
            code = 0
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(code)
    return pid


def ended(pid: int, *, wait: bool = False) -> bool:
    """Whether a driver has come to its end; it may not fail by itself."""
    found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
    if found and status:
        sys.exit(f"a run failed by itself: {status}")
    return bool(found)


def crew(pid: int) -> list[int]:
    """The workers of a driver."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in told.split()]


def strike(pid: int, rng: random.Random) -> str:
    """Kill a worker, or in a third of the cases the driver."""
    workers = crew(pid)
    whom = "driver" if not workers or rng.random() < 1 / 3 else "worker"
    struck = pid if whom == "driver" else rng.choice(workers)
    with suppress(ProcessLookupError):
        os.kill(struck, signal.SIGKILL)
    if whom == "driver":
        os.waitpid(pid, 0)
    return whom


def main() -> None:
    import torch  # noqa: F401  # imported before forking, so that a try costs little
    import transformers

    import repro.evaluate.run
    import repro.execute.run
    import repro.finetune.loop

    del transformers, repro
    rng = random.Random(SEED)
    begin = time.monotonic()
    ended(start(FOLDER / "reference", 1), wait=True)
    length = time.monotonic() - begin
    runs: list[list[str]] = [[]]
    pid = start(FOLDER / "0")
    while sum(map(len, runs)) < KILLS:
        time.sleep(rng.uniform(0.05, length / 2))
        if ended(pid):
            runs.append([])
            pid = start(FOLDER / str(len(runs) - 1))
            continue
        cells = len(list((FOLDER / str(len(runs) - 1) / "store").glob("cell/*")))
        whom = strike(pid, rng)
        runs[-1].append(f"{whom} at {cells} cells")
        if whom == "driver":
            pid = start(FOLDER / str(len(runs) - 1))
    ended(pid, wait=True)
    print(json.dumps(runs))


main()
