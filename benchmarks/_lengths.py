"""Lengths of the authors' rows in tokens of Llama-2, from the rows or from stored figures."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from repro.audit import tokenizer
from repro.audit.compare import load
from repro.audit.material import FIRST, Material
from repro.data.upstream import UpstreamData, locate
from repro.studies.paper.tasks import SIZES, TRAIN_SETS
from repro.verify.published import default_folder


class Row(NamedTuple):
    """Tokens of a training sample before cutting, demonstrations included.

    Attributes:
        source: tokens that carry no label.
        total: source and target.
    """

    source: int
    total: int


class Prompts(NamedTuple):
    """Tokens of a cell's prompts (prompt 1): of each, and how many all begin with."""

    lengths: list[int]
    common: int


class Lengths(NamedTuple):
    """Where lengths come from.

    Attributes:
        origin: in words.
        training: of a training set's 2,000 rows, by its name and number of demonstrations.
        prompts: of a test set's 250 rows, by its name and number of demonstrations.
    """

    origin: str
    training: Callable[[str, int], list[Row]]
    prompts: Callable[[str, int], Prompts]


def lengths() -> Lengths:
    """True lengths where $REPRO_LLAMA2_TOKENIZER names the tokenizer, else those of `stored`.

    Raises:
        ReproError: that folder holds no such tokenizer, or the authors' data is not there (3).
    """
    if not os.environ.get(tokenizer.VARIABLE):
        return stored()
    material = Material(UpstreamData(locate()), tokenizer.load())

    def training(train: str, shots: int) -> list[Row]:
        return [Row(x.source, x.total) for x in material.lengths(train, SIZES[0], shots)]

    def prompts(dataset: str, shots: int) -> Prompts:
        found = material.prompts(dataset, "p1", shots)
        return Prompts(found.lengths, found.common)

    return Lengths("the authors' rows", training, prompts)


def audited() -> dict[tuple[str, str], float]:
    """The numbers of `expected_results/audit` by finding and what it is of.

    Raises:
        ReproError: the folder is not there (3).
    """
    values = load(default_folder() / "audit")
    return {(one.finding, one.what): one.value for one in values if not isinstance(one.value, str)}


def stored() -> Lengths:
    """Lengths that have the audit's means and percentiles (AUDIT C, D1, E2); needs no data.

    Every target has the mean length of its set's.
    """
    values = audited()

    def training(train: str, shots: int) -> list[Row]:
        def value(name: str, shown: int = 0) -> float:
            return values["training-lengths", f"{train} {SIZES[0]}, {shown} shots: {name}"]

        at = {0.5: "median", 0.95: "95th percentile", 0.99: "99th percentile", 1.0: "longest"}
        alone = curve(SIZES[0], value("mean"), {share: value(name) for share, name in at.items()})
        context, target = int(value("context", shots)), round(value("target mean"))
        return [Row(context + total - target, context + total) for total in alone]

    def prompts(dataset: str, shots: int) -> Prompts:
        def value(name: str) -> float:
            return values["prompt-lengths", f"{dataset}, p1, {shots} shots: {name}"]

        def text(name: str) -> float:
            return values["text-lengths", f"test/{dataset}, input: {name}"]

        at = {0.5: "median", 0.95: "95th percentile", 1.0: "longest"}
        alone = curve(FIRST, text("mean"), {share: text(name) for share, name in at.items()})
        common, around = int(value("common")), round(value("mean") - text("mean"))
        return Prompts([max(common + 1, own + around) for own in alone], common)

    return Lengths("stored percentiles of the authors' rows", training, prompts)


def curve(count: int, mean: float, at: dict[float, float]) -> list[int]:
    """Lengths, ascending, whose distribution runs straight between percentiles.

    Its lower end, which no percentile tells, is where the mean comes out, if one is.

    Args:
        at: share of the rows -> length, ascending, from the median to the longest (1.0).
    """
    shares, values = list(at), list(at.values())
    above = float(np.trapezoid(values, shares))
    low = 2 * (mean - above) / shares[0] - values[0]
    places = (np.arange(count) + 0.5) / count
    found: Sequence[float] = np.interp(
        places, [0.0, *shares], [min(max(low, 1.0), values[0]), *values]
    ).tolist()
    return [round(length) for length in found]


def context_set(train: str) -> str:
    """The test set whose demonstrations a training set's FTICL samples begin with."""
    return TRAIN_SETS[train].dataset
