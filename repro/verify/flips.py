"""How the outputs of two evaluations of the same rows differ."""

from dataclasses import dataclass

import numpy as np

from repro.verify.outcomes import Outcomes
from repro.verify.statistics import mcnemar


@dataclass(frozen=True)
class Flips:
    """How the outputs of two evaluations of the same rows differ.

    Attributes:
        gained, lost: rows scored right by ours only, by theirs only, outside ties.
        tied_gained, tied_lost: the same for rows where either side was near a tie.
        changed: rows whose output differs at all; n: rows.
    """

    gained: int
    lost: int
    tied_gained: int
    tied_lost: int
    changed: int
    n: int

    @property
    def p(self) -> float:
        """Exact McNemar p. A tie could have gone either way, and counts for equality."""
        gained, lost = self.gained, self.lost
        if gained < lost:
            gained = min(lost, gained + self.tied_gained)
        else:
            lost = min(gained, lost + self.tied_lost)
        return mcnemar(gained, lost)


def flips(ours: Outcomes, theirs: Outcomes, tie: float) -> Flips:
    """Compare two outcomes of the same rows of a classification set.

    Where the logits of a side are unknown, no row counts as tied on that side.
    """
    near = np.zeros(len(ours.scores), dtype=bool)
    for gaps in (ours.gaps, theirs.gaps):
        if gaps is not None:
            near |= gaps < tie
    difference = ours.scores - theirs.scores
    changed = sum(a != b for a, b in zip(ours.outputs, theirs.outputs, strict=True))

    def count(sign: int, tied: bool) -> int:
        return int(((difference == sign) & (near == tied)).sum())

    return Flips(
        count(1, False), count(-1, False), count(1, True), count(-1, True), changed, len(near)
    )
