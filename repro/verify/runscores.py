"""Measured values of plotted points from a run, with bootstrap draws over its rows."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from repro.paper.cells import Cell, Variant
from repro.paper.figures import Point
from repro.verify.contrasts import Facts
from repro.verify.measured import Measured, Source
from repro.verify.outcomes import common_rows
from repro.verify.results import CellResult, Run
from repro.verify.statistics import DRAWS, Floats, resampling_weights, rng_for

Seeds = tuple[int, ...]


class _Block(NamedTuple):
    """All cells of one test set: scores [rows, columns], and which column is whose."""

    rows: NDArray[np.int64]
    scores: Floats
    column: Mapping[tuple[Cell, int | None], int]


def is_paired(run: Run) -> bool:
    """Whether all cells have their samples, so that rows can be compared one by one."""
    return all(result.outcomes is not None for result in run.cells.values())


def run_source(run: Run) -> Source:
    """The run's points. Rows are resampled once per test set, which keeps its cells paired.

    Cells without samples get independent draws from their standard error.
    """
    by_cell: dict[Cell, dict[int | None, CellResult]] = {}
    for (cell, seed), result in run.cells.items():
        by_cell.setdefault(cell, {})[seed] = result

    @cache
    def block(dataset: str) -> _Block:
        own = [
            (key, result.outcomes)
            for key, result in run.cells.items()
            if key[0].dataset == dataset and result.outcomes is not None
        ]
        rows = common_rows([outcomes for _, outcomes in own])
        scores = np.stack([outcomes.at(rows).scores for _, outcomes in own], axis=1)
        return _Block(rows, scores, {key: index for index, (key, _) in enumerate(own)})

    def weights(dataset: str) -> Floats:
        return resampling_weights(len(block(dataset).rows), f"rows/{dataset}")

    @cache
    def drawn(dataset: str) -> Floats:
        return weights(dataset) @ block(dataset).scores / len(block(dataset).rows)

    @cache
    def single(cell: Cell) -> Measured:
        own = by_cell[cell]
        seeds: Seeds = tuple(sorted(seed for seed in own if seed is not None))
        keys: tuple[int | None, ...] = seeds or (None,)
        if any(own[seed].outcomes is None for seed in keys):
            values = np.array([own[seed].value for seed in keys])
            noise = [rng_for(f"{cell.name}/{seed}").standard_normal(DRAWS) for seed in keys]
            spread = np.array([own[seed].stderr for seed in keys])
            draws = values[:, None] + spread[:, None] * np.stack(noise)
            return Measured(seeds, values, draws, min(own[seed].n for seed in keys))
        there = block(cell.dataset)
        columns = [there.column[cell, seed] for seed in keys]
        values = there.scores[:, columns].mean(axis=0)
        return Measured(seeds, values, drawn(cell.dataset)[:, columns].T, len(there.rows))

    def best(cells: tuple[Cell, ...]) -> Measured | None:
        several = [single(cell) for cell in cells]
        common = set.intersection(*(set(item.seeds) for item in several))
        if several[0].seeds and not common:
            return None
        seeds = tuple(sorted(common))
        if run.best_of == "split-half" and all(
            own.outcomes is not None for cell in cells for own in by_cell[cell].values()
        ):
            there = block(cells[0].dataset)
            pairs = [
                _split_half(there, [there.column[cell, seed] for cell in cells], weights)
                for seed in seeds or (None,)
            ]
            values = np.array([value for value, _ in pairs])
            return Measured(seeds, values, np.stack([d for _, d in pairs]), len(there.rows))
        both = [item.of(seeds) for item in several]
        values = np.max([value for value, _ in both], axis=0)
        draws = np.max([draw for _, draw in both], axis=0)
        return Measured(seeds, values, draws, min(item.n for item in several))

    @cache
    def measure(point: Point) -> Measured | None:
        if any(cell not in by_cell for cell in point.cells):
            return None
        return single(point.cells[0]) if len(point.cells) == 1 else best(point.cells)

    return measure


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
        return np.asarray(kept / len(there.rows), dtype=np.float64)

    return float(value(np.ones((1, len(there.rows))))[0]), value(weights(dataset))


def run_facts(run: Run) -> dict[str, Facts]:
    """Weight changes and final losses of the run's fine-tunes."""
    changes: dict[Variant, dict[int | None, float]] = {}
    losses: dict[Variant, dict[int | None, float]] = {}
    for tuned in run.tuned.values():
        if tuned.weight_change:
            changes.setdefault(tuned.variant, {})[tuned.seed] = tuned.weight_change
        if tuned.final_loss:
            losses.setdefault(tuned.variant, {})[tuned.seed] = tuned.final_loss
    return {"weight change": changes, "final loss": losses}
