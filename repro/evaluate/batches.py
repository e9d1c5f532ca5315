"""Batches by token budget, sorted by length; out of memory halves the budget and goes on."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from repro.errors import EXIT_MISSING, ReproError
from repro.machine.exhausted import out_of_memory

Result = TypeVar("Result")

PADDING = 256
"""Tokens of padding that cost about as much as another forward pass does beside its tokens."""


class Budget:
    """How many tokens a batch may hold; `tokens` shrinks for good when memory runs out.

    Those are rows times the longest row of a batch, padding and tokens to come included.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = self.first = tokens


def alike(costs: Sequence[int], padding: int) -> int:
    """How many leading rows of `costs` (sorted, largest first) to compute together.

    As long as giving the shorter ones a batch of their own would save more than `padding` tokens
    of padding, the best such cut is made.
    """
    count = len(costs)
    while count > 1:
        saved, cut = max(((costs[0] - costs[i]) * (count - i), i) for i in range(1, count))
        if saved <= padding:
            break
        count = cut
    return count


def in_batches(
    costs: Sequence[int],
    budget: Budget,
    work: Callable[[list[int]], Sequence[Result]],
    *,
    padding: int | None = None,
) -> list[Result]:
    """Do `work` on batches of row numbers and give the results in the rows' own order.

    The longest rows go first, ties in their order, so batches depend on the costs and the
    budget alone, and a batch that does not fit shows early.

    Args:
        costs: tokens that each row takes, at least 1.
        padding: tokens of padding that a batch may save by being smaller, see `alike`; None fills
            it as the budget allows.

    Raises:
        ReproError: a batch of one row does not fit into memory (exit code 3).
    """
    order = sorted(range(len(costs)), key=lambda row: (-costs[row], row))
    results: dict[int, Result] = {}
    while order:
        sizes = [costs[row] for row in order]
        rows = order[: max(1, budget.tokens // sizes[0])]
        if padding is not None:
            rows = rows[: alike(sizes[: len(rows)], padding)]
        done = _try(work, rows)
        if done is None:
            if len(rows) == 1:
                raise ReproError(
                    f"out of memory on a single prompt of {costs[rows[0]]} tokens",
                    hint="use a machine with more memory, or a profile with a smaller model",
                    exit_code=EXIT_MISSING,
                )
            # From what was tried, not from the budget, which a small cell may not have used up.
            budget.tokens = len(rows) * costs[rows[0]] // 2
            continue
        results.update(zip(rows, done, strict=True))
        order = order[len(rows) :]
    return [results[row] for row in range(len(costs))]


def _try(work: Callable[[list[int]], Sequence[Result]], rows: list[int]) -> Sequence[Result] | None:
    """The results, or None when memory ran out."""
    try:
        return work(rows)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    # Behind the except block, so that the error no longer holds the batch's tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
