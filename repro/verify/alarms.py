"""False alarms on real runs: seeds of a reference held against its other seeds (A/A).

Seeds of one reference differ in nothing but luck. So a cell should fall outside its 95 % interval
in 5 % of all cases at most (less where the binomial floor is wider than the spread of seeds), and
after the correction a comparison should call any cell NOT REPRODUCED in 5 % of the cases at most.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from repro.verify.levels import hold_against
from repro.verify.results import Run
from repro.verify.statistics import ALPHA, t_quantile
from repro.verify.verdicts import Level, NumberVerdict, Verdict


@dataclass(frozen=True)
class Split:
    """Some seeds held against others of the same reference.

    Attributes:
        ours, stored: the seeds of either side; numbers: a verdict for each fine-tuned cell.
    """

    ours: tuple[int, ...]
    stored: tuple[int, ...]
    numbers: tuple[NumberVerdict, ...]

    @property
    def outside(self) -> int:
        """Cells outside their interval, before correction."""
        return sum(number.outside for number in self.numbers)

    @property
    def failed(self) -> int:
        """Cells called NOT REPRODUCED, after correction."""
        return sum(number.verdict is Verdict.NOT_REPRODUCED for number in self.numbers)


def _only(run: Run, seeds: Sequence[int]) -> Run:
    return replace(run, cells={key: cell for key, cell in run.cells.items() if key[1] in seeds})


def split(run: Run, ours: Sequence[int], stored: Sequence[int]) -> Split:
    """Fine-tuned cells of some seeds against those of others, as retrained (L2)."""
    numbers = hold_against(_only(run, ours), _only(run, stored), level=Level.L2)
    return Split(tuple(ours), tuple(stored), numbers)


def leave_out(run: Run, count: int) -> tuple[Split, ...]:
    """Every choice of `count` seeds against all others: 5 of one, or 10 pairs, from five seeds."""
    return tuple(
        split(run, chosen, [seed for seed in run.seeds if seed not in chosen])
        for chosen in combinations(run.seeds, count)
    )


def one_to_one(run: Run) -> tuple[Split, ...]:
    """Every seed against every later one: rows only, as nothing is known of their spread."""
    return tuple(split(run, [a], [b]) for a, b in combinations(run.seeds, 2))


@dataclass(frozen=True)
class AlarmRate:
    """How often cells were outside, over several splits.

    Attributes:
        share: of all tests.
        floor: its one-sided lower bound; above ALPHA it is too often.
        clusters: fine-tuned models, counted once for all their seeds.
    """

    share: float
    floor: float
    tests: int
    clusters: int


def alarm_rate(splits: Iterable[Split], *, confidence: float = 0.999) -> AlarmRate:
    """The share of cells outside, with a lower bound that respects what they have in common.

    Cells of a model share its weights, the splits share runs, and the same seed's value enters
    all of them; so a model's tests count as one cluster with any dependence inside. Different
    models are trained apart. With y_c the cells outside and m_c the tests of cluster c of C, the
    share is p = sum y / sum m, its linearised variance C / (C - 1) * sum (y_c - p m_c)^2 /
    (sum m)^2, and the bound p - t(confidence, C - 1) * sd. Clusters that agree by luck must not
    make an error of nothing: it is at least that of as many independent tests at rate ALPHA.
    """
    numbers = [number for one in splits for number in one.numbers if number.p is not None]
    models = sorted({number.cell.variant for number in numbers})
    if len(models) < 2:
        raise ValueError("the rate needs two models or more")
    place = [models.index(number.cell.variant) for number in numbers]
    m = np.bincount(place, minlength=len(models)).astype(float)
    y = np.bincount(place, [number.outside for number in numbers], minlength=len(models))
    share, count = float(y.sum() / m.sum()), len(models)
    variance = count / (count - 1) * float(((y - share * m) ** 2).sum()) / float(m.sum()) ** 2
    variance = max(variance, ALPHA * (1 - ALPHA) / float(m.sum()))
    floor = share - t_quantile(confidence, count - 1) * variance**0.5
    return AlarmRate(share, floor, len(numbers), count)
