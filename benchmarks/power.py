"""What `repro verify` notices: damage to runs held against a stored reference, and false alarms.

A seed of the reference is taken out and held against the others as a new run would be, damaged in
memory, and judged by the code behind `repro verify`. "noticed" is the share of draws whose exit
code is not 0; where something is missing, 3 counts as well as 1. Damage to what a seed has on
record is also held against a reference that knows the seed. Last, made-up runs of Llama-2-7b are
held against the published numbers, and stored seeds against each other by the claims.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _claim_alarms, _paper_runs
from benchmarks import _injections as damage
from repro.results.runs import Run
from repro.verify.margins import margins
from repro.verify.published import default_folder
from repro.verify.reference import Reference, load_reference
from repro.verify.retrained import Models
from repro.verify.statistics import rng_for
from repro.verify.verdicts import Verdict
from repro.verify.verification import RunVerification, verify_numbers

Row = dict[str, Any]
DRAWS = 100


@dataclass(frozen=True)
class Case:
    """A kind of damage.

    Attributes:
        target: the least share of draws that should be noticed; None where none is set.
        stored: the reference knows the seed.
        reached: where the target is out of reach, the share that is reached, less three standard
            errors of as many draws: less fails. benchmarks/README.md has the reasons.
    """

    what: str
    inject: damage.Inject
    target: float | None
    stored: bool = False
    reached: float | None = None


def cases() -> list[Case]:
    """All kinds, in the order of the table."""
    tie = margins().logit_tie
    return [
        Case("rows in another order, seed stored", damage.other_order, 1.0, True),
        Case("rows in another order, seed not stored", damage.other_order, 1.0),
        Case("other training rows", damage.other_rows, 1.0),
        Case("another size, with its own facts", damage.other_size, 1.0),
        Case("other prompt or gold in one row of a cell", damage.other_inputs(1), 1.0),
        Case("other base weights", damage.other_base, 1.0),
        Case("another value of a switch", damage.other_switch, 1.0),
        Case("another seed's name", damage.other_seed, 1.0),
        Case("losses x 3 and weight change 1", damage.scaled_losses, 1.0),
        Case("no finetunes.jsonl", damage.no_facts, 1.0),
        Case("a cell missing", damage.without_cells, 1.0),
        Case("every cell cut to 2 rows", damage.fewer_rows(2), 1.0),
        Case("every cell cut to 1 row", damage.fewer_rows(1), 1.0),
        Case("fine-tune replaced by the base", damage.replaced("base", exact=True), 0.99),
        Case("the same, logits not equal", damage.replaced("base", exact=False), 0.99),
        Case("replaced by another size", damage.replaced("size", exact=True), 0.99),
        Case("the same, logits not equal", damage.replaced("size", exact=False), None),
        Case("replaced by the other FTICL count", damage.replaced("count", exact=True), 0.99),
        Case("the same, logits not equal", damage.replaced("count", exact=False), None),
        Case("one accuracy to 0", damage.to_zero(1), 0.99),
        Case("six accuracies to 0", damage.to_zero(6), 0.99),
        Case("one accuracy -.10, seed stored", damage.one_cell("accuracy", 0.10), 0.90, True),
        Case("one ROUGE-L -.05, seed stored", damage.one_cell("rougeL", 0.05), 0.90, True),
        Case("one accuracy -.10", damage.one_cell("accuracy", 0.10), 0.90, reached=0.42),
        Case("one accuracy -.20", damage.one_cell("accuracy", 0.20), 0.99, reached=0.78),
        Case("one ROUGE-L -.05", damage.one_cell("rougeL", 0.05), 0.90, reached=0.27),
        Case("accuracies of Figure 1 -.05", damage.many_cells("accuracy", 0.05, "1"), 0.90),
        Case("accuracies of Figure 2 -.05", damage.many_cells("accuracy", 0.05, "2"), 0.90),
        Case("accuracies of Figure 7 -.05", damage.many_cells("accuracy", 0.05, "7"), 0.90),
        Case("all accuracies -.03", damage.many_cells("accuracy", 0.03, None), 0.99),
        Case("ROUGE-L of Figure 2 -.03", damage.many_cells("rougeL", 0.03, "2"), 0.90),
        Case("ROUGE-L of Figure 5 -.03", damage.many_cells("rougeL", 0.03, "5"), 0.90),
        Case("two cells swapped", damage.swapped, 0.99),
        Case("one cell of two models swapped", damage.swapped_models, None),
        Case("labels of a cell shuffled", damage.shuffled_labels, 0.99, reached=0.56),
        Case("5 of 100 rows of a base cell flipped", damage.flipped_base(5, tie), 0.99),
    ]


def _only(run: Run, seeds: tuple[int, ...]) -> Run:
    """The base and these seeds, as a run that was asked for just that."""
    wanted = set(seeds)
    return replace(
        run,
        record={**run.record, "asked": {"cells": [c.name for c in run.by_cell], "seeds": [*seeds]}},
        cells={key: cell for key, cell in run.cells.items() if key[1] in wanted | {None}},
        tuned={key: tuned for key, tuned in run.tuned.items() if key[1] in wanted},
    )


class HeldOut:
    """Seeds of a reference, each against the others."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.seeds = reference.run.seeds
        self._rest: dict[int | None, tuple[Reference, Models]] = {}

    def run(self, seed: int) -> Run:
        """What a run of this seed would have left."""
        return _only(self._reference.run, (seed,))

    def verify(self, run: Run, without: int | None) -> RunVerification:
        """A run against the reference less a seed."""
        if without not in self._rest:
            kept = tuple(seed for seed in self._reference.run.seeds if seed != without)
            rest = replace(self._reference, run=_only(self._reference.run, kept))
            self._rest[without] = rest, {}
        reference, models = self._rest[without]
        return verify_numbers(run, reference, models=models)


@cache
def _held(folder: Path) -> HeldOut:
    """The reference of a process."""
    return HeldOut(load_reference(folder))


def _case(folder: Path, draws: int, index: int) -> Row:
    """The row of a case, in whichever process."""
    case = cases()[index]
    share, count = _noticed(_held(folder), case, draws)
    return _row(case.what, share, count, least=case.target, reached=case.reached)


def _noticed(held: HeldOut, case: Case, draws: int) -> tuple[float, int]:
    """The share noticed, and of how many draws."""
    rng = rng_for(f"power/{case.what}/{case.target}")
    found = []
    for draw in range(draws):
        seed = held.seeds[draw % len(held.seeds)]
        run = case.inject(held.run(seed), rng)
        if run is not None:
            verified = held.verify(run, None if case.stored else seed)
            found.append(verified.exit_code != 0)
    return float(np.mean(found)) if found else 0.0, len(found)


def false_alarms(held: HeldOut) -> tuple[list[Row], Mapping[int, list[str]]]:
    """Undamaged seeds against the others: which alarms each raises, by level."""
    alarms: dict[int, list[str]] = {}
    for seed in held.seeds:
        verified = held.verify(held.run(seed), seed)
        own = ["cell" for item in verified.numbers if item.verdict is Verdict.NOT_REPRODUCED]
        own += [item.level for item in verified.groups if item.verdict is Verdict.NOT_REPRODUCED]
        own += ["fact" for item in verified.facts if item.verdict is not Verdict.REPRODUCED]
        alarms[seed] = own + ["exit code"] * (verified.exit_code != 0)
    rows: list[Row] = []
    for level in ("exit code", "fact", "cell", "fine-tune", "figure", "run"):
        share = float(np.mean([level in own for own in alarms.values()]))
        if level == "exit code":
            rows.append(_row("nothing: a new seed", share, len(alarms), most=0.05))
        else:
            rows.append(_row(f"nothing: a new seed, alarms at level {level}", share, len(alarms)))
    return rows, alarms


def _row(
    what: str,
    share: float,
    draws: int,
    *,
    least: float | None = None,
    most: float | None = None,
    reached: float | None = None,
) -> Row:
    target, met = "", ""
    if least is not None:
        target, met = f"at least {least:.0%}", "yes" if share >= least - 1e-9 else "no"
        if met == "no" and reached is not None and share >= reached:
            met = "out of reach"
    if most is not None:
        target, met = f"at most {most:.0%}", "yes" if share <= most + 1e-9 else "no"
    return {
        "injected": what,
        "noticed": f"{share:.1%}",
        "draws": draws,
        "target": target,
        "target met": met,
    }


def _paper(draws: int, *, small: bool) -> list[Row]:
    """Made-up runs of Llama-2-7b against the published numbers: the share of the wanted code."""
    return [
        _row(
            f"{row['injection']}: exit code {row['exit code']}",
            row["share"],
            row["draws"],
            least=row["target"],
        )
        for row in _paper_runs.rows(draws, small=small)
    ]


def run(*, small: bool = False, repeats: int = 1, reference: Path | None = None) -> list[Row]:
    """Rows of the table, a kind of damage each.

    Args:
        small: few seeds and draws, and no judgement on them.
        repeats: without meaning here, since nothing is timed.
        reference: the folder of a reference; that of the profile `embedded` by default.
    """
    folder = reference or default_folder() / "embedded"
    every = range(len(cases()))
    if small:
        held = HeldOut(load_reference(folder))
        held.seeds = held.seeds[:3]
        rows, _ = false_alarms(held)
        for case in cases():
            share, count = _noticed(held, case, 1)
            rows.append(_row(case.what, share, count, least=case.target))
        return [row | {"target met": ""} for row in (*rows, *_paper(1, small=True))]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        paper = pool.submit(_paper, DRAWS, small=False)
        found = pool.map(partial(_case, folder, DRAWS), every)
        rows, _ = false_alarms(_held(folder))
        rows += [*found, *paper.result()]
    for item in _claim_alarms.rows(reference):
        share = max(item["above"], item["below"])
        what = f"nothing: {item['what']}, spread by {item['spread over seeds']}"
        rows.append(_row(what, share, item["tests"]))
    return rows
