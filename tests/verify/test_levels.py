"""Runs against a stored reference: what each level asks for, and what widens or narrows it."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from repro.results.machines import elsewhere
from repro.spec.cells import Cell
from repro.studies.paper.figures import cells
from repro.verify import levels
from repro.verify.levels import compare_runs
from repro.verify.margins import Margins, margins, margins_of
from repro.verify.reading import read_results
from repro.verify.reference import load_reference, record
from repro.verify.verdicts import Level, NumberVerdict, Verdict

CELLS = cells(["4"])
SOME = "xsum-fticl1-2000.peerread.p1.1"
Make = Callable[..., Path]
Edit = Callable[..., None]
Forge = Callable[..., Any]
Judged = Callable[..., dict[str, NumberVerdict]]


def test_equal_bits_are_l0(same: Path, stored: Path, judged: Judged) -> None:
    found = judged(same, stored)
    assert {(n.level, n.verdict) for n in found.values()} == {(Level.L0, Verdict.REPRODUCED)}


def test_equal_outputs_with_another_loss_trace_are_not_l0(
    same: Path, stored: Path, edit: Edit, judged: Judged
) -> None:
    edit(same / "finetunes.jsonl", lambda lines: lines[0]["losses"].append(0.1))
    first = json.loads((same / "finetunes.jsonl").read_text().splitlines()[0])["variant"]
    found = judged(same, stored)
    assert {n.level for n in found.values() if n.cell.variant.name == first} == {Level.L2}
    assert {n.level for n in found.values() if n.cell.variant.name != first} == {Level.L0}


def test_equal_bits_without_the_losses_are_not_l0(same: Path, stored: Path, judged: Judged) -> None:
    (same / "finetunes.jsonl").unlink()
    found = judged(same, stored)
    assert {n.level for n in found.values() if n.seeds} == {Level.L1}
    assert {n.level for n in found.values() if not n.seeds} == {Level.L0}
    asked = judged(same, stored, level=Level.L0)
    assert {n.verdict for n in asked.values() if n.seeds} == {Verdict.NOT_REPRODUCED}


def located(lock: str | None, device: str | None, **more: str) -> dict[str, object]:
    return {"lock_sha256": lock, "identity": {"numerics": {"device": device}, **more}}


@pytest.mark.parametrize(
    ("own", "recorded", "told"),
    [
        (("a", "x"), [("a", "x")], ""),
        (("a", "x"), [("b", "y"), ("a", "x")], ""),
        (("b", "x"), [("a", "x")], "; another lock"),
        (("a", "y"), [("a", "x")], "; another machine kind (y, stored x)"),
        (("b", "y"), [("a", "x")], "; another lock; another machine kind (y, stored x)"),
        ((None, "x"), [("a", "x")], "; lock unknown"),
        (("a", "x"), [(None, None)], "; lock unknown; machine kind unknown"),
        (("a", "y"), [("a", "x"), ("b", "y")], "; lock and machine kind of different stored runs"),
    ],
)
def test_equal_bits_of_another_lock_or_machine_kind_are_l0_and_say_so(
    same: Path,
    stored: Path,
    own: tuple[str | None, str | None],
    recorded: list[tuple[str | None, str | None]],
    told: str,
) -> None:
    """Equal bits are equal wherever they were made; where, the reason says."""
    (run,) = read_results(same).runs
    found = compare_runs(
        replace(run, record=located(*own)),
        load_reference(stored).run,
        recorded=[located(*one) for one in recorded],
    )
    assert not found.groups, "nothing was retrained"
    assert {(n.level, n.verdict) for n in found.numbers} == {(Level.L0, Verdict.REPRODUCED)}
    assert {n.reason for n in found.numbers} == {
        f"losses, logits and outputs equal to the last bit{told}"
    }


def test_results_of_another_engine_are_not_of_the_same_place() -> None:
    own, vllm = located("a", "x"), located("a", "x", engine="vllm 0.32.0")
    assert elsewhere(vllm, [own]) == "another engine (vllm 0.32.0, stored torch)"
    assert elsewhere(own, [vllm]) == "another engine (torch, stored vllm 0.32.0)"
    assert elsewhere(vllm, [own, vllm]) == ""


def test_l0_asked_for_refuses_other_bits(
    make: Make, tmp_path: Path, stored: Path, judged: Judged
) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B", noise="B")
    verdicts = {n.verdict for n in judged(folder, stored, level=Level.L0).values()}
    assert verdicts == {Verdict.REPRODUCED, Verdict.NOT_REPRODUCED}, "the base's bits are equal"


BASE_CELL = ("base.xsum.p1.1", None)


@pytest.mark.parametrize(
    ("changed", "verdict"), [(1, "REPRODUCED"), (2, "NOT REPRODUCED"), (30, "NOT REPRODUCED")]
)
def test_at_equal_weights_the_number_of_other_rows_decides(
    same: Path, stored: Path, forge: Forge, turn: Edit, judged: Judged, changed: int, verdict: str
) -> None:
    """2 % of 60 rows, rounded down: one may differ, whatever the mean."""
    with forge(same) as f:
        rows = f.rows(BASE_CELL)
        for row in rows[:changed]:
            turn(row, 0.002)
        f.write(BASE_CELL, rows)
    number = judged(same, stored)[BASE_CELL[0]]
    assert (number.level, number.verdict) == (Level.L1, verdict)
    assert number.reason.startswith(f"{changed} of 60 rows differ beyond ties, at most 1")
    assert number.noticed == pytest.approx(2 / 60)
    low, high = number.interval
    assert low <= -0.002 * changed / 60 <= high


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_in_16_bits_may_differ_in_more_texts(
    same: Path, stored: Path, forge: Forge, turn: Edit, dtype: str
) -> None:
    """As many as they did between machine kinds, and no more."""
    reference = load_reference(stored).run
    tuned = {
        key: replace(t, raw={**t.raw, "recipe": {**t.raw["recipe"], "dtype": dtype}})
        for key, t in reference.tuned.items()
    }
    reference = replace(reference, tuned=tuned)
    most = int(60 * margins(dtype).same_weights["rougeL"])
    with forge(same) as f:
        kept = f.rows(BASE_CELL)
    for changed, verdict in ((most, Verdict.REPRODUCED), (most + 1, Verdict.NOT_REPRODUCED)):
        with forge(same) as f:
            rows = [dict(row) for row in kept]
            for row in rows[:changed]:
                turn(row, 0.002)
            f.write(BASE_CELL, rows)
        (run,) = read_results(same).runs
        found = {n.cell.name: n for n in compare_runs(run, reference).numbers}[BASE_CELL[0]]
        assert (found.level, found.verdict) == (Level.L1, verdict)


@pytest.mark.parametrize(
    ("dtypes", "device", "half"),
    [
        (["float32"], "cuda H100", False),
        (["bfloat16"], "cpu AVX512", True),
        (["float32", "bfloat16"], "cpu AVX512", True),
        ([], "cuda H100", True),
        ([], "cpu AVX512", False),
        ([], None, False),
    ],
)
def test_margins_are_those_of_the_stored_precision(
    stored: Path, dtypes: list[str], device: str | None, half: bool
) -> None:
    """Of its fine-tunes; of its device where it has none."""
    run = load_reference(stored).run
    tuned = {
        key: replace(one, raw={**one.raw, "recipe": {"dtype": dtype}})
        for (key, one), dtype in zip(run.tuned.items(), dtypes, strict=False)
    }
    record = {**run.record, "identity": {**run.identity, "numerics": {"device": device}}}
    found = margins_of(replace(run, tuned=tuned, record=record))
    assert found is margins("bfloat16" if half else "float32")
    assert (found.logit_tie > margins().logit_tie) == half


def test_texts_that_score_alike_are_no_other_rows(
    same: Path, stored: Path, forge: Forge, judged: Judged
) -> None:
    with forge(same) as f:
        rows = f.rows(BASE_CELL)
        for row in rows:
            row["text"] += "!"
        f.write(BASE_CELL, rows)
    number = judged(same, stored)[BASE_CELL[0]]
    assert (number.level, number.verdict) == (Level.L1, Verdict.REPRODUCED)


def test_training_equal_but_for_rounding_is_held_row_by_row(
    make: Make, tmp_path: Path, stored: Path, forge: Forge, turn: Edit, judged: Judged
) -> None:
    """The same seed on another machine kind: no loss is further off than rounding explains."""
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B")
    place = (SOME, 1)
    with forge(folder) as f:
        rows = f.rows(place)
        for row in rows[:3]:
            turn(row, 0.01)
        f.write(place, rows)
        for line in f.tuned:
            if line["variant"] == "xsum-fticl2-2000":
                line["losses"][9] *= 1.002
    found = judged(folder, stored)
    levels = {n.cell.variant.name: n.level for n in found.values()}
    assert levels["xsum-fticl2-2000"] == Level.L2, "one step is further off"
    assert levels["xsum-fticl1-2000"] == Level.L1
    wrong = [name for name, number in found.items() if number.verdict == Verdict.NOT_REPRODUCED]
    assert wrong == [SOME]
    assert "3 of 60 rows" in found[SOME].reason
    assert "the training is the same but for rounding" in found[SOME].reason


def test_l1_asked_for_holds_retrained_rows_to_the_rule_of_equal_weights(
    make: Make, tmp_path: Path, stored: Path, judged: Judged
) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B", noise="B")
    tuned = [n for n in judged(folder, stored, level=Level.L1).values() if n.seeds]
    assert {(n.level, n.verdict) for n in tuned} == {(Level.L1, Verdict.NOT_REPRODUCED)}
    unknown = make(tmp_path / "y", CELLS, seeds=(9,), n=60)
    tuned = [n for n in judged(unknown, stored, level=Level.L1).values() if n.seeds]
    assert {n.verdict for n in tuned} == {Verdict.INCONCLUSIVE}


def test_retrained_runs_are_l2_and_inside(
    make: Make, tmp_path: Path, stored: Path, judged: Judged
) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B", noise="B")
    tuned = [n for n in judged(folder, stored).values() if n.seeds]
    assert {n.level for n in tuned} == {Level.L2}
    assert all(n.verdict.passes for n in tuned)
    assert all(n.stored == 5 and n.interval and n.power is not None for n in tuned)
    assert all(n.noticed and n.p_adjusted is not None for n in tuned)


def test_a_worse_model_is_not_reproduced(
    make: Make, tmp_path: Path, stored: Path, published: dict[Cell, float], judged: Judged
) -> None:
    worse = published | {cell: 0.5 * published[cell] for cell in CELLS if cell.name == SOME}
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="B", noise="B", skill=worse)
    found = judged(folder, stored)
    assert found[SOME].verdict == Verdict.NOT_REPRODUCED
    assert sum(n.verdict == Verdict.NOT_REPRODUCED for n in found.values()) == 1


def test_one_stored_run_is_never_green(make: Make, tmp_path: Path, judged: Judged) -> None:
    stored = record([make(tmp_path / "a", CELLS, seeds=(1,))], tmp_path / "ref")
    folder = make(tmp_path / "b", CELLS, seeds=(1,), machine="B", noise="B")
    tuned = [n for n in judged(folder, stored).values() if n.seeds]
    assert {n.verdict for n in tuned} <= {Verdict.CONSISTENT, Verdict.INCONCLUSIVE}
    assert all("1 stored seed: the spread over seeds is unknown" in n.reason for n in tuned)


def test_verdicts_do_not_depend_on_the_order_of_rows_or_cells(
    make: Make, tmp_path: Path, stored: Path, edit: Edit, judged: Judged
) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1, 2), n=60, machine="B", noise="B")
    tuned = [cell for cell in CELLS if cell.variant.name != "base"]
    before = judged(folder, stored, wanted=tuned)
    shuffle = random.Random(0).shuffle
    digests = {}
    for path in (folder / "samples").iterdir():
        edit(path, shuffle)
        digests[f"samples/{path.name}"] = sha256(path.read_bytes()).hexdigest()

    def follow(lines: list[dict]) -> None:
        shuffle(lines)
        for line in lines:
            line["samples_sha256"] = digests[line["samples"]]
            # Other bits need another key: the kit itself never reorders rows.
            line["key"] = "f" + line["key"][1:]

    edit(folder / "results.jsonl", follow)
    after = judged(folder, stored, wanted=tuned[::-1])
    assert set(after) == set(before)
    for name, number in before.items():
        other = after[name]
        assert (other.level, other.verdict, other.reason, other.seeds, other.n) == (
            (number.level, number.verdict, number.reason, number.seeds, number.n)
        )
        for field in ("ours", "theirs", "p", "p_adjusted", "equivalence_p", "power", "interval"):
            assert getattr(other, field) == pytest.approx(getattr(number, field), abs=1e-12)


RANK = {
    Verdict.NOT_REPRODUCED: 0,
    Verdict.INCONCLUSIVE: 1,
    Verdict.CONSISTENT: 2,
    Verdict.REPRODUCED: 3,
}


def widened(factor: float) -> Margins:
    known = margins()
    return replace(
        known,
        same_weights={k: v * factor for k, v in known.same_weights.items()},
        retrained={k: v * factor for k, v in known.retrained.items()},
        logit_tie=known.logit_tie * factor,
    )


def test_widening_a_margin_turns_no_cell_for_the_worse(
    make: Make,
    tmp_path: Path,
    stored: Path,
    published: dict[Cell, float],
    judged: Judged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worse = {cell: 0.8 * published[cell] for cell in published}
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="B", noise="B", skill=worse)
    series = []
    for level, factor in itertools.product((Level.L1, Level.L2), (0.1, 0.5, 1, 2, 5)):
        monkeypatch.setattr(levels, "margins_of", lambda _, factor=factor: widened(factor))
        series.append(judged(folder, stored, level=level))
    seen = set()
    for narrow, wide in itertools.pairwise(series[:5]):
        assert all(RANK[wide[name].verdict] >= RANK[narrow[name].verdict] for name in narrow)
    for narrow, wide in itertools.pairwise(series[5:]):
        assert all(RANK[wide[name].verdict] >= RANK[narrow[name].verdict] for name in narrow)
    for found in series:
        seen |= {number.verdict for number in found.values()}
    assert {Verdict.NOT_REPRODUCED, Verdict.REPRODUCED} <= seen


@pytest.mark.parametrize("memory", ["enough", "too little to train", "too little to evaluate"])
def test_where_memory_ran_out_other_bits_are_rounding(
    tmp_path: Path, make: Make, edit: Edit, reseal: Edit, memory: str
) -> None:
    """The content key knows no budget, since results depend on it by rounding alone."""
    one, other = (make(tmp_path / name, cells(["4"]), seeds=(1,)) for name in "ab")
    stem = f"{SOME}.seed1"
    for folder in (one, other):
        halved = folder == other
        passes = 4096 if halved and memory == "too little to train" else 8192
        edit(
            folder / "finetunes.jsonl",
            lambda lines, passes=passes: [x["machine"].update(token_budget=passes) for x in lines],
        )
        fewer = halved and "evaluate" in memory
        reduced = {stem: {"evaluate_tokens": 512}} if fewer else {}
        told = json.loads((folder / "run.json").read_text())
        told["budgets"] = {"train_tokens": 8192, "evaluate_tokens": 1024, "reduced": reduced}
        (folder / "run.json").write_text(json.dumps(told))
    path = other / "samples" / f"{stem}.jsonl"
    edit(path, lambda lines: lines[5].update(score=lines[5]["score"] + 1e-9))
    reseal(other, SOME, 1)
    runs = [read_results(folder).runs[0] for folder in (other, one)]
    found = {n.cell.name: n for n in compare_runs(*runs).numbers}[SOME]
    if memory == "enough":
        assert found.verdict is Verdict.NOT_REPRODUCED
        assert "altered" in found.reason
        return
    assert (found.level, found.verdict) == (Level.L1, Verdict.REPRODUCED)
    what = "pass 4096, stored 8192" if "train" in memory else "batch 512, stored 1024"
    assert found.reason.endswith(f"tokens of a {what}")


@pytest.mark.parametrize("processor", ["AMD EPYC", "Intel(R) Xeon(R) Processor"])
def test_on_another_processor_other_bits_are_rounding(
    tmp_path: Path, make: Make, edit: Edit, reseal: Edit, processor: str
) -> None:
    """Matrix products of an Intel Xeon and an AMD EPYC differ in last bits, both with AVX-512."""
    one, other = (make(tmp_path / name, cells(["4"]), seeds=(1,)) for name in "ab")
    for folder, name in ((one, "AMD EPYC"), (other, processor)):
        told = json.loads((folder / "run.json").read_text())
        told["machine"] = {"cpu": name}
        told["identity"]["numerics"]["device"] = "cpu AVX512"
        (folder / "run.json").write_text(json.dumps(told))
    path = other / "samples" / f"{SOME}.seed1.jsonl"
    edit(path, lambda lines: lines[5].update(score=lines[5]["score"] + 1e-9))
    reseal(other, SOME, 1)
    runs = [read_results(folder).runs[0] for folder in (other, one)]
    found = {n.cell.name: n for n in compare_runs(*runs).numbers}
    if processor == "AMD EPYC":
        assert found[SOME].verdict is Verdict.NOT_REPRODUCED
        assert "altered" in found[SOME].reason
        return
    assert (found[SOME].level, found[SOME].verdict) == (Level.L1, Verdict.REPRODUCED)
    assert found[SOME].reason.endswith(f"processor {processor}, stored AMD EPYC")
    assert all(n.level is Level.L0 for name, n in found.items() if name != SOME)
