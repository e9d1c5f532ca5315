"""How long a plan takes with several workers, scheduled as `repro.execute.schedule` does."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from repro.plan.cost import Row

SHARES = 4
"""Evaluations are shared out in parts of at most the whole work by so many times the workers."""


@dataclass(frozen=True)
class Makespan:
    """Seconds of a plan.

    Attributes:
        seconds: from start to end.
        least: no schedule is shorter: the work by the workers, or the longest chain.
        busy: of all workers together.
    """

    seconds: float
    least: float
    busy: float


def makespan(rows: Sequence[Row], workers: int) -> Makespan:
    """The longest first; a model's evaluation waits for its training, and is then shared out.

    Start-up, collecting results and what workers wait for on a common disk are left out.
    """
    busy = sum(row.cost.seconds for row in rows)
    most = busy / (SHARES * workers)
    waiting: list[tuple[float, int, list[float]]] = []  # longest first; parts that follow
    longest = 0.0
    for number, row in enumerate(rows):
        train = row.cost.train_seconds
        rest = row.cost.seconds - train
        count = min(row.pending, max(1, -(-rest // most))) if most and row.pending else 1
        parts = [rest / count] * int(count)
        longest = max(longest, train + parts[0])
        if train:
            waiting.append((-row.cost.seconds, number, [train, *parts]))
        else:
            waiting += [(-part, number, [part]) for part in parts]
    heapq.heapify(waiting)
    running: list[tuple[float, int, list[float]]] = []
    now = 0.0
    while waiting or running:
        while waiting and len(running) < workers:
            _, number, (first, *after) = heapq.heappop(waiting)
            heapq.heappush(running, (now + first, number, after))
        now, number, after = heapq.heappop(running)
        for part in after:
            heapq.heappush(waiting, (-part, number, [part]))
    return Makespan(now, max(busy / workers, longest), busy)
