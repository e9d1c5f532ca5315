"""Which cells a switch touches, on rows of which every switch finds something."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro import profiles
from repro.finetune.encode import encode
from repro.plan.plan import Plan
from repro.plan.touched import Touched
from repro.spec.protocol import Protocol
from repro.studies.paper.protocols import protocol

TESTS = Path(__file__).parents[1]
KEYS = runpy.run_path(str(TESTS / "plan" / "test_keys.py"))
WORDS: Callable[[], Any] = runpy.run_path(str(TESTS / "audit" / "test_audit_beside.py"))["Words"]
PUBLISHED = protocol("published-code")
PROFILE = profiles.load("embedded")

PAWS = {"base.paws.p1.0", "base.paws.p1.2", "paws-ft-2000.paws.p1.0"}
XSUM = {"base.xsum.p1.0", "base.xsum.p2.1", "paws-fticl2-2000.xsum.p1.1"}
TUNED = {"paws-ft-2000.paws.p1.0", "paws-fticl2-2000.xsum.p1.1"}


def plan(chosen: Protocol) -> Plan:
    made: Plan = KEYS["plan"](PROFILE, chosen)
    return made


def cells(part: Plan) -> set[str]:
    return {cell.cell.name for model in part.models for cell in model.cells}


@pytest.fixture(scope="module")
def touched() -> Touched:
    return Touched(plan(PUBLISHED), WORDS())


@pytest.mark.parametrize(
    ("switch", "value", "expected"),
    [
        ("bos_zero_shot_generation", 1, {"base.xsum.p1.0"}),
        ("bos_few_shot_classification", 1, {"base.paws.p1.2"}),
        ("zero_shot_blank", False, {"base.paws.p1.0", "base.xsum.p1.0", "paws-ft-2000.paws.p1.0"}),
        ("max_new_tokens", 128, XSUM),
        ("rouge_stemmer", True, XSUM),
        ("gold_dash", "drop", PAWS),
        ("leaked_rows", "drop", PAWS),
        ("repeated_inputs", "drop", PAWS | XSUM),
        ("demonstrations_in_test", "drop", PAWS | XSUM),
        ("loss_weighting", "step-tokens", TUNED),
        ("demonstrations_in_train", "drop", TUNED),
        ("empty_inputs", "drop", PAWS | XSUM),
        ("rotary_precision", "rounded", PAWS | XSUM),
        # None of its tokens is there: no sample is cut, no cell is of nli, none of RTE.
        ("max_length", 0, set()),
        ("truncation_side", "source", set()),
        ("label_tokens", "in-context", set()),
        ("trailing_blank", "strip", set()),
        ("rte_labels", "occurring", set()),
        # The profile scores fewer rows, and computes in float32.
        ("rows", 500, set()),
        ("precision", "uniform", set()),
        ("best_of", "split-half", set()),
    ],
)
def test_a_switch_touches_what_it_changes(
    touched: Touched, switch: str, value: Any, expected: set[str]
) -> None:
    changed: Any = {switch: value}
    assert cells(touched.part(plan(replace(PUBLISHED, **changed)))) == expected


@pytest.mark.parametrize("changed", [{"truncation_side": "source"}, {"max_length": 0}])
def test_fine_tunes_are_touched_whose_samples_were_cut(changed: Any) -> None:
    """The one with demonstrations has the longest samples; all but one token of them fits."""
    (tuned,) = (m for m in plan(PUBLISHED).models if m.variant.name == "paws-fticl2-2000")
    training = tuned.training
    assert training is not None
    whole = replace(training.recipe, max_length=0)
    rows, shown = training.rows.to_list(), training.demonstrations.to_list()
    longest = max(len(s.ids) for s in encode(rows, shown, training.template, WORDS(), whole))
    short = replace(PUBLISHED, max_length=round((longest - 1) / PROFILE.scale.length))
    part = Touched(plan(short), WORDS()).part(plan(replace(short, **changed)))
    assert cells(part) == {"paws-fticl2-2000.xsum.p1.1"}


def test_what_is_left_has_the_keys_of_the_plan(touched: Touched) -> None:
    whole = plan(replace(PUBLISHED, max_new_tokens=128))
    keys = {cell.cell.name: cell.key for model in whole.models for cell in model.cells}
    part = touched.part(whole)
    assert [model.variant.name for model in part.models] == ["base", "paws-fticl2-2000"]
    for model in part.models:
        for cell in model.cells:
            assert cell.key == keys[cell.cell.name]
