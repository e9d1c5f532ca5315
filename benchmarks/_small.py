"""What several benchmarks of the small model share."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from repro.profiles import Profile

REPRO = [sys.executable, "-c", "from repro.cli.main import main; main()"]
"""The command `repro`, in a process of its own."""


class Times(NamedTuple):
    """Seconds of one thing, repeated: by the clock, and of the CPU."""

    wall: list[float]
    cpu: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.wall)


class Endless:
    """A tokenizer that stops nothing."""

    eos_token_id = pad_token_id = None

    def decode(self, *_: Any, **__: Any) -> str:
        return ""


def interleaved(work: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """Time several things in turn, so that whatever else the machine does strikes all alike."""
    found = {name: Times([], []) for name in work}
    for _ in range(repeats):
        for name, call in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            found[name].wall.append(time.perf_counter() - wall)
            found[name].cpu.append(time.process_time() - cpu)
    return found


def load_small(threads: int) -> tuple[Profile, Any, Any]:
    """Profile `small-cpu`, its model and its tokenizer, with so many threads.

    Weights are kept in the folder `store`, as `repro run` does.

    Raises:
        ReproError: the package with the weights is not installed (3).
    """
    from repro import profiles
    from repro.execute.worker import base_weights
    from repro.machine import numerics as machine
    from repro.models.load import load
    from repro.models.spec import ModelSpec
    from repro.plan.store import Store

    profile = profiles.load("small-cpu")
    machine.prepare(threads, device="cpu")
    spec = ModelSpec.from_table(profile.model, profile.origin)
    folder = base_weights(spec, Store(Path("store")), print, None)
    model, tokenizer = load(folder)
    return profile, model, tokenizer
