"""The table of what is noticed: on a small made-up reference, in memory.

A benchmark that nothing can turn red says nothing: checks are broken one by one, and the rows that
depend on them must turn to "no".
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from repro.studies.paper.figures import cells
from repro.verify import levels, rowverdicts, verification
from repro.verify.reference import Reference, load_reference, record
from repro.verify.verdicts import Verdict

ROOT = Path(__file__).parents[2]
CELLS = [
    cell
    for cell in cells(["1", "2", "5", "6", "7"])
    if cell.prompt == "p1"
    and cell.shots in (1, 2)
    and cell.dataset in ("xsum", "amazon", "paws", "sst2")
    and cell.variant.name.split("-")[0] in ("base", "xsum", "amazon", "paws")
]


def made_up() -> ModuleType:
    """What tests/verify makes results folders with."""
    path = ROOT / "tests" / "verify" / "conftest.py"
    spec = importlib.util.spec_from_file_location("made_up_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def power() -> Any:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.power")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    home = tmp_path_factory.mktemp("power")
    options = {"seeds": range(1, 9), "n": 100, "luck": 0.1, "jitter": 0.004}
    record([made_up().write_results(home / "run", CELLS, **options)], home / "reference")
    return load_reference(home / "reference")


@pytest.fixture(scope="module")
def held(power: Any, reference: Reference) -> Any:
    return power.HeldOut(reference)


def share(power: Any, held: Any, what: str, draws: int = 4) -> float:
    return sum(code != 0 for code, _ in outcomes(power, held, what, draws)) / draws


def outcomes(power: Any, held: Any, what: str, draws: int = 4) -> list[tuple[int, set[str]]]:
    (case,) = [case for case in power.cases() if case.what == what]
    found = power._outcomes(held, case, draws)
    assert len(found) == draws
    return found  # type: ignore[no-any-return]


CERTAIN = [
    "rows in another order, seed stored",
    "rows in another order, seed not stored",
    "other training rows",
    "other prompt or gold in one row of a cell",
    "other base weights",
    "another value of a switch",
    "another seed's name",
    "losses x 3 and weight change 1",
    "one fact edited, seed stored",
    "one fact missing, seed stored",
    "one fact missing",
    "no finetunes.jsonl",
    "a cell missing",
    "a seed missing",
    "every cell cut to 2 rows",
    "every cell cut to 1 row",
    "fine-tune replaced by the base",
    "one accuracy to 0",
    "six accuracies to 0",
    "5 of 50 rows of a base cell flipped",
]


@pytest.mark.parametrize("what", CERTAIN)
def test_damage_is_noticed_whatever_is_drawn(power: Any, held: Any, what: str) -> None:
    assert share(power, held, what) == 1.0


@pytest.mark.parametrize(
    ("what", "code", "level"),
    [
        ("other base weights", 1, "fact"),
        ("other prompt or gold in one row of a cell", 1, "data"),
        ("5 of 50 rows of a base cell flipped", 1, "rows"),
        ("one accuracy to 0", 1, "cell"),
        ("a seed missing", 3, "missing"),
    ],
)
def test_a_row_tells_at_which_level_and_with_which_exit_code(
    power: Any, held: Any, what: str, code: int, level: str
) -> None:
    (case,) = [case for case in power.cases() if case.what == what]
    row = power._case_row(held, case, 4)
    assert f"{code}: " in row["exit code"]  # a seed may raise an alarm of its own besides
    assert f"{level} " in row["level"]
    assert row["95 %"] == "40% to 100%"


def test_undamaged_seeds_are_not_noticed(power: Any, held: Any) -> None:
    """Of eight faithful seeds at a nominal 5 %, three or more alarms have a chance of .6 %."""
    rows, alarms = power.false_alarms(held)
    assert sum(map(bool, alarms.values())) <= 2
    assert all("fact" not in own for own in alarms.values())
    assert [row["draws"] for row in rows] == [8] * len(rows)
    assert [row["level"] for row in rows] == ["any", *power.LEVELS]
    assert rows[0]["target"] == "at most 5%"


def blind(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Breaks a check."""

    def facts(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(verification, "check_facts", lambda run, reference: ())

    def rows(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(rowverdicts, "differing_rows", lambda ours, theirs, tie: 0)

    def inputs(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(levels, "_other_data", lambda pair: None)

    def counts(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(verification, "_fewer", lambda run, reference, cells: ())

    def spread(patch: pytest.MonkeyPatch) -> None:
        from repro.verify.spread import Tail

        patch.setattr(Tail, "threshold", lambda self, alpha: 1e9)

    return locals()[name]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("check", "what"),
    [
        ("facts", "rows in another order, seed stored"),
        ("facts", "rows in another order, seed not stored"),
        ("facts", "other training rows"),
        ("facts", "other base weights"),
        ("facts", "another value of a switch"),
        ("facts", "no finetunes.jsonl"),
        ("rows", "5 of 50 rows of a base cell flipped"),
        ("inputs", "other prompt or gold in one row of a cell"),
        ("spread", "one accuracy to 0"),
        ("spread", "six accuracies to 0"),
        ("spread", "all accuracies -.03"),
    ],
)
def test_a_broken_check_turns_its_row_to_no(
    power: Any, held: Any, monkeypatch: pytest.MonkeyPatch, check: str, what: str
) -> None:
    blind(check)(monkeypatch)
    (case,) = [case for case in power.cases() if case.what == what]
    assert share(power, held, what) < case.target


def test_an_alarm_in_every_run_turns_the_row_of_faithful_runs_to_no(
    power: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.verify.spread import Tail

    monkeypatch.setattr(Tail, "threshold", lambda self, alpha: 0.5)
    rows, _ = power.false_alarms(held)
    assert rows[0]["target met"] == "no"


def test_the_table_has_a_row_for_each_kind_of_damage(
    power: Any, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = power.cases()[:2]
    monkeypatch.setattr(power, "cases", lambda: few)
    rows = power.run(small=True, reference=reference.folder)
    told = [row["injected"] for row in rows]
    undamaged = 1 + len(power.LEVELS)
    assert set(told[:undamaged]) == {"nothing: a new seed"}
    assert [case.what for case in few] == told[undamaged : undamaged + 2]
    assert any("published" in what for what in told[undamaged + 2 :])
    assert {row["target met"] for row in rows} == {""}, "few draws are not judged"
    assert len({tuple(row) for row in rows}) == 1, "columns are the same in all rows"


def test_every_draw_of_damage_changes_the_run(power: Any, held: Any) -> None:
    """Damage that changes nothing would count against the verdicts, or for them."""
    from repro.verify.statistics import rng_for

    for case in power.cases():
        rng = rng_for(case.what)
        for seed in held.stored[:2]:
            run = held.run(seed)
            damaged = case.inject(run, rng)
            assert damaged is None or damaged != run, case.what


def test_a_stored_seed_is_judged_without_itself(held: Any) -> None:
    seed = held.stored[0]
    verified = held.verify(held.run(seed), seed)
    tuned = [number for number in verified.numbers if number.seeds]
    assert {number.stored for number in tuned} == {7}
    assert all(number.verdict is not Verdict.NOT_RUN for number in verified.numbers)


def test_kept_seeds_are_judged_by_the_whole_reference(
    power: Any, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seeds": (9, 10), "n": 100, "luck": 0.1, "jitter": 0.004}
    record([made_up().write_results(tmp_path / "run", CELLS, **options)], tmp_path / "kept")
    both = power.HeldOut(reference, load_reference(tmp_path / "kept").run)
    verified = both.verify(both.run(9), None)
    assert {number.stored for number in verified.numbers if number.seeds} == {8}
    rows, alarms = power.false_alarms(both)
    assert [row["draws"] for row in rows[:3]] == [10, 2, 8]
    assert set(alarms) == {9, 10, *range(1, 9)}

    asked = []
    monkeypatch.setattr(both, "run", lambda seed: asked.append(seed) or both._new)
    case = next(case for case in power.cases() if case.what == "a cell missing")
    power._outcomes(both, case, 2)
    assert asked == [9, 10], "damage is done to seeds that the reference does not know"


def test_the_kept_seeds_are_none_of_the_reference(power: Any) -> None:
    kept, stored = (
        load_reference(power.HELD_OUT).run,
        load_reference(ROOT / "expected_results/embedded").run,
    )
    assert len(kept.seeds) == 20
    assert not set(kept.seeds) & set(stored.seeds)
    assert {cell.name for cell in kept.by_cell} == {cell.name for cell in stored.by_cell}
