"""Which samples make up which step: hand-counted cases of the period's trainer."""

import pytest

from repro.finetune import schedule


def lengths(samples, epochs=2, accumulation=8):
    order = [list(range(samples))] * epochs
    return [len(step) for step in schedule.steps(order, 2, accumulation)]


@pytest.mark.parametrize(
    ("samples", "steps"),
    [(2000, 250), (4000, 500), (5999, 750), (6000, 750), (5986, 748)],
)
def test_steps_of_the_paper_s_training_sets(samples, steps):
    assert lengths(samples) == [8] * steps


def test_micro_batches_left_at_the_end_of_an_epoch_open_the_next_step():
    order = [list(range(5986)), list(range(5986))]
    steps = schedule.steps(order, 2, 8)
    assert steps[373][-1] == [5982, 5983]
    assert steps[374][:2] == [[5984, 5985], [0, 1]]
    assert steps[-1][-1] == [5980, 5981]  # the last two pairs of the second epoch are never used


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (1, [1, 1]),  # every epoch's end closes a step
        (16, [8, 8]),
        (17, [8, 8]),  # nine micro-batches: one step an epoch is planned
        (10, [5, 3]),  # eight micro-batches are counted within the second epoch
    ],
)
def test_few_samples(samples, expected):
    assert lengths(samples) == expected


def test_the_last_micro_batch_may_be_smaller():
    assert schedule.steps([[4, 3, 2, 1, 0]], 2, 8) == [[[4, 3], [2, 1], [0]]]


def test_linear_decay_ends_one_step_before_zero():
    rates = [schedule.learning_rate(2e-5, step, 4) for step in range(5)]
    assert rates == pytest.approx([2e-5, 1.5e-5, 1e-5, 0.5e-5, 0], abs=1e-20)


def test_orders_are_permutations_that_follow_the_seed():
    first, second = schedule.shuffled(50, 2, seed=1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert schedule.shuffled(50, 2, seed=1) == [first, second]
    assert schedule.shuffled(50, 2, seed=2) != [first, second]
