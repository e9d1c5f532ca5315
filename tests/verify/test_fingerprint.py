"""Facts of training: each rule, fact by fact."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.finetune import schedule
from repro.results.runs import Run, Tuned
from repro.spec.cells import Variant
from repro.studies.paper.figures import cells
from repro.verify.fingerprint import FactCheck, check_facts, same_training, subjects
from repro.verify.margins import margins
from repro.verify.reading import read_results
from repro.verify.verdicts import Verdict

CELLS = [cell for cell in cells(["4"]) if cell.shots == 1]
VARIANT = Variant.parse("xsum-fticl1-2000")
SUBJECT = "xsum-fticl1-2000 seed 1"
GOOD, BAD, LOST = Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.NOT_RUN
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def reference(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("facts") / "run"
    (run,) = read_results(make(folder, CELLS, seeds=(1, 2, 3), n=10)).runs
    return run


def part(run: Run, seed: int, new: int | None = None) -> Run:
    """What a run of one seed has on record; as another seed if asked for."""
    new = seed if new is None else new
    return replace(
        run,
        cells={
            (cell, s and new): replace(result, seed=s and new)
            for (cell, s), result in run.cells.items()
            if s in (None, seed)
        },
        tuned={
            (v, new): replace(t, seed=new, raw={**t.raw, "seed": new})
            for (v, s), t in run.tuned.items()
            if s == seed
        },
    )


def told(run: Run, **changes: object) -> Run:
    """The run with other facts for VARIANT; None takes a fact away."""
    key = next(key for key in run.tuned if key[0] == VARIANT)
    old = run.tuned[key]
    raw: dict[str, Any] = {**old.raw, **changes}
    raw = {name: value for name, value in raw.items() if value is not None}
    new = replace(
        old,
        raw=raw,
        losses=tuple(raw.get("losses", ())),
        weight_change=raw.get("weight_change", {}).get("all"),
    )
    return replace(run, tuned={**run.tuned, key: new})


def of(checks: tuple[FactCheck, ...], subject: str = SUBJECT) -> dict[str, Verdict]:
    return {check.fact: check.verdict for check in checks if check.subject == subject}


def failing(checks: tuple[FactCheck, ...]) -> dict[str, Verdict]:
    return {check.fact: check.verdict for check in checks if check.verdict is not GOOD}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stored_seed_has_all_facts_in_common(reference: Run, seed: int) -> None:
    checks = check_facts(part(reference, seed), reference)
    assert failing(checks) == {}
    found = of(checks, f"xsum-fticl1-2000 seed {seed}")
    assert {"order_sha256", "loss of the first step", "gradient norm of the first step"} <= set(
        found
    )
    assert {check.subject for check in checks} == {"the run"} | {
        f"{cell.variant.name} seed {seed}" for cell in CELLS if cell.variant.name != "base"
    }


EXACT = {
    "rows_sha256": "0", "demonstrations_sha256": "0", "dropped": {"empty": 1}, "demonstrations": 2,
    "samples": 161, "steps": 21, "input_tokens": 1, "label_tokens": 1, "cut_targets": 1,
    "dead_samples": 1, "unused_samples": 1,
}  # fmt: skip
SEEDED = {"order_sha256": "0", "dead_micro_batches": [1, 0]}
FIRST = {"losses": "loss of the first step", "gradient_norms": "gradient norm of the first step"}


@pytest.mark.parametrize("name", [*EXACT, *SEEDED])
def test_an_exact_fact_is_equal_or_not_and_never_missing(reference: Run, name: str) -> None:
    own = part(reference, 1)
    changed = (EXACT | SEEDED)[name]
    checks = check_facts(told(own, **{name: changed}), reference)
    assert failing(checks) == {name: BAD}
    assert subjects(checks, BAD) == (SUBJECT,)
    assert failing(check_facts(told(own, **{name: None}), reference)) == {name: LOST}


@pytest.mark.parametrize("name", EXACT)
def test_facts_that_no_seed_changes_are_compared_for_new_seeds_too(
    reference: Run, name: str
) -> None:
    stored = replace(reference, tuned={k: t for k, t in reference.tuned.items() if k[1] != 1})
    own = part(reference, 1)
    assert failing(check_facts(own, stored)) == {}
    assert failing(check_facts(told(own, **{name: EXACT[name]}), stored)) == {name: BAD}
    assert failing(check_facts(told(own, **{name: None}), stored)) == {name: LOST}


@pytest.mark.parametrize("name", ["learning_rate", "epochs", "micro_batch", "clip_norm", "dtype"])
def test_each_value_of_the_recipe_is_compared(reference: Run, name: str) -> None:
    own = part(reference, 1)
    recipe = own.tuned[VARIANT, 1].raw["recipe"]
    less = {key: value for key, value in recipe.items() if key != name}
    for changed, verdict in (({**recipe, name: 7}, BAD), (less, LOST)):
        checks = check_facts(told(own, recipe=changed), reference)
        assert failing(checks) == {f"recipe: {name}": verdict}
    more = check_facts(told(own, recipe=recipe | {"warmup": 3}), reference)
    assert failing(more) == {"recipe: warmup": BAD}


def test_the_seed_of_the_recipe_is_that_of_the_run(reference: Run) -> None:
    own = part(reference, 1)
    recipe = own.tuned[VARIANT, 1].raw["recipe"]
    checks = check_facts(told(own, recipe={**recipe, "seed": 5}), reference)
    assert failing(checks) == {"recipe: seed": BAD}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("share", "verdict"), [(0, GOOD), (0.9, GOOD), (-0.9, GOOD), (1.1, BAD)])
def test_the_first_step_is_equal_but_for_rounding(
    reference: Run, name: str, dtype: str, share: float, verdict: Verdict
) -> None:
    """By as much as its dtype rounds."""
    fact, recipe = FIRST[name], reference.tuned[VARIANT, 1].raw["recipe"] | {"dtype": dtype}
    reference = told(reference, recipe=recipe)
    own = part(reference, 1)
    values = list(own.tuned[VARIANT, 1].raw[name])
    values[0] *= 1 + share * margins(dtype).first_step
    assert of(check_facts(told(own, **{name: values}), reference))[fact] is verdict
    for unknown in ([], [None, *values[1:]], "none"):
        lacking = {**own.tuned[VARIANT, 1].raw, name: unknown}
        key = (VARIANT, 1)
        run = replace(own, tuned={**own.tuned, key: replace(own.tuned[key], raw=lacking)})
        assert of(check_facts(run, reference))[fact] is LOST


@pytest.mark.parametrize("seed", [1, 9])
def test_losses_and_weight_change_must_be_told(reference: Run, seed: int) -> None:
    """Also by a seed that is not stored, where no first step is compared."""
    own = part(reference, 1, new=seed)
    recipe = {**own.tuned[VARIANT, seed].raw["recipe"], "seed": seed}
    for changes, fact in (
        ({"losses": None}, "training loss at the end"),
        ({"losses": [4.0, *[0.0] * 19]}, "training loss at the end"),
        ({"weight_change": None}, "weight change"),
        ({"weight_change": {"all": 0.0}}, "weight change"),
    ):
        found = of(
            check_facts(told(own, recipe=recipe, **changes), reference),
            f"{VARIANT.name} seed {seed}",
        )
        assert found[fact] is LOST


def test_fine_tunes_that_are_missing_or_were_given(reference: Run) -> None:
    own = part(reference, 1)
    for run, said in (
        (told(own, given=True), "was given as a checkpoint, not trained here"),
        (replace(own, tuned={}), "is not told"),
    ):
        lost = [check for check in check_facts(run, reference) if check.verdict is LOST]
        assert SUBJECT in [check.subject for check in lost]
        assert all(check.fact == "all" and said in check.reason for check in lost)


def test_fine_tunes_without_cells_or_without_a_stored_one_are_left_out(reference: Run) -> None:
    own = part(reference, 1)
    more = {**own.tuned, (Variant.parse("paws-ft-2000"), 1): own.tuned[VARIANT, 1]}
    assert check_facts(replace(own, tuned=more), reference) == check_facts(own, reference)
    less = replace(reference, tuned={k: t for k, t in reference.tuned.items() if k[0] != VARIANT})
    assert SUBJECT not in {check.subject for check in check_facts(own, less)}


def relabelled(run: Run, new: int) -> Run:
    """Seed 1 as the unknown seed in all facts, but for the order of rows."""
    own = part(run, 1, new=new)
    tuned = {
        key: replace(t, raw={**t.raw, "recipe": {**t.raw["recipe"], "seed": new}})
        for key, t in own.tuned.items()
    }
    return replace(own, tuned=tuned)


def ordered(run: Run, order: str) -> Run:
    """The run with this order in all fine-tunes."""
    tuned = {k: replace(t, raw={**t.raw, "order_sha256": order}) for k, t in run.tuned.items()}
    return replace(run, tuned=tuned)


def test_the_order_of_a_new_seed_is_the_one_that_it_gives(reference: Run) -> None:
    """Whatever the other fine-tunes of the run say: a single one under a wrong name is told."""
    new = relabelled(reference, 9)
    samples = {t.raw["samples"] for t in new.tuned.values()}
    assert len(samples) == 1
    right = schedule.digest(schedule.shuffled(*samples, 2, 9))
    assert failing(check_facts(ordered(new, right), reference)) == {}
    unshuffled = schedule.digest([list(range(*samples))] * 2)
    for wrong in (reference.tuned[VARIANT, 1].raw["order_sha256"], unshuffled):
        checks = check_facts(ordered(new, wrong), reference)
        assert failing(checks) == {"order_sha256": BAD}
        (reason,) = {check.reason for check in checks if check.verdict is BAD}
        assert reason == f"seed 9 gives {right[:12]}"


def test_an_order_that_no_seed_gives_is_no_rule_for_new_seeds(reference: Run) -> None:
    """Such as stored runs that read their rows unshuffled."""
    new = ordered(relabelled(reference, 9), "9")
    assert failing(check_facts(new, reference)) == {"order_sha256": BAD}
    assert failing(check_facts(new, ordered(reference, "8"))) == {}


@pytest.mark.parametrize("name", [*SEEDED, "gradient_norms"])
def test_facts_of_a_new_seed_must_be_told(reference: Run, name: str) -> None:
    stored = replace(reference, tuned={k: t for k, t in reference.tuned.items() if k[1] != 1})
    lost = failing(check_facts(told(part(reference, 1), **{name: None}), stored))
    assert lost == {FIRST.get(name, name): LOST}


def test_base_weights_and_switches_of_the_run(reference: Run) -> None:
    own = part(reference, 1)

    def with_record(**changes: object) -> dict[str, Verdict]:
        return failing(check_facts(replace(own, record={**own.record, **changes}), reference))

    identity, switches = dict(own.identity), dict(own.record["switches"])
    assert with_record(identity=identity | {"model": "x"}) == {"base weights": BAD}
    assert with_record(identity={}) == {"base weights": LOST}
    assert with_record(switches=switches | {"max_length": 1}) == {"switch max_length": BAD}
    assert with_record(switches=switches | {"new": 1}) == {"switch new": BAD}
    assert set(with_record(switches=None).values()) == {LOST}
    lost = check_facts(replace(own, record={}), reference)
    assert failing(lost) == {"run.json": LOST}


STEP = margins().same_training


def tuned(*losses: float | None, change: float | None = 1.0) -> Tuned:
    return Tuned(VARIANT, 1, "key", losses, change, {})


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (tuned(1.0, 0.5), tuned(1.0, 0.5), "bits"),
        (tuned(1.0, 0.5), tuned(1.0, 0.5, change=1.0 + 1e-9), "other"),
        (tuned(1.0, 0.5), tuned(1.0, 0.5 * (1 + 0.9 * STEP)), "rounding"),
        (tuned(1.0, 0.5), tuned(1.0, 0.5 * (1 + 1.1 * STEP)), "other"),
        (tuned(1.0, 0.5 * (1 + 1e-9)), tuned(1.0, 0.5, change=1 + 1.1 * STEP), "other"),
        (tuned(1.0, 0.5 * (1 + 1e-9)), tuned(1.0, 0.5, change=1 + 0.9 * STEP), "rounding"),
        (tuned(1.0, 0.5), tuned(1.0), "other"),
        (tuned(1.0, None), tuned(1.0, None), "bits"),
        (tuned(1.0, None), tuned(1.0, 0.5), "other"),
        (tuned(1.0, None), tuned(1.0 + 1e-9, None), "rounding"),
        (tuned(1.0, 0.5, change=None), tuned(1.0, 0.5 + 1e-9), "other"),
        (tuned(), tuned(1.0), "unknown"),
        (tuned(1.0), tuned(), "unknown"),
        (None, tuned(1.0), "unknown"),
        (tuned(1.0), None, "unknown"),
    ],
)
def test_how_alike_two_trainings_are(ours: Tuned | None, theirs: Tuned | None, kind: str) -> None:
    assert same_training(ours, theirs, margins()) == kind


@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=20), st.data())
def test_one_step_that_is_far_off_is_another_training(
    losses: list[float], data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, len(losses) - 1))
    far = list(losses)
    far[step] *= 1 + data.draw(st.floats(2 * STEP, 1))
    assert same_training(tuned(*far), tuned(*losses), margins()) == "other"
