"""Verdicts on numbers, and levels of evidence. Those on claims: `claimverdicts.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from repro.spec.cells import Cell
from repro.spec.points import Point
from repro.verify.statistics import Interval


class Verdict(StrEnum):
    """How a number came out, best first."""

    REPRODUCED = "REPRODUCED"
    CONSISTENT = "CONSISTENT"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_REPRODUCED = "NOT REPRODUCED"
    NOT_RUN = "NOT RUN"

    @property
    def passes(self) -> bool:
        """Counts as success for the exit code."""
        return self in (Verdict.REPRODUCED, Verdict.CONSISTENT)


class Level(StrEnum):
    """The strongest comparison that a result allows."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"

    @property
    def meaning(self) -> str:
        return {
            Level.L0: "bit-exact",
            Level.L1: "same weights",
            Level.L2: "retrained",
            Level.L3: "against the paper",
        }[self]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The least good of several; a failure outweighs what was not run. NOT RUN for none."""
    order = (
        Verdict.NOT_REPRODUCED, Verdict.NOT_RUN, Verdict.INCONCLUSIVE, Verdict.CONSISTENT,
        Verdict.REPRODUCED,
    )  # fmt: skip
    return min(verdicts, key=order.index, default=Verdict.NOT_RUN)


@dataclass(frozen=True, kw_only=True)
class NumberVerdict:
    """One cell held against the stored reference (L0 to L2), or one point against the paper (L3).

    Attributes:
        point: the plotted point, at L3.
        level: the level that the comparison reached; None if none was possible.
        ours, theirs: the two values; None where not run.
        interval: 95%, of the difference ours - theirs; at L0 there is none.
        p: that there is no difference.
        p_adjusted: chance that a faithful run deviates as far in any cell.
        equivalence_p: of the two one-sided tests.
        margin: that they used.
        power: their chance to succeed if there is no difference at all.
        noticed: the smallest true difference that would be NOT REPRODUCED in nine of ten runs.
        differing: rows that differ beyond ties at equal weights, over all seeds.
        n: rows of ours; seeds: of ours; stored: runs behind the reference (k).
        constant: the label that every row got, if so.
        reason: one sentence on how the verdict came about.
    """

    cell: Cell
    point: Point | None = None
    seeds: tuple[int, ...] = ()
    level: Level | None = None
    verdict: Verdict = Verdict.NOT_RUN
    ours: float | None = None
    theirs: float | None = None
    interval: Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    equivalence_p: float | None = None
    margin: float | None = None
    power: float | None = None
    noticed: float | None = None
    differing: int | None = None
    n: int = 0
    stored: int = 0
    constant: str | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        if self.point is None:
            return self.cell.name
        return f"{self.point.figure}{self.point.panel} {self.point.series} {self.point.shots}"

    @property
    def difference(self) -> float | None:
        if self.ours is None or self.theirs is None:
            return None
        return self.ours - self.theirs


@dataclass(frozen=True, kw_only=True)
class GroupVerdict:
    """A fine-tune, a figure or the whole run held against the stored seeds (L2).

    Attributes:
        level: "fine-tune", "figure" or "run"; name: which one; what: the quantity compared.
        ours, theirs: its value, averaged over seeds (geometrically where `logarithmic`).
        interval: 95 %, of the difference; of logarithms where `logarithmic`.
        p_adjusted: chance that a faithful run deviates as far in any quantity of the level; None
            where it is not known.
        noticed: the smallest true difference that is an alarm in nine of ten runs, on the scale of
            `interval`.
        stored: seeds of the reference.
    """

    level: str
    name: str
    what: str
    ours: float
    theirs: float
    interval: Interval
    logarithmic: bool
    p_adjusted: float | None
    noticed: float
    verdict: Verdict
    stored: int
