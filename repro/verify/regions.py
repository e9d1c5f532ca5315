"""Where an effect must lie for a claim to hold, and the tests of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from repro.spec.claims import Direction
from repro.verify.margins import margins
from repro.verify.statistics import above_p


@dataclass(frozen=True)
class Region:
    """Where an effect must lie for a claim to hold; open, and perhaps unbounded."""

    low: float
    high: float

    def __contains__(self, effect: float) -> bool:
        return self.low < effect < self.high

    def p_shown(self, effect: float, se: float, df: float, optimism: float = 0.0) -> float:
        """P of "it lies outside": both bounds must be cleared.

        Args:
            optimism: the estimate may be too high by anything up to this, or too low if negative;
                the least favourable is taken.
        """
        low, high = effect - max(optimism, 0.0), effect - min(optimism, 0.0)
        above = above_p(low, self.low, se, df) if math.isfinite(self.low) else 0.0
        below = above_p(-high, -self.high, se, df) if math.isfinite(self.high) else 0.0
        return max(above, below)

    def p_against(self, effect: float, se: float, df: float, optimism: float = 0.0) -> float:
        """P of "it lies inside": one bound must be clearly missed."""
        low, high = effect - max(optimism, 0.0), effect - min(optimism, 0.0)
        under = above_p(-high, -self.low, se, df) if math.isfinite(self.low) else 1.0
        over = above_p(low, self.high, se, df) if math.isfinite(self.high) else 1.0
        both = math.isfinite(self.low) and math.isfinite(self.high)
        return min(1.0, min(under, over) * (2 if both else 1))


def region(direction: Direction, margin: float) -> Region:
    """The region of a direction."""
    return {
        "greater": Region(0.0, math.inf),
        "less": Region(-math.inf, 0.0),
        "equal": Region(-margin, margin),
        "at most": Region(-math.inf, margin),
        "at least": Region(-margin, math.inf),
    }[direction]


def claim_margin(metrics: Iterable[str]) -> float:
    """The registered margin of claims, averaged over metrics where a mean spans both."""
    return float(np.mean([margins().claims[metric] for metric in metrics]))
