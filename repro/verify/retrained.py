"""Retrained runs held against stored seeds (L2), at four levels.

- *cell*: its mean over rows, and the distance of its rows from the stored seeds' mean row;
- *fine-tune*: the means over all of its cells, the mean distance of their rows, the training loss
  at the end and the weight change;
- *figure* and *run*: the means over all fine-tuned cells.

Each level has its share of the false alarms of a faithful run, see SHARE; together 5 % at most.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.printable import counted
from repro.results.outcomes import common_rows
from repro.results.runs import Run, Tuned
from repro.spec.cells import Cell, Variant
from repro.verify.rowverdicts import BySeed, CellPair
from repro.verify.spread import Family, family
from repro.verify.statistics import (
    ALPHA,
    Floats,
    difference_p,
    smoothed_share_variance,
    t_interval,
    tost_p,
    tost_power,
)
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict

SHARE = {"cell": 0.016, "rows": 0.010, "fine-tune": 0.010, "figure": 0.006, "run": 0.004}
"""Chance of a false alarm in a faithful run, by level; they add up to less than ALPHA."""


@dataclass(frozen=True)
class _Scores:
    """Scores of a cell on common rows: ours [m, rows], stored [k, rows]; one column by means only.

    Attributes:
        paired: whether rows are the same on both sides.
        n: rows behind a mean.
    """

    pair: CellPair
    ours: Floats
    theirs: Floats
    paired: bool
    n: int

    @property
    def distance(self) -> float:
        """The mean distance of our rows from the stored seeds' mean row."""
        return float(distance(self.ours, self.theirs.mean(axis=0)).mean())


def _scores(pair: CellPair, seeds: Sequence[int]) -> _Scores:
    everything = [*pair.ours.values(), *(pair.theirs[seed] for seed in seeds)]
    outcomes = [result.outcomes for result in everything if result.outcomes is not None]
    m = len(pair.ours)
    if len(outcomes) < len(everything) or not len(rows := common_rows(outcomes)):
        means = np.array([[result.value] for result in everything])
        return _Scores(pair, means[:m], means[m:], False, min(result.n for result in everything))
    table = np.stack([one.at(rows).scores for one in outcomes])
    return _Scores(pair, table[:m], table[m:], True, len(rows))


def distance(rows: Floats, middle: Floats) -> Floats:
    """Log mean squared distance of rows [m, n] from a mean row [n], or from one each [m, n]; [m].

    Half a row is added, so that rows without any difference have a distance, too.
    """
    apart = np.mean((rows - middle) ** 2, axis=1)
    return np.asarray(np.log(apart + 0.5 / rows.shape[1]), dtype=np.float64)


def _seeds(results: BySeed) -> tuple[int, ...]:
    return tuple(sorted(seed for seed in results if seed is not None))


@dataclass(frozen=True)
class _Quantity:
    """Something that a level compares.

    Attributes:
        members: places of the cells that it averages; none for facts of a training.
        kind: "mean", "rows" or the name of a fact.
    """

    name: str
    what: str
    owner: object
    kind: str
    members: tuple[int, ...] = ()


_FACTS: dict[str, Callable[[Tuned], float | None]] = {
    "training loss at the end": lambda tuned: tuned.final_loss,
    "weight change": lambda tuned: tuned.weight_change,
}


_Level = tuple[Sequence[_Quantity], Family]
Models = dict[object, Mapping[str, _Level]]
"""The levels of one reference on given rows that were fitted before."""


def against_seeds(
    pairs: Sequence[CellPair], groups: Mapping[str, Sequence[Cell]], models: Models
) -> tuple[dict[Cell, NumberVerdict], tuple[GroupVerdict, ...]]:
    """Verdicts on retrained cells and on all that they belong to.

    Args:
        pairs: fine-tuned cells that have stored seeds enough.
        groups: further sets of cells that are judged together, such as those of a figure.
        models: what was fitted before is taken from here, and what is fitted is added.

    Returns:
        A verdict a cell; and those of fine-tunes, groups and the whole run.
    """
    if not pairs:
        return {}, ()
    # Of a seed that was stored for some cells only, nothing is taken, lest the others go unjudged.
    shared = Counter(_seeds(pair.theirs) for pair in pairs)
    stored = max(shared, key=lambda own: (_held(own, shared), len(own)))
    scores = [_scores(pair, stored) for pair in pairs if set(stored) <= set(pair.theirs)]
    signature = (tuple((one.pair.cell, one.n, one.paired) for one in scores), stored)
    if signature not in models:
        models[signature] = _fit(scores, stored, groups)
    cells, rows, *levels = models[signature].items()
    grouped = [verdict for name, level in levels for verdict in _judge(name, *level, scores)]
    return _cell_verdicts(scores, cells[1], rows[1]), tuple(grouped)


def _held(seeds: tuple[int, ...], shared: Mapping[tuple[int, ...], int]) -> int:
    """Cells that have all of these seeds."""
    return sum(count for own, count in shared.items() if set(seeds) <= set(own))


def _fit(
    scores: Sequence[_Scores], seeds: Sequence[int], groups: Mapping[str, Sequence[Cell]]
) -> Mapping[str, _Level]:
    """The quantities of every level that has any, with their spread over the stored seeds."""
    stored = [one.theirs for one in scores]
    # Of every stored seed from the mean row of the others.
    distances = np.stack([distance(t, (t.sum(axis=0) - t) / (len(t) - 1)) for t in stored])
    place = {one.pair.cell: i for i, one in enumerate(scores)}
    own = [(one.pair.cell.variant, one.pair.metric, (i,)) for i, one in enumerate(scores)]
    levels = {
        "cell": [_Quantity("", metric, variant, "mean", i) for variant, metric, i in own],
        "rows": [_Quantity("", metric, variant, "rows", i) for variant, metric, i in own],
        "fine-tune": list(_of_finetunes(scores, seeds)),
        "figure": [
            item
            for name, cells in groups.items()
            for item in _means(name, name, [place[cell] for cell in cells if cell in place], scores)
        ],
        "run": list(_means("the run", "", range(len(scores)), scores)),
    }
    return {
        level: (quantities, _family_of(level, quantities, scores, distances, seeds))
        for level, quantities in levels.items()
        if quantities
    }


def _family_of(
    level: str,
    quantities: Sequence[_Quantity],
    scores: Sequence[_Scores],
    distances: Floats,
    seeds: Sequence[int],
) -> Family:
    values, floors = [], []
    for item in quantities:
        own = list(item.members)
        if item.kind == "mean":
            values.append(np.mean([scores[i].theirs.mean(axis=1) for i in own], axis=0))
            floors.append(0.25 / sum(scores[i].n for i in own) ** 2)  # half a row
        elif item.kind == "rows":
            values.append(distances[own].mean(axis=0))
            floors.append(0.1 / len(own))
        else:
            values.append(np.array(_logs(item, scores[0].pair.their_run, seeds)))
            floors.append(1e-8)
    order = None
    if level in ("cell", "rows"):
        centre = np.array([one.theirs.mean(axis=1).mean() for one in scores])
        order = centre * (1 - centre)
        for i, one in enumerate(scores):
            if level == "cell" and not one.paired:  # other rows, perhaps: their sampling too
                floors[i] += smoothed_share_variance(float(centre[i]), one.n)
    return family(
        np.stack(values),
        [item.what for item in quantities],
        [item.owner for item in quantities],
        floor=np.array(floors),
        order=order,
        one_sided=[item.kind == "rows" for item in quantities],
    )


def _logs(item: _Quantity, run: Run, seeds: Sequence[int]) -> list[float]:
    """The logarithm of a fact for each seed; NaN where it is missing."""
    assert isinstance(item.owner, Variant)
    tuned = [run.tuned.get((item.owner, seed)) for seed in seeds]
    values = [_FACTS[item.kind](one) if one else None for one in tuned]
    return [math.log(value) if value else math.nan for value in values]


def _of_finetunes(scores: Sequence[_Scores], seeds: Sequence[int]) -> Iterable[_Quantity]:
    for variant in dict.fromkeys(one.pair.cell.variant for one in scores):
        own = [i for i, one in enumerate(scores) if one.pair.cell.variant == variant]
        yield from _means(variant.name, variant, own, scores)
        if paired := tuple(i for i in own if scores[i].paired):
            yield _Quantity(variant.name, "distance of rows", variant, "rows", paired)
        for fact in _FACTS:
            item = _Quantity(variant.name, fact, variant, fact)
            if not np.isnan(_logs(item, scores[0].pair.their_run, seeds)).any():
                yield item


def _means(
    name: str, owner: object, own: Iterable[int], scores: Sequence[_Scores]
) -> Iterable[_Quantity]:
    """The mean over cells, for each metric."""
    members: dict[str, list[int]] = {}
    for i in own:
        members.setdefault(scores[i].pair.metric, []).append(i)
    for metric, places in members.items():
        yield _Quantity(name, f"mean {metric}", owner, "mean", tuple(places))


def _cell_verdicts(
    scores: Sequence[_Scores], means: _Level, distances: _Level
) -> dict[Cell, NumberVerdict]:
    cells, rows = means[1], distances[1]
    count = len(scores[0].pair.ours)
    errors, noticed = cells.error(count), cells.noticed(count, SHARE["cell"])
    out, unlike = (
        fitted.deviations(np.array([_value(item, scores) for item in quantities]), count)
        for quantities, fitted in (means, distances)
    )
    bars = cells.extreme.threshold(SHARE["cell"]), rows.extreme.threshold(SHARE["rows"])
    k = cells.values.shape[1]
    found = {}
    for i, one in enumerate(scores):
        pair, mean, se, df = one.pair, float(cells.mean[i]), float(errors[i]), float(cells.df[i])
        difference = float(one.ours.mean()) - mean
        notes, p = [f"{k} stored seeds"], cells.extreme.p(out[i])
        alarm = bool(out[i] > bars[0])
        if alarm:
            notes.append("its mean is out of their reach")
        if one.paired:
            p = min(p, rows.extreme.p(unlike[i]))
            if unlike[i] > bars[1]:
                alarm = True
                notes.append("its rows are unlike theirs")
            if one.n < max(pair.basis.n, next(iter(pair.theirs.values())).n):
                notes.append(f"on the {counted(one.n, 'row')} in common")
        else:
            notes.append("by means only: samples are missing")
        margin = pair.limits.retrained[pair.metric]
        equal = tost_p(difference, se, df, margin)
        verdict = Verdict.REPRODUCED if equal < ALPHA else Verdict.CONSISTENT
        found[pair.cell] = replace(
            pair.basis,
            level=Level.L2,
            verdict=Verdict.NOT_REPRODUCED if alarm else verdict,
            ours=float(one.ours.mean()),
            theirs=mean,
            interval=t_interval(difference, se, df),
            p=difference_p(difference, se, df),
            p_adjusted=min(1.0, 2 * p),
            equivalence_p=equal,
            margin=margin,
            power=tost_power(se, df, margin),
            noticed=float(noticed[i]),
            n=one.n,
            stored=k,
            reason="; ".join(notes),
        )
    return found


def _value(item: _Quantity, scores: Sequence[_Scores]) -> float:
    """Our value of a quantity; NaN where a fact is missing."""
    if item.kind == "mean":
        return float(np.mean([scores[i].ours.mean() for i in item.members]))
    if item.kind == "rows":
        return float(np.mean([scores[i].distance for i in item.members]))
    pair = scores[0].pair
    return float(np.mean(_logs(item, pair.our_run, pair.seeds) or [math.nan]))


def _judge(
    level: str, quantities: Sequence[_Quantity], fitted: Family, scores: Sequence[_Scores]
) -> Iterable[GroupVerdict]:
    count = max(1, len(scores[0].pair.seeds))
    errors, noticed = fitted.error(count), fitted.noticed(count, SHARE[level])
    bar = fitted.extreme.threshold(SHARE[level])
    values = np.array([_value(item, scores) for item in quantities])
    out = fitted.deviations(values, count)
    for i, item in enumerate(quantities):
        if np.isnan(out[i]):
            continue  # a missing fact, which `check_facts` names
        fact, own, mean = item.kind in _FACTS, float(values[i]), float(fitted.mean[i])
        yield GroupVerdict(
            level=level,
            name=item.name,
            what=item.what,
            ours=math.exp(own) if fact else own,
            theirs=math.exp(mean) if fact else mean,
            interval=t_interval(own - mean, float(errors[i]), float(fitted.df[i])),
            logarithmic=fact,
            p_adjusted=fitted.extreme.p(out[i]),
            noticed=float(noticed[i]),
            verdict=Verdict.NOT_REPRODUCED if out[i] > bar else Verdict.CONSISTENT,
            stored=fitted.values.shape[1],
        )
