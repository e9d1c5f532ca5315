"""Batch formation, and what happens when memory runs out."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ReproError
from repro.evaluate.batches import Budget, alike, in_batches

COSTS = st.lists(st.integers(1, 50), max_size=30)


@given(COSTS, st.integers(1, 400))
def test_every_row_once_within_budget_and_longest_first(costs, tokens):
    batches = []

    def work(rows):
        batches.append(rows)
        return [f"result {row}" for row in rows]

    assert in_batches(costs, Budget(tokens), work) == [f"result {i}" for i in range(len(costs))]
    order = [row for rows in batches for row in rows]
    assert sorted(order) == list(range(len(costs)))
    assert [costs[row] for row in order] == sorted(costs, reverse=True)
    for number, rows in enumerate(batches, 1):
        longest = costs[rows[0]]
        assert len(rows) == 1 or len(rows) * longest <= tokens
        # No batch is smaller than it has to be.
        assert number == len(batches) or (len(rows) + 1) * longest > tokens


@given(COSTS.filter(bool), st.integers(0, 200))
def test_a_batch_is_cut_only_where_that_saves_padding(costs, padding):
    costs.sort(reverse=True)
    count = alike(costs, padding)
    kept = costs[:count]
    # No single cut of what is kept saves more than asked for.
    for cut in range(1, count):
        whole, parts = count * kept[0], cut * kept[0] + (count - cut) * kept[cut]
        assert whole - parts <= padding
    if count < len(costs):
        assert (costs[0] - costs[count]) * (len(costs) - count) > padding
    batches = []
    in_batches(costs, Budget(10**6), lambda rows: batches.append(rows) or rows, padding=padding)
    assert len(batches[0]) == count
    assert [row for rows in batches for row in rows] == list(range(len(costs)))


@given(COSTS, st.integers(1, 400), st.integers(50, 400))
def test_out_of_memory_goes_on_with_smaller_batches(costs, tokens, memory):
    """With memory for the longest row, all rows get done, however large the budget was."""
    budget = Budget(tokens)
    used = []

    def work(rows):
        size = len(rows) * costs[rows[0]]
        used.append(size)
        if size > memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return rows

    assert in_batches(costs, budget, work) == list(range(len(costs)))
    refused = [size for size in used if size > memory]
    assert budget.tokens == (refused[-1] // 2 if refused else tokens)
    for before, after in pairwise(refused):
        assert after <= before / 2


def test_the_halved_budget_is_kept_for_the_next_cell():
    budget = Budget(1000)
    fails = [True]

    def work(rows):
        if fails.pop() if fails else False:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: out of memory")
        sizes.append(len(rows))
        return rows

    sizes = []
    in_batches([10] * 80, budget, work)
    assert sizes == [40, 40]
    in_batches([10] * 80, budget, work)
    assert sizes == [40, 40, 40, 40]


def test_one_row_that_does_not_fit():
    def work(rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ReproError, match="single prompt of 7 tokens") as error:
        in_batches([3, 7, 5], Budget(100), work)
    assert error.value.exit_code == 3
    assert error.value.hint


def test_other_errors_are_not_swallowed():
    def work(rows):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        in_batches([3, 7], Budget(100), work)
