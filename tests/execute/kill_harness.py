"""Runs `repro run` again and again and kills it at random events until it has struck KILLS times.

Usage: python kill_harness.py KILLS SEED FOLDER OPTIONS...   (options of `repro run`)

Everything is imported once and a child is forked for every try. The child counts events: every
flush, rename and forward pass; at a random one it kills itself with SIGKILL, before or after the
event, so that nothing is cleaned up. FOLDER/reference is an uninterrupted run; when a run has
finished in spite of its kills, in FOLDER/0, the next begins afresh in FOLDER/1 and so on; the last
one is left to finish. Prints as JSON, for each of these runs, at which events it was struck, such
as "forward before".
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLS, SEED, FOLDER = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])


def child(folder: Path, strike: int, after: bool, say: Callable[[str], object]) -> None:
    """Run the command, and die at event `strike` (never, if it is 0).

    Says at which event, or, of a run that ends by itself, how many there were.
    """
    import transformers

    from repro.cli.main import cli

    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            mine = count == strike
            if mine:
                say(f"{function.__name__} {'after' if after else 'before'}")
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapper

    os.fsync, os.rename, os.replace = map(counted, (os.fsync, os.rename, os.replace))
    llama = transformers.LlamaForCausalLM
    llama.forward = counted(llama.forward)
    where = ["--out", str(folder / "out"), "--store", str(folder / "store")]
    cli.main(["run", *where, *sys.argv[4:]], standalone_mode=False)
    say(str(count))


def attempt(folder: Path, strike: int = 0, after: bool = False) -> str:
    """Run in a forked child; at which event it was killed, else its number of events."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        child(folder, strike, after, lambda text: os.write(writer, text.encode()))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    expected = 0 if said.isdecimal() else -signal.SIGKILL
    if not said or os.waitstatus_to_exitcode(status) != expected:
        sys.exit("a run failed by itself")
    return said


def main() -> None:
    import torch  # noqa: F401  # imported before forking, so that a try costs little
    import transformers

    import repro.evaluate.run
    import repro.execute.run
    import repro.finetune.loop

    del transformers, repro
    rng = random.Random(SEED)
    events = int(attempt(FOLDER / "reference"))
    runs: list[list[str]] = [[]]
    while sum(map(len, runs)) < KILLS:
        # An eighth of a run at most between two kills: several strike each run.
        strike, after = rng.randint(1, max(2, events // 8)), rng.random() < 0.5
        said = attempt(FOLDER / str(len(runs) - 1), strike, after)
        if said.isdecimal():
            runs.append([])
        else:
            runs[-1].append(said)
    attempt(FOLDER / str(len(runs) - 1))
    print(json.dumps(runs))


main()
