"""Summaries of a study: mean differences over the levels of a factor, or by test set and model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from repro.spec.claims import Pair

Where = Literal["in domain", "out of domain", "other tasks"]
"""Where a test set stands towards the training set of a model."""

ShotsOf = Literal["0", "few"]
"""Test prompts without examples, or with any number of them."""


@dataclass(frozen=True, eq=False)
class Summary:
    """A grid of mean differences of scores, shown as a curve or as a matrix.

    Attributes:
        axis: what the rows are: of a curve the levels of a factor, of a matrix test sets.
        rows: in order; columns: of a curve its lines, of a matrix models.
        pairs: the differences that are averaged, by row and column; a place without any is empty.
        against: what each score is held against, in words.
    """

    kind: Literal["curve", "matrix"]
    title: str
    axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    pairs: Mapping[tuple[str, str], tuple[Pair, ...]]
    against: str
