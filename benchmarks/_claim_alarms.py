"""False alarms of the tests behind claims, for a run of one seed: stored seeds against the others.

The truth of a comparison is taken to be what the other seeds have on the same rows. A seed's error
is then its own deviation from them, which is real, plus the luck of its rows, drawn by resampling
them. A one-sided test at 5 % should alarm in at most 5 % of the cases, above and below.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from repro.results.runs import Run
from repro.spec.claims import Contrast
from repro.spec.points import Point
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.effects import Compared, compare, mean_of
from repro.verify.measured import Side, Source
from repro.verify.published import default_folder
from repro.verify.reference import load_reference
from repro.verify.runscores import run_source
from repro.verify.seedspread import registered_spread, spread_of
from repro.verify.statistics import ALPHA, t_quantile

Row = dict[str, object]

DRAWS = 1000
SPREADS = ("rows only", "registered prior", "the other seeds")
UNITS = ("one comparison", "mean of a test set", "mean of all")


def _seeds(run: Run, keep: Sequence[int]) -> Run:
    cells = {key: value for key, value in run.cells.items() if key[1] is None or key[1] in keep}
    return replace(run, cells=cells)


def _contrasts() -> Iterator[Contrast]:
    for claim in claims().values():
        yield from (contrast for contrast in claim.contrasts if contrast.kind == "scores")


def _measured(contrast: Contrast, source: Source, seeds: tuple[int, ...]) -> list[Compared]:
    points: dict[Point, None] = {}
    for pair in study().pairs(contrast):
        for term in (pair.left, pair.right):
            points |= dict.fromkeys(term.points if term else ())
    found = {point: value for point in points if (value := source(point)) is not None}
    if len(found) < len(points):
        return []
    return [compare(pair, found, seeds) for pair in study().pairs(contrast)]


def _units(items: Sequence[Compared]) -> Iterator[tuple[str, Compared]]:
    yield from ((UNITS[0], item) for item in items)
    for dataset in dict.fromkeys(item.dataset for item in items):
        yield UNITS[1], mean_of(dataset, [item for item in items if item.dataset == dataset])
    yield UNITS[2], mean_of("all", items)


def _without_luck(item: Compared) -> Compared:
    def fixed(side: Side) -> Side:
        return replace(side, luck=0 * side.luck)

    return replace(item, left=fixed(item.left), right=fixed(item.right))


def rates(reference: Path | None = None) -> dict[tuple[str, str], tuple[float, float, int]]:
    """Alarms above and below, and tests, by where the spread is from and what is tested."""
    stored = load_reference(reference or default_folder() / "embedded").run
    totals = {(name, unit): [0.0, 0.0, 0.0] for name in SPREADS for unit in UNITS}
    # The others' mean is itself one of few: its variance is 1 / (k - 1) of a seed's.
    shrink = math.sqrt((len(stored.seeds) - 1) / len(stored.seeds))
    for seed in stored.seeds:
        others = tuple(other for other in stored.seeds if other != seed)
        rest, own = _seeds(stored, others), _seeds(stored, (seed,))
        # Of the others the means alone are needed, which no draw changes.
        known = run_source(rest, draws=1)
        spreads = registered_spread(study()), spread_of(rest, study())
        sources = [run_source(own, spread=spread, draws=DRAWS) for spread in spreads]
        for contrast in _contrasts():
            prior, seeds = (_measured(contrast, source, (seed,)) for source in sources)
            if not prior:
                continue
            truth = [item for _, item in _units(_measured(contrast, known, others))]
            for name, items in zip(SPREADS, (prior, prior, seeds), strict=True):
                for (unit, item), true in zip(_units(items), truth, strict=True):
                    tested = _without_luck(item) if name == SPREADS[0] else item
                    se, df = tested.spread()
                    rows = item.effect.draws.mean(axis=0)
                    moved = item.effect.values.mean() - true.effect.values.mean()
                    error = rows - rows.mean() + shrink * moved
                    bar = t_quantile(1 - ALPHA, df) * se
                    total = totals[name, unit]
                    total[0] += float((error > bar).mean())
                    total[1] += float((error < -bar).mean())
                    total[2] += 1
    return {
        key: (above / max(1, tests), below / max(1, tests), int(tests))
        for key, (above, below, tests) in totals.items()
    }


def rows(reference: Path | None = None) -> list[Row]:
    """Rows of the table, a source of the spread and a unit of testing each."""
    return [
        {
            "what": f"claim tests of one seed, {unit}",
            "spread over seeds": spread,
            "tests": tests,
            "above": above,
            "below": below,
            "nominal": ALPHA,
        }
        for (spread, unit), (above, below, tests) in rates(reference).items()
    ]
