"""The best-of rule behind the FT and FTICL bars of Figures 4 to 7 (AUDIT A6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Literal

Sample = Mapping[str, Any]
Rule = Literal["smallest", "all", "split-half"]

SMALLEST = 3
"""The bars of the figures leave the largest of the four shot counts out."""


@dataclass(frozen=True)
class Best:
    """The score of a bar.

    Attributes:
        value: mean score over all rows, each scored with the shot count chosen for it.
        chosen: that shot count; for split-half first the one that scores the even rows, then the
            one that scores the odd rows.
    """

    value: float
    chosen: tuple[int, ...]


def best_of(samples_by_shots: Mapping[int, Sequence[Sample]], rule: Rule) -> Best:
    """The best of several shot counts; of equal ones the smallest.

    Args:
        samples_by_shots: shot count -> samples ("row", "score") of the same rows.
        rule: "smallest" takes the maximum over the three smallest shot counts, that is 0 and
            the two that FTICL trains with; "all" over all; "split-half" chooses on the even
            rows for the odd ones, and the other way round, so no row chooses for itself. With
            no row to choose by, the smallest shot count is taken.

    Raises:
        ValueError: nothing given, or not the same rows under every shot count.
    """
    scores = {
        shots: {sample["row"]: float(sample["score"]) for sample in samples_by_shots[shots]}
        for shots in sorted(samples_by_shots)
    }
    rows = set(next(iter(scores.values()), ()))
    if not rows or any(set(of_shots) != rows for of_shots in scores.values()):
        raise ValueError("best_of needs samples of the same rows under every shot count")

    def total(shots: int, of: set[int]) -> float:
        return fsum(scores[shots][row] for row in of)  # exact, so that ties are ties

    if rule == "split-half":
        even = {row for row in rows if row % 2 == 0}
        odd = rows - even
        for_even = max(scores, key=lambda shots: total(shots, odd))
        for_odd = max(scores, key=lambda shots: total(shots, even))
        value = (total(for_even, even) + total(for_odd, odd)) / len(rows)
        return Best(value, (for_even, for_odd))
    considered = list(scores)[:SMALLEST] if rule == "smallest" else list(scores)
    chosen = max(considered, key=lambda shots: total(shots, rows))
    return Best(total(chosen, rows) / len(rows), (chosen,))
