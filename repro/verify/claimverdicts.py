"""Verdicts on claims, and the data model that reports show of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from repro.spec.claims import Claim, Contrast
from repro.verify.statistics import Interval


class Answer(StrEnum):
    """How a claim came out, best first. Not shared with numbers: see `verdicts.Verdict`."""

    HOLDS = "HOLDS"
    AGREES = "AGREES"
    CANNOT_TELL = "CANNOT TELL"
    PARTLY = "PARTLY HOLDS"
    FAILS = "FAILS"
    NOT_RUN = "NOT RUN"

    @property
    def meaning(self) -> str:
        return {
            Answer.HOLDS: "shown to hold",
            Answer.AGREES: "points the claimed way, but is not shown",
            Answer.CANNOT_TELL: "neither points the claimed way throughout nor is shown otherwise",
            Answer.PARTLY: "some parts are shown to hold, others are shown otherwise",
            Answer.FAILS: "shown otherwise",
            Answer.NOT_RUN: "no results",
        }[self]

    @property
    def otherwise(self) -> bool:
        """Some of it is shown to be otherwise than claimed."""
        return self in (Answer.PARTLY, Answer.FAILS)

    @property
    def passes(self) -> bool:
        """The results point the claimed way, shown or not."""
        return self in (Answer.HOLDS, Answer.AGREES)


@dataclass(frozen=True)
class Effect:
    """One comparison, or the mean of several.

    Attributes:
        effect: left - right; for facts of fine-tunes left / right - 1.
        interval: 95%, over rows and seeds; None where neither is known.
        holds: the estimate lies where the claim says, by sign or margin.
        p_shown: of "it does not lie there"; p_against: of "it does".
        right_count, total: comparisons that hold, of how many are averaged.
        optimism: by how much the largest of several cells may read too high, left - right.
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
    optimism: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ContrastVerdict:
    """A contrast of a claim.

    Attributes:
        verdict: corrected by Holm for all contrasts that were judged together.
        pairs: every comparison; by_dataset: their means per test set; mean: over all.
        expected: comparisons that the contrast asks for; compared: those of them that were run.
        p_shown, p_otherwise: that the contrast does not hold, and that no part of it is
            otherwise; before the correction for many contrasts.
        agrees: the estimates point the claimed way, but for as many as chance may turn.
        allowed: how many comparisons sampling alone may put on the wrong side (95%), had each
            the mean effect of its test set; None for facts of fine-tunes.
        shown, otherwise: names of the parts that are shown to hold, and to be otherwise.
        contradicts: of `otherwise`, what the published figures have on the claimed side; empty
            unless the verdict is PARTLY or FAILS. This is what fails a run.
        power: a probability; power_of: of what.
        seeds: of the fine-tunes, common to all that is compared.
        paper_effect: the mean effect in the published numbers.
        constant: compared models that gave every row the same label.
        unpublished: the paper has no numbers for it, so that its figures cannot bear it out.
        reason: what decided, in a sentence.
    """

    contrast: Contrast
    verdict: Answer = Answer.NOT_RUN
    pairs: tuple[Effect, ...] = ()
    by_dataset: tuple[Effect, ...] = ()
    mean: Effect | None = None
    expected: int = 0
    compared: int = 0
    p_shown: float = 1.0
    p_otherwise: float = 1.0
    agrees: bool = False
    allowed: int | None = None
    shown: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    power: float | None = None
    power_of: str = ""
    seeds: tuple[int, ...] = ()
    paper_effect: float | None = None
    constant: tuple[str, ...] = ()
    unpublished: bool = False
    reason: str = ""

    @property
    def ran(self) -> bool:
        return self.mean is not None

    @property
    def few(self) -> bool:
        """Too few comparisons were run to speak for the others."""
        return 2 * self.compared < self.expected

    @property
    def ratio(self) -> float | None:
        """Our effect over the paper's, where the claim is about a direction."""
        if self.mean is None or not self.paper_effect:
            return None
        if self.contrast.direction not in ("greater", "less"):
            return None
        return self.mean.effect / self.paper_effect

    @property
    def parts(self) -> Iterator[Effect]:
        """All that it tests, each under its own name."""
        yield from self.pairs
        yield from self.by_dataset
        if self.mean is not None:
            yield self.mean


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim of the paper, on a set of numbers.

    Attributes:
        p_shown: the largest of its contrasts; p_adjusted: by Holm over all contrasts.
        paired: rows were compared one by one; if not, only summaries were at hand.
        reason: what decided, in a sentence.
    """

    claim: Claim
    verdict: Answer
    contrasts: tuple[ContrastVerdict, ...]
    p_shown: float
    p_adjusted: float
    paired: bool
    reason: str = ""

    @property
    def own(self) -> tuple[ContrastVerdict, ...]:
        """Its comparisons, without those that go beyond what the paper says."""
        return tuple(item for item in self.contrasts if not item.contrast.beyond)

    def item(self, name: str) -> ContrastVerdict:
        """One of its comparisons."""
        return next(item for item in self.contrasts if item.contrast.name == name)

    @property
    def contradicts(self) -> tuple[str, ...]:
        """What is shown otherwise here, and is on the claimed side in the published figures."""
        return tuple(f"{i.contrast.name}: {part}" for i in self.own for part in i.contradicts)

    @property
    def headline(self) -> ContrastVerdict | None:
        """The contrast that decided: the worst of its own for a claim that is not shown."""
        order = (
            Answer.FAILS, Answer.PARTLY, Answer.CANNOT_TELL, Answer.AGREES, Answer.HOLDS,
            Answer.NOT_RUN,
        )  # fmt: skip
        return min(self.own, key=lambda item: order.index(item.verdict), default=None)

    @property
    def mean(self) -> Effect | None:
        """The mean effect of the contrast that decided."""
        return self.headline.mean if self.headline else None
