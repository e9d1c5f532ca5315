"""What a verification says: verdicts, levels of evidence, and the data model of all reports."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from repro.paper.cells import Cell
from repro.paper.claims import Claim, Contrast
from repro.paper.figures import Point
from repro.verify.statistics import Interval


class Verdict(StrEnum):
    """How a number or a claim came out, best first."""

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
        Verdict.NOT_REPRODUCED,
        Verdict.NOT_RUN,
        Verdict.INCONCLUSIVE,
        Verdict.CONSISTENT,
        Verdict.REPRODUCED,
    )
    found = set(verdicts)
    return next((verdict for verdict in order if verdict in found), Verdict.NOT_RUN)


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
        outside: the unadjusted test finds a difference.
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
    outside: bool = False
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
        p_adjusted: chance that a faithful run deviates as far in any quantity of the level.
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
    p_adjusted: float
    noticed: float
    verdict: Verdict
    stored: int


@dataclass(frozen=True)
class Effect:
    """One comparison, or the mean of several.

    Attributes:
        effect: left - right; for facts of fine-tunes left / right - 1.
        interval: 95%, over rows and, with two seeds or more, over seeds; None without either.
        holds: it lies where the claim says, by sign or margin.
        p_shown: that it does not lie there; p_against: that it does.
        power: chance to show it, were it as large as in the paper (or zero, for equivalence).
        right, total: comparisons that hold, of how many are averaged.
    """

    name: str
    left: float
    right: float
    effect: float
    interval: Interval | None
    holds: bool
    p_shown: float
    p_against: float
    right_count: int = 1
    total: int = 1


@dataclass(frozen=True, kw_only=True)
class ContrastVerdict:
    """A contrast of a claim.

    Attributes:
        pairs: every comparison; by_dataset: their means per test set; mean: over all.
        expected: comparisons that the contrast asks for; fewer may have been run.
        p_shown, p_against: that the contrast holds, and that it does not.
        power: chance of this test to show the paper's effect, or equivalence.
        seeds: of the fine-tunes, common to all that is compared.
        paper_effect: the mean effect in the published numbers.
        verdict: before the correction for many claims.
    """

    contrast: Contrast
    verdict: Verdict
    pairs: tuple[Effect, ...] = ()
    by_dataset: tuple[Effect, ...] = ()
    mean: Effect | None = None
    expected: int = 0
    p_shown: float = 1.0
    p_against: float = 1.0
    power: float | None = None
    seeds: tuple[int, ...] = ()
    paper_effect: float | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Our effect over the paper's, where the claim is about a direction."""
        if self.mean is None or not self.paper_effect:
            return None
        if self.contrast.direction not in ("greater", "less"):
            return None
        return self.mean.effect / self.paper_effect


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim of the paper, on a set of numbers.

    Attributes:
        p_adjusted: by Holm over the claims that were judged together.
        paired: rows were compared one by one; if not, only summaries were at hand.
    """

    claim: Claim
    verdict: Verdict
    contrasts: tuple[ContrastVerdict, ...]
    p_shown: float
    p_adjusted: float
    paired: bool
    reason: str = ""

    @property
    def headline(self) -> ContrastVerdict | None:
        """The contrast that decided: the first with the claim's verdict."""
        own = [item for item in self.contrasts if not item.contrast.beyond]
        same = [item for item in own if item.verdict == self.verdict]
        return next(iter(same or own), None)
