"""What `repro verify` notices: damage to runs held against a stored reference, and false alarms.

A run of a seed that the reference does not know (`held_out`) is damaged in memory and judged by the
code behind `repro verify`. "noticed" is the share of draws whose exit code is not 0, with its
interval; where something is missing, 3 counts as well as 1. "level" says where alarms were raised,
in what share of the draws each. Damage to what a seed has on record is also done to stored seeds.
False alarms are counted on the held-out seeds, and on each stored seed against the others. Last,
made-up runs of Llama-2-7b are held against the published numbers, where "noticed" is the share of
the wanted exit code, and stored seeds against each other by the claims.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import _claim_alarms, _paper_runs
from benchmarks import _injections as damage
from repro.errors import EXIT_MISSING
from repro.results.runs import Run
from repro.verify.margins import margins
from repro.verify.published import default_folder
from repro.verify.reference import Reference, load_reference
from repro.verify.retrained import Models
from repro.verify.statistics import ALPHA, clopper_pearson, rng_for
from repro.verify.verdicts import Level, Verdict
from repro.verify.verification import RunVerification, verify_numbers

Row = dict[str, Any]
DRAWS = 100
HELD_OUT = Path(__file__).parent / "held_out"
"""Seeds of `embedded` that its reference does not hold, recorded as that is."""


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
        Case("one fact edited, seed stored", damage.edited_fact, 1.0, True),
        Case("one fact missing, seed stored", damage.missing_fact, 1.0, True),
        Case("one fact missing", damage.missing_fact, 1.0),
        Case("no finetunes.jsonl", damage.no_facts, 1.0),
        Case("a cell missing", damage.without_cells, 1.0),
        Case("a seed missing", damage.missing_seed, 1.0),
        Case("every cell cut to 2 rows", damage.fewer_rows(2), 1.0),
        Case("every cell cut to 1 row", damage.fewer_rows(1), 1.0),
        Case("fine-tune replaced by the base", damage.replaced("base", exact=True), 0.99),
        Case(
            "the same, logits not equal", damage.replaced("base", exact=False), 0.99, reached=0.69
        ),
        Case("replaced by another size", damage.replaced("size", exact=True), 0.99),
        Case("the same, logits not equal", damage.replaced("size", exact=False), None),
        Case("replaced by the other FTICL count", damage.replaced("count", exact=True), 0.99),
        Case("the same, logits not equal", damage.replaced("count", exact=False), None),
        Case("one accuracy to 0", damage.to_zero(1), 0.99),
        Case("six accuracies to 0", damage.to_zero(6), 0.99),
        Case("one accuracy -.10, seed stored", damage.one_cell("accuracy", 0.10), 0.90, True),
        Case("one ROUGE-L -.05, seed stored", damage.one_cell("rougeL", 0.05), 0.90, True),
        Case("one accuracy -.10", damage.one_cell("accuracy", 0.10), 0.90, reached=0.53),
        Case("one accuracy -.20", damage.one_cell("accuracy", 0.20), 0.99, reached=0.77),
        Case("one ROUGE-L -.05", damage.one_cell("rougeL", 0.05), 0.90, reached=0.0),
        Case("accuracies of Figure 1 -.05", damage.many_cells("accuracy", 0.05, "1"), 0.90),
        Case("accuracies of Figure 2 -.05", damage.many_cells("accuracy", 0.05, "2"), 0.90),
        Case("accuracies of Figure 7 -.05", damage.many_cells("accuracy", 0.05, "7"), 0.90),
        Case("all accuracies -.03", damage.many_cells("accuracy", 0.03, None), 0.99),
        Case("ROUGE-L of Figure 2 -.03", damage.many_cells("rougeL", 0.03, "2"), 0.90),
        Case(
            "ROUGE-L of Figure 5 -.03", damage.many_cells("rougeL", 0.03, "5"), 0.90, reached=0.30
        ),
        Case("two cells swapped", damage.swapped, 0.99),
        Case("one cell of two models swapped", damage.swapped_models, None),
        Case("labels of a cell shuffled", damage.shuffled_labels, 0.99, reached=0.78),
        Case("5 of 50 rows of a base cell flipped", damage.flipped_base(5, tie), 0.99),
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
    """Seeds that a reference is tried on.

    Args:
        new: a run of other seeds; without it each stored seed is held against the others.

    Attributes:
        stored: the reference's seeds; new: those that it does not know.
    """

    def __init__(self, reference: Reference, new: Run | None = None) -> None:
        self._reference, self._new = reference, new
        self.stored = reference.run.seeds
        self.new = new.seeds if new else ()
        self._rest: dict[int | None, tuple[Reference, Models]] = {}

    def run(self, seed: int) -> Run:
        """What a run of this seed would have left."""
        known = self._reference.run
        return _only(known if self._new is None or seed in self.stored else self._new, (seed,))

    def verify(self, run: Run, without: int | None) -> RunVerification:
        """A run against the reference less a seed."""
        if without not in self._rest:
            kept = tuple(seed for seed in self.stored if seed != without)
            rest = replace(self._reference, run=_only(self._reference.run, kept))
            self._rest[without] = rest, {}
        reference, models = self._rest[without]
        return verify_numbers(run, reference, models=models)


@cache
def _held(folder: Path) -> HeldOut:
    """The reference of a process, and the seeds that were kept from the shipped one."""
    shipped = folder == default_folder() / "embedded"
    return HeldOut(load_reference(folder), load_reference(HELD_OUT).run if shipped else None)


LEVELS = ("fact", "data", "rows", "cell", "fine-tune", "figure", "run")
"""Where an alarm can be raised, in the order in which they are looked at."""


def _levels(verified: RunVerification) -> set[str]:
    """The levels at which something differs, or at which a fact is missing."""
    bad, found = Verdict.NOT_REPRODUCED, set()
    found |= {"fact" for check in verified.facts if check.verdict is not Verdict.REPRODUCED}
    cells = {Level.L1: "rows", Level.L2: "cell"}
    found |= {
        # Without a level: other rows, prompts or weights than it says; no scores were compared.
        "data" if number.level is None else cells.get(number.level, "data")
        for number in verified.numbers
        if number.verdict is bad
    }
    return found | {group.level for group in verified.groups if group.verdict is bad}


def _case(folder: Path, draws: int, index: int) -> Row:
    """The row of a case, in whichever process."""
    return _case_row(_held(folder), cases()[index], draws)


def _case_row(held: HeldOut, case: Case, draws: int) -> Row:
    found = _outcomes(held, case, draws)
    codes = [code for code, _ in found]
    by_level = Counter(level for _, levels in found for level in levels)
    by_level["missing"] = codes.count(EXIT_MISSING)
    at = [
        f"{level} {by_level[level] / len(found):.0%}"
        for level in (*LEVELS, "missing")
        if by_level[level]
    ]
    return _row(
        case.what,
        sum(code != 0 for code in codes),
        len(codes),
        level=", ".join(at),
        codes=codes,
        least=case.target,
        reached=case.reached,
    )


def _outcomes(held: HeldOut, case: Case, draws: int) -> list[tuple[int, set[str]]]:
    """The exit code of each draw, and the levels of its alarms."""
    rng = rng_for(f"power/{case.what}/{case.target}")
    seeds = held.stored if case.stored or not held.new else held.new
    found = []
    for draw in range(draws):
        seed = seeds[draw % len(seeds)]
        run = case.inject(held.run(seed), rng)
        if run is not None:
            verified = held.verify(run, None if case.stored or held.new else seed)
            found.append((verified.exit_code, _levels(verified)))
    return found


def false_alarms(held: HeldOut) -> tuple[list[Row], Mapping[int, set[str]]]:
    """Undamaged seeds, held out and each stored one: which alarms each raises, by level."""
    codes: dict[int, int] = {}
    alarms: dict[int, set[str]] = {}
    for seed in (*held.new, *held.stored):
        verified = held.verify(held.run(seed), None if seed in held.new else seed)
        codes[seed], alarms[seed] = verified.exit_code, _levels(verified)

    def row(what: str, seeds: Sequence[int], **more: Any) -> Row:
        own = [codes[seed] for seed in seeds]
        return _row(what, sum(map(bool, own)), len(own), level="any", codes=own, **more)

    rows = [row("nothing: a new seed", list(codes), most=ALPHA)]
    if held.new:
        rows.append(row("of these, held out", held.new))
        rows.append(row("of these, stored ones against the others", held.stored))
    for level in LEVELS:
        count = sum(level in own for own in alarms.values())
        rows.append(_row("nothing: a new seed", count, len(codes), level=level))
    return rows, alarms


def _row(
    what: str,
    count: float,
    draws: int,
    *,
    level: str,
    codes: Sequence[int] = (),
    least: float | None = None,
    most: float | None = None,
    reached: float | None = None,
) -> Row:
    """A row of the table.

    Args:
        count: draws that were noticed; draws: of how many.
        codes: their exit codes, where they are known.
        least, most, reached: shares, see `Case`.
    """
    share = count / draws if draws else 0.0
    target, met = "", ""
    if least is not None:
        target, met = f"at least {least:.0%}", "yes" if share >= least - 1e-9 else "no"
        if met == "no" and reached is not None and share >= reached:
            met = "out of reach"
    if most is not None:
        target, met = f"at most {most:.0%}", "yes" if share <= most + 1e-9 else "no"
    low, high = clopper_pearson(round(count), draws) if draws else (0.0, 1.0)
    return {
        "injected": what,
        "level": level,
        "noticed": f"{share:.1%}",
        "95 %": f"{low:.0%} to {high:.0%}",
        "draws": draws,
        "exit code": ", ".join(f"{code}: {n}" for code, n in sorted(Counter(codes).items())),
        "target": target,
        "target met": met,
    }


def _paper(draws: int, *, small: bool) -> list[Row]:
    """Made-up runs of Llama-2-7b against the published numbers: the share of the wanted code."""
    return [
        _row(
            row["injection"],
            round(row["share"] * row["draws"]),
            row["draws"],
            level=row["level"],
            codes=row["codes"],
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
        held = _held(folder)
        held.stored, held.new = held.stored[:3], held.new[:3]
        rows, _ = false_alarms(held)
        rows += [_case_row(held, case, 1) for case in cases()]
        return [row | {"target met": ""} for row in (*rows, *_paper(1, small=True))]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        paper = pool.submit(_paper, DRAWS, small=False)
        found = pool.map(partial(_case, folder, DRAWS), every)
        rows, _ = false_alarms(_held(folder))
        rows += [*found, *paper.result()]
    return rows + _claim_alarms_rows(reference)


def _claim_alarms_rows(reference: Path | None) -> list[Row]:
    """The tests behind claims; those without the spread over seeds are there for comparison."""
    own = _claim_alarms.SPREADS[1:]
    return [
        _row(
            f"nothing: {item['what']}, spread by {item['spread over seeds']}",
            max(item["above"], item["below"]) * item["tests"],
            item["tests"],
            level="claims",
            most=ALPHA if item["spread over seeds"] in own else None,
        )
        | {"95 %": ""}  # its tests are not independent
        for item in _claim_alarms.rows(reference)
    ]
