"""Measured values of plotted points from a run, with bootstrap draws over its rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from repro.results.outcomes import Outcomes, common_rows, text_digest
from repro.results.runs import Run
from repro.spec.cells import BASE, Cell
from repro.spec.points import Point
from repro.spec.study import Study
from repro.verify.measured import Measured, Source, chosen, common_seeds
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import DRAWS, Floats, resampling_weights, rng_for

Seeds = tuple[int, ...]


class _Block(NamedTuple):
    """All cells of one test set: scores [rows, columns], and which column is whose."""

    rows: NDArray[np.int64]
    scores: Floats
    column: Mapping[tuple[Cell, int | None], int]


def emits_label(study: Study, cell: Cell, outcomes: Outcomes) -> Floats:
    """1 for each row whose whole output is a label that the cell's model was trained on.

    Outcomes keep a digest of each text; a label may come with a blank before or a line break
    behind it.
    """
    known = study.training[cell.variant.train].task.labels if cell.variant != BASE else ()
    labels = {
        text_digest(before + label + behind)
        for label in known
        for before in ("", " ")
        for behind in ("", "\n")
    }
    return np.array([float(output in labels) for output in outcomes.outputs])


def run_source(
    run: Run,
    *,
    spread: SeedSpread | None = None,
    of: Callable[[Study, Cell, Outcomes], Floats] = lambda study, cell, outcomes: outcomes.scores,
    draws: int = DRAWS,
    universe: Callable[[str], NDArray[np.int64]] | None = None,
) -> Source:
    """The run's points. Rows are resampled once per test set, which keeps its cells paired.

    Cells without samples get independent draws from their standard error.

    Args:
        spread: over seeds, for runs of few; the registered one by default.
        of: what is measured of each row, its score by default. Other than scores need samples.
        draws: of the rows, at most 10,000; fewer are for simulations.
        universe: by test set, the rows that are drawn from, ascending, of which the run's own
            count; these themselves by default. One universe pairs runs of other rows.
    """
    over_seeds, by_cell = spread or registered_spread(run.study), run.by_cell

    @cache
    def block(dataset: str) -> _Block:
        own = [
            (key, result.outcomes)
            for key, result in run.cells.items()
            if key[0].dataset == dataset and result.outcomes is not None
        ]
        rows = common_rows([outcomes for _, outcomes in own])
        scores = np.stack(
            [of(run.study, key[0], outcomes.at(rows)) for key, outcomes in own], axis=1
        )
        return _Block(rows, scores, {key: index for index, (key, _) in enumerate(own)})

    def weights(dataset: str) -> Floats:
        rows = block(dataset).rows
        every = rows if universe is None else universe(dataset)
        drawn = resampling_weights(len(every), f"rows/{dataset}", draws)
        return drawn if len(every) == len(rows) else drawn[:, np.searchsorted(every, rows)]

    @cache
    def drawn(dataset: str) -> Floats:
        own = weights(dataset)
        return own @ block(dataset).scores / _counts(own)

    @cache
    def single(cell: Cell) -> Measured:
        found = rows_only(cell)
        if cell.variant == BASE:
            return found
        luck = over_seeds.luck(cell, float(found.values.mean()), found.n, draws)
        return replace(found, luck=luck, df=over_seeds.df)

    def rows_only(cell: Cell) -> Measured:
        own = by_cell[cell]
        seeds: Seeds = tuple(sorted(seed for seed in own if seed is not None))
        keys: tuple[int | None, ...] = seeds or (None,)
        if any(own[seed].outcomes is None for seed in keys) or not len(block(cell.dataset).rows):
            values = np.array([own[seed].value for seed in keys])
            noise = [rng_for(f"{cell.name}/{seed}").standard_normal(draws) for seed in keys]
            deviations = np.array([own[seed].stderr for seed in keys])
            drawn_values = values[:, None] + deviations[:, None] * np.stack(noise)
            return Measured(seeds, values, drawn_values, min(own[seed].n for seed in keys))
        there = block(cell.dataset)
        columns = [there.column[cell, seed] for seed in keys]
        values = there.scores[:, columns].mean(axis=0)
        resampled = drawn(cell.dataset)[:, columns].T
        labels = {own[seed].constant for seed in keys}
        label = labels.pop() if len(labels) == 1 else None
        always = f"{cell.name} always '{label}'" if label is not None else ""
        return Measured(seeds, values, resampled, len(there.rows), constant=always)

    def best(cells: tuple[Cell, ...]) -> Measured | None:
        several = [single(cell) for cell in cells]
        seeds = common_seeds(several)
        if seeds is None:
            return None
        constant = "; ".join(item.constant for item in several if item.constant)
        if run.best_of == "split-half" and all(
            own.outcomes is not None for cell in cells for own in by_cell[cell].values()
        ):
            there = block(cells[0].dataset)
            pairs = [
                _split_half(there, [there.column[cell, seed] for cell in cells], weights)
                for seed in seeds or (None,)
            ]
            values = np.array([value for value, _ in pairs])
            draws = np.stack([draw for _, draw in pairs])
            # Chosen on other rows than those that it is scored on: not biased upwards.
            return Measured(
                seeds, values, draws, len(there.rows), several[0].luck, several[0].df, 0.0, constant
            )
        sides = [item.of(seeds) for item in several]
        side = chosen(sides, np.max, max(float(one.values.mean()) for one in sides))
        return Measured(
            seeds,
            side.values,
            side.draws,
            min(item.n for item in several),
            side.luck,
            several[0].df,
            side.optimism,
            constant,
        )

    @cache
    def measure(point: Point) -> Measured | None:
        if any(cell not in by_cell for cell in point.cells):
            return None
        return single(point.cells[0]) if len(point.cells) == 1 else best(point.cells)

    return measure


def _counts(weights: Floats) -> Floats:
    """How many of a run's rows each draw has, [draws, 1]; at least one."""
    return np.maximum(weights.sum(axis=1, keepdims=True), 1)


def _split_half(
    there: _Block, columns: list[int], weights: Callable[[str], Floats]
) -> tuple[float, Floats]:
    """Best of several cells, chosen on even rows for odd ones and the other way round.

    The rule is that of `repro.metrics.best_of`; of equal cells the first is taken.
    """
    scores = there.scores[:, columns]
    dataset = next(cell.dataset for cell, _ in there.column)
    even = there.rows % 2 == 0

    def value(w: Floats) -> Floats:
        on_even, on_odd = w[:, even] @ scores[even], w[:, ~even] @ scores[~even]
        lines = np.arange(len(w))
        kept = on_even[lines, on_odd.argmax(axis=1)] + on_odd[lines, on_even.argmax(axis=1)]
        return np.asarray(kept / _counts(w)[:, 0], dtype=np.float64)

    return float(value(np.ones((1, len(there.rows))))[0]), value(weights(dataset))
