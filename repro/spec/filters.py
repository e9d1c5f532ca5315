"""Filters of training rows: which are taken, how often, and with which outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["first", "shortest", "longest", "nearest", "farthest"]
"""Which rows come first when a share is taken: those of the file, those with the fewest or most
words in a field, those most or least similar to a data set's test rows."""


@dataclass(frozen=True)
class RowFilter:
    """Which rows of a training set are taken.

    Rows are dropped by `field`, then a share of the rest is taken, then repeated, then outputs are
    exchanged. Rows stay in the order of their file.

    Attributes:
        field: the field that is looked at, an input field or "output".
        values: it must be one of these; any where empty.
        min_words, max_words: words that it must have, at least and at most; no limit for None.
        order, share: the first so many of the rows that are left, in this order; all for 1.
        to: for "nearest" and "farthest", the data set whose test rows similarity is to.
        repeat: rows are repeated until there are as many as before the filter, so that training
            takes as many steps.
        exchange: share of rows that get the output of another row, or another label.
    """

    field: str = "output"
    values: tuple[str, ...] = ()
    min_words: int | None = None
    max_words: int | None = None
    order: Order = "first"
    share: float = 1.0
    to: str = ""
    repeat: bool = False
    exchange: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 <= self.exchange <= 1:
            raise ValueError("shares of rows lie between 0 and 1")
        if (self.order in ("nearest", "farthest")) != bool(self.to):
            raise ValueError("'nearest' and 'farthest', and no other order, need 'to', a data set")
        if self.order != "first" and self.share == 1:
            raise ValueError(f"order '{self.order}' needs a share below 1")

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has what is asked of its field."""
        text, words = row[self.field], len(row[self.field].split())
        return (
            (not self.values or text in self.values)
            and (self.min_words is None or words >= self.min_words)
            and (self.max_words is None or words <= self.max_words)
        )
