"""Examples before training rows: of each row, of another task, exchanged; and what cannot be."""

import json
from pathlib import Path

import pytest

from repro.cli.main import cli
from repro.cli.options import build_plan, parse
from repro.data.embedded.source import EmbeddedData
from repro.errors import ReproError
from repro.finetune.encode import encode
from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.plan.plan import Plan
from repro.plan.preflight import require
from repro.plan.store import Store
from repro.spec.prompts import fill
from repro.spec.tasks import Part
from repro.studies.paper.tasks import TASKS

STUDY = """
question = "Which examples?"
extends = "paper"

[filters]
few = {{ share = 0.0625, repeat = true }}
wrong = {{ exchange = 0.5 }}

[[cells]]
variants = [{variants}]
datasets = ["amazon"]
shots = [0]
"""


def planned(folder: Path, *variants: str, options: tuple[str, ...] = ()) -> Plan:
    path = folder / "which.toml"
    told = ", ".join(f'"{name}"' for name in variants)
    path.write_text(STUDY.format(variants=told), encoding="utf-8")
    words = ["--study", str(path), "--store", str(folder / "store"), *options]
    found = cli.commands["plan"].make_context("plan", words).params
    asked = {
        name: value for name, value in found.items() if name not in ("workers", "gpus", "price")
    }
    return build_plan(parse(**asked), print)


def shown(source: str, number: int) -> list[dict[str, str]]:
    task = TASKS["paraphrase" if source == "qqp" else "sentiment"]
    rows = EmbeddedData().rows(Part("demonstrations", source), task)
    return rows.to_list()[:number]


def test_names_say_what_stands_before_each_row(tmp_path: Path) -> None:
    names = (
        "amazon-fticl2-2000", "amazon-fticl2-2000-shown=each1", "amazon-fticl2-2000-of=qqp",
        "amazon-fticl2-2000-shown=exchanged",
    )  # fmt: skip
    plan = planned(tmp_path, *names)
    by_name = {model.variant.name: model for model in plan.models}
    fixed, each, other, wrong = (by_name[name] for name in names)
    assert len({model.key for model in plan.models}) == 4
    assert len({model.training.facts["demonstrations_sha256"] for model in plan.models}) == 4
    assert {len(model.training.rows) for model in plan.models} == {160}
    tokenizer = load_tokenizer(EMBEDDED)
    for model in plan.models:
        made = model.training
        rows, template = made.rows.to_list(), made.template
        samples = encode(
            rows, made.demonstrations.to_list(), template, tokenizer, made.recipe, made.contexts
        )
        assert not any(sample.cut for sample in samples)
        texts = [
            tokenizer.decode(list(s.ids[: s.masked]), skip_special_tokens=True) for s in samples
        ]
        if model is each:
            assert len({text.split("\n\n")[0] for text in texts}) > 40
            for row, context in zip(rows, made.contexts, strict=True):
                one, two = (part for part in context.split("\n\n") if part)
                for part in (one, two):
                    (own,) = [
                        r
                        for r in rows
                        if fill(template.task, template.text, r) + r["output"] == part
                    ]
                    assert row != own
        else:
            (start,) = {text[: text.rindex("\n\n")] for text in texts}
            examples = shown("qqp" if model is other else "amazon", 2)
            for example in examples:
                field = "input_1" if model is other else "input"
                assert example[field].split()[0] in start
    (before,) = set(other.training.contexts)
    assert all(row["input_2"] in before and row["output"] in before for row in shown("qqp", 2))
    pairs = zip(fixed.training.demonstrations, wrong.training.demonstrations, strict=True)
    for true, false in pairs:
        assert true["input"] == false["input"]
        assert {true["output"], false["output"]} == {"positive", "negative"}


def test_filters_keep_the_number_of_steps_and_change_the_key(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, "amazon-ft-2000", "amazon-ft-2000-rows=few", "amazon-ft-2000-rows=wrong"
    )
    assert len({model.key for model in plan.models}) == 3
    steps = {m.training.recipe.steps(len(m.training.rows)) for m in plan.models}
    assert steps == {20}
    plain, few, wrong = (m.training.rows.to_list() for m in plan.models)
    assert len({row["input"] for row in few}) == 10
    assert sum(a != b for a, b in zip(plain, wrong, strict=True)) == 80
    assert [row["input"] for row in plain] == [row["input"] for row in wrong]


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("xsum-fticl8-2000", "needs 8 demonstrations, there are 4 of xsum", "at most 4"),
        ("amazon-fticl200-2000-shown=each1", "have 159 others each", "at most 159"),
    ],
)
def test_more_than_the_data_has_is_refused_when_planning(
    tmp_path: Path, name: str, what: str, hint: str
) -> None:
    with pytest.raises(ReproError, match=what) as caught:
        planned(tmp_path, name)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("options", "left"),
    [((), "so that no target is left"), (("--set", "truncation_side=source"), "no target is left")],
)
def test_demonstrations_that_do_not_fit_are_refused_before_training(
    tmp_path: Path, options: tuple[str, ...], left: str
) -> None:
    plan = planned(tmp_path, "amazon-fticl20-2000-shown=each1", options=options)
    with pytest.raises(ReproError, match=left) as caught:
        require(plan, Store(tmp_path / "store"), tmp_path)
    fit = int((caught.value.hint or "").split()[1])
    assert 4 <= fit < 20
    room = planned(tmp_path, f"amazon-fticl{fit - 1}-2000-shown=each1", options=options)
    require(room, Store(tmp_path / "store"), tmp_path)


def test_tests_have_no_examples_of_each_row(tmp_path: Path) -> None:
    text = STUDY.format(variants='"base"').replace("shots = [0]", 'shots = ["2-each1"]')
    (tmp_path / "each.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ReproError, match="is for training rows, not for tests"):
        cli.main(["plan", "--study", str(tmp_path / "each.toml")], standalone_mode=False)


def test_runs_tell_the_number_of_examples_of_each_row(tmp_path: Path) -> None:
    planned(tmp_path, "amazon-fticl2-2000-shown=each1")
    words = ["--study", str(tmp_path / "which.toml"), "--rows", "4", "--out", str(tmp_path / "out")]
    cli.main(["run", *words, "--store", str(tmp_path / "store")], standalone_mode=False)
    (line,) = map(json.loads, (tmp_path / "out" / "finetunes.jsonl").read_text().splitlines())
    assert (line["demonstrations"], line["dead_samples"], line["samples"]) == (2, 0, 160)
