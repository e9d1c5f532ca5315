"""Means, percentiles, and what to expect of shuffled micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; raises ZeroDivisionError for none."""
    return sum(values) / len(values)


def percentile(values: Sequence[int], percent: int) -> int:
    """Interpolated between neighbours and cut to a whole number, as AUDIT prints it."""
    return int(np.percentile(values, percent))


@dataclass(frozen=True)
class MicroBatches:
    """Expected numbers in an epoch of randomly ordered samples, some without any label (dead).

    Attributes:
        both_dead: micro-batches of two dead samples.
        both_dead_sd: its standard deviation between epochs.
        one_dead: micro-batches with exactly one.
        steps: optimiser steps with at least one micro-batch of two dead samples.
        living: living samples in an optimiser step.
    """

    both_dead: float
    both_dead_sd: float
    one_dead: float
    steps: float
    living: float


def micro_batches(samples: int, dead: int, *, accumulation: int = 8) -> MicroBatches:
    """Closed forms for micro-batches of two, without replacement.

    A step's number of dead samples is hypergeometric; among k dead ones in 2 * accumulation
    places, no two share a micro-batch in C(accumulation, k) * 2^k of C(2 * accumulation, k) ways.

    Args:
        samples: samples of an epoch, a multiple of 2 * accumulation.
        dead: how many have no label.
    """
    pairs, places = samples // 2, 2 * accumulation
    both = pairs * _falling(dead, 2) / _falling(samples, 2)
    two = pairs * (pairs - 1) * _falling(dead, 4) / _falling(samples, 4)  # E[N (N - 1)]
    apart = sum(
        comb(dead, k) * comb(samples - dead, places - k) / comb(samples, places)
        * comb(accumulation, k) * 2**k / comb(places, k)
        for k in range(min(accumulation, dead) + 1)
    )  # fmt: skip
    return MicroBatches(
        both_dead=both,
        both_dead_sd=sqrt(max(0.0, two + both - both**2)),
        one_dead=2 * pairs * dead * (samples - dead) / _falling(samples, 2),
        steps=samples / places * (1 - apart),
        living=places * (samples - dead) / samples,
    )


def worst_step(dead: Sequence[bool], *, epochs: int, seed: int = 0, accumulation: int = 8) -> float:
    """Mean over simulated epochs of the most fully dead micro-batches that one step has.

    Args:
        dead: which samples have no label; their number a multiple of 2 * accumulation.
        epochs: random orders to draw.
    """
    generator = np.random.default_rng(seed)
    flags = np.asarray(dead)
    orders = generator.permuted(np.tile(flags, (epochs, 1)), axis=1)
    pairs = orders.reshape(epochs, -1, accumulation, 2).all(axis=3).sum(axis=2)
    return float(pairs.max(axis=1).mean())


def _falling(n: int, k: int) -> int:
    """n (n - 1) ... (n - k + 1)."""
    product = 1
    for i in range(k):
        product *= n - i
    return product
