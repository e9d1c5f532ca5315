"""What a job costs: tokens, and time by a profile's rates. Needs no torch and no data."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.printable import counted
from repro.profiles.profile import Compute


@dataclass(frozen=True)
class Cost:
    """Upper bounds for a job.

    Attributes:
        train_tokens: over all epochs, before padding.
        prompt_tokens: with each context computed once a cell.
        new_tokens: if every generation runs to its limit.
        seconds: by the profile's rates, and where the memory of fine-tunes lies.
        train_seconds: of these, those of training, which evaluation waits for.
    """

    train_tokens: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    train_seconds: float = 0.0

    @classmethod
    def at(
        cls, compute: Compute, *, train: int, prompt: int, new: int, train_seconds: float
    ) -> "Cost":
        """The cost of these tokens at a profile's rates.

        Args:
            train_seconds: of the tokens to train on, as `repro.plan.pace` has them.
        """
        seconds = train_seconds + prompt / compute.evaluate_rate
        return cls(train, prompt, new, seconds + new / compute.generate_rate, train_seconds)


@dataclass(frozen=True)
class Row:
    """A model of a plan with what is still to do for it.

    Attributes:
        cells: all of its cells; pending: those that are not finished.
    """

    name: str
    cells: int
    pending: int
    cost: Cost


def total(rows: Sequence[Row]) -> Row:
    """The sum over models."""
    costs = [row.cost for row in rows]
    return Row(
        counted(len(rows), "model"),
        sum(row.cells for row in rows),
        sum(row.pending for row in rows),
        Cost(
            sum(cost.train_tokens for cost in costs),
            sum(cost.prompt_tokens for cost in costs),
            sum(cost.new_tokens for cost in costs),
            sum(cost.seconds for cost in costs),
            sum(cost.train_seconds for cost in costs),
        ),
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
