"""The comparisons of a contrast that were run, and how far they move from one run to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from repro.spec.claims import Contrast
from repro.spec.points import Point
from repro.spec.study import Study
from repro.verify.effects import (
    Compared,
    change_of,
    compare,
    gain_of,
    group_against,
    mean_of,
    points_of,
)
from repro.verify.measured import Measured, Source, common_seeds
from repro.verify.statistics import Interval, difference_p, satterthwaite, t_interval


@dataclass(frozen=True)
class Comparisons:
    """What was run of a contrast.

    Attributes:
        own: its comparisons; others: of a change or a gain, those of the group that it is held
            against.
        expected: how many the contrast asks for.
        points: what they compare, as measured.
        seeds: common to all of them.
        lacking: why there is nothing to judge; empty if there is.
    """

    contrast: Contrast
    own: tuple[Compared, ...] = ()
    others: tuple[Compared, ...] = ()
    expected: int = 0
    points: Mapping[Point, Measured] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    lacking: str = ""

    @property
    def judged(self) -> list[Compared]:
        """What effects are taken of: each comparison, or one group's summary against another's."""
        if not self.contrast.than:
            return list(self.own)
        summary = change_of if self.contrast.kind == "change" else gain_of
        name = f"size of the {self.contrast.kind}"
        return [group_against(name, summary(self.own), summary(self.others), self.own)]

    def both(self, other: "Comparisons") -> "Comparisons":
        """These, as far as the other ones have them too."""
        names = {item.name for item in (*other.own, *other.others)}
        own, others = (
            tuple(item for item in items if item.name in names) for items in (self.own, self.others)
        )
        return replace(self, own=own, others=others)


def comparisons(
    contrast: Contrast, study: Study, source: Source | None, *, every_shot: bool = False
) -> Comparisons:
    """The comparisons whose points were all run, on the seeds that all of these have.

    Args:
        contrast: of scores or outputs, not of facts of fine-tunes.
        source: what it compares; None if that is not known.
        every_shot: bars are the best over all shot counts.
    """
    pairs = study.pairs(contrast, every_shot=every_shot)
    others = study.pairs(contrast, every_shot=every_shot, other=True)
    found = Comparisons(contrast, expected=len(pairs) + len(others))
    if source is None:
        return replace(found, lacking="the outputs are not known")
    points = dict.fromkeys(point for pair in (*pairs, *others) for point in points_of(pair))
    measured = {point: value for point in points if (value := source(point)) is not None}
    run, run_others = (
        [pair for pair in wanted if all(point in measured for point in points_of(pair))]
        for wanted in (pairs, others)
    )
    used = dict.fromkeys(point for pair in (*run, *run_others) for point in points_of(pair))
    seeds = common_seeds(measured[point] for point in used)
    if not run or (others and not run_others) or seeds is None:
        reason = "no seed in common" if seeds is None else "none of its comparisons was run"
        return replace(found, lacking=reason)
    return replace(
        found,
        own=tuple(compare(pair, measured, seeds, contrast.threshold) for pair in run),
        others=tuple(compare(pair, measured, seeds) for pair in run_others),
        points={point: measured[point] for point in used},
        seeds=seeds,
    )


class Change(NamedTuple):
    """How far an effect moves from one run to another.

    Attributes:
        interval: 95 %, of Student's t.
        p: two-sided, against no change.
    """

    effect: float
    interval: Interval
    p: float


def change(before: Comparisons, after: Comparisons) -> Change | None:
    """The change of a contrast's mean effect, over the comparisons that both runs have.

    Rows must have been drawn alike in both, which pairs them. The luck of seeds counts twice, once
    for each run: its draws are those of models that the second run trained anew, and 0 for others.

    Returns:
        None if they have no comparison in common.
    """
    one, other = before.both(after), after.both(before)
    if not one.own or (one.contrast.than and not one.others):
        return None
    first, second = (mean_of("all", side.judged) for side in (one, other))
    left, right = first.effect, second.effect
    moved = float(right.values.mean() - left.values.mean())
    rows = float(np.var(right.draws.mean(axis=0) - left.draws.mean(axis=0)))
    parts = [(rows, max(1.0, first.n - 1.0))]
    parts += [
        (float(np.var(side.effect.luck)) / len(side.effect.values), side.df)
        for side in (first, second)
    ]
    se, df = satterthwaite(parts)
    return Change(moved, t_interval(moved, se, df), difference_p(moved, se, df))
