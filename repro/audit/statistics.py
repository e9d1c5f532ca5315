"""Means, percentiles, and what to expect of shuffled micro-batches."""

from collections.abc import Sequence
from math import comb, perm, sqrt

import numpy as np


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; raises ZeroDivisionError for none."""
    return sum(values) / len(values)


def percentile(values: Sequence[int], percent: int) -> int:
    """Interpolated between neighbours and cut to a whole number, as AUDIT prints it."""
    return int(np.percentile(values, percent))


def micro_batches(samples: int, dead: int, *, accumulation: int = 8) -> dict[str, float]:
    """Expected numbers in an epoch of randomly ordered samples, some without any label (dead).

    Closed forms for micro-batches of two, without replacement. A step's number of dead samples is
    hypergeometric; among k dead ones in 2 * accumulation places, no two share a micro-batch in
    C(accumulation, k) * 2^k of C(2 * accumulation, k) ways.

    Args:
        samples: samples of an epoch, a multiple of 2 * accumulation.
        dead: how many have no label.

    Returns:
        Micro-batches of two dead samples with their standard deviation between epochs, and of
        exactly one; optimiser steps with at least one of two dead samples; living samples a step.
    """
    pairs, places = samples // 2, 2 * accumulation
    both = pairs * perm(dead, 2) / perm(samples, 2)
    two = pairs * (pairs - 1) * perm(dead, 4) / perm(samples, 4)  # E[N (N - 1)]
    apart = sum(
        comb(dead, k) * comb(samples - dead, places - k) / comb(samples, places)
        * comb(accumulation, k) * 2**k / comb(places, k)
        for k in range(min(accumulation, dead) + 1)
    )  # fmt: skip
    return {
        "both dead": both,
        "both dead, standard deviation": sqrt(max(0.0, two + both - both**2)),
        "exactly one dead": 2 * pairs * dead * (samples - dead) / perm(samples, 2),
        "steps with both dead": samples / places * (1 - apart),
        "living samples a step": places * (samples - dead) / samples,
    }


def worst_step(dead: Sequence[bool], *, epochs: int, accumulation: int = 8) -> float:
    """Mean over simulated epochs of the most fully dead micro-batches that one step has.

    Args:
        dead: which samples have no label; their number a multiple of 2 * accumulation.
        epochs: random orders to draw.
    """
    generator = np.random.default_rng(0)
    orders = generator.permuted(np.tile(np.asarray(dead), (epochs, 1)), axis=1)
    pairs = orders.reshape(epochs, -1, accumulation, 2).all(axis=3).sum(axis=2)
    return float(pairs.max(axis=1).mean())
