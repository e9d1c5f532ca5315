"""What a plan costs: tokens, time by a profile's rates, with several workers, and as a table.

Needs no torch and no data.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Column, Table

from repro.plan.placement import Choice, training_seconds
from repro.plan.select import Request
from repro.printable import counted

SHARES = 4
"""Evaluations are shared out in parts of at most the whole work by so many times the workers."""


class Cost(NamedTuple):
    """Upper bounds for a job.

    Attributes:
        train_tokens: over all epochs, before padding; what all samples share once a step.
        prompt_tokens: with each context computed once a cell.
        new_tokens: if every generation runs to its limit.
        train_seconds: of all seconds those of training, which evaluation waits for.
    """

    train_tokens: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    train_seconds: float = 0.0

    @classmethod
    def of(
        cls,
        request: Request,
        choice: Choice | None,
        *,
        train: int,
        steps: float,
        prompt: int,
        new: int,
    ) -> "Cost":
        """The cost of these tokens and training steps, at the rates of a request's profile.

        Args:
            choice: the placement of fine-tunes; None for one device that holds everything.
        """
        compute, sizes = request.profile.compute, request.spec.architecture
        training = training_seconds(compute, sizes, choice, tokens=train, steps=steps)
        seconds = training + prompt / compute.evaluate_rate + new / compute.generate_rate
        return cls(train, prompt, new, seconds, training)


class Row(NamedTuple):
    """A model of a plan: the number of its cells, of those to be done, and what they cost."""

    name: str
    cells: int
    pending: int
    cost: Cost


def total(rows: Sequence[Row]) -> Row:
    """The sum over models."""
    return Row(
        counted(len(rows), "model"),
        sum(row.cells for row in rows),
        sum(row.pending for row in rows),
        Cost(*map(sum, zip(*(row.cost for row in rows), strict=True))),
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Makespan(NamedTuple):
    """Seconds of a plan from start to end.

    Attributes:
        least: no schedule is shorter: the work by the workers, or the longest chain.
        busy: of all workers together.
    """

    seconds: float
    least: float
    busy: float


def makespan(rows: Sequence[Row], workers: int) -> Makespan:
    """How long several workers take, scheduled as `repro.execute.schedule` does.

    The longest first; a model's evaluation waits for its training, and is then shared out.
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


def plan_table(rows: Sequence[Row], notes: Sequence[str]) -> RenderableType:
    """Models and cells to do, with tokens and time, below lines of notes."""
    headings = ("cells", "to do", "train", "prompt", "new", "time")
    numbers = (Column(name, justify="right", no_wrap=True) for name in headings)
    columns = [Column("model", overflow="fold"), *numbers]
    table = Table(*columns, title="Plan", title_justify="left", box=None, pad_edge=False)

    def add(row: Row) -> None:
        tokens = [
            f"{count / 1e6:.2f}M" if count >= 1e6 else f"{count / 1e3:.0f}k"
            for count in row.cost[:3]
        ]
        spent = duration(row.cost.seconds)
        table.add_row(row.name, str(row.cells), str(row.pending), *tokens, spent)

    for row in rows:
        add(row)
    table.add_section()
    add(total(rows))
    return Group(*notes, "", table)
