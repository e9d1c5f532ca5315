"""The findings on a stored model: the document that ships, and what mending a flaw can change."""

import json
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from repro.data.embedded import EmbeddedData
from repro.errors import ReproError
from repro.report.documents import BEGIN, END, findings, write_findings
from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.claimverdicts import Answer
from repro.verify.comparisons import Change
from repro.verify.findings import paper_verdicts
from repro.verify.published import default_folder
from repro.verify.reading import read_results
from repro.verify.reference import record
from repro.verify.statistics import Interval
from repro.verify.survival import (
    DROPPED,
    Condition,
    changed,
    conditions,
    read_json,
    runs_of,
    stored_conditions,
)
from tools.touched_cells import touched

ROOT = Path(__file__).parents[2]
MAKERS = runpy.run_path(str(ROOT / "tests" / "verify" / "conftest.py"))
make: Callable[..., Path] = MAKERS["write_results"]
PAWS = [cell for cell in study().claim_cells(claims()["C1"]) if cell.dataset == "paws"]


@pytest.fixture(scope="module")
def every() -> list[tuple[Condition, ...]]:
    """Of both sizes, as `repro findings` takes them."""
    return [stored_conditions(default_folder(), profile) for profile in ("small", "small-cpu")]


@pytest.fixture(scope="module")
def shipped(every: list[tuple[Condition, ...]]) -> tuple[Condition, ...]:
    return every[0]


def test_the_document_is_what_the_stored_runs_give(
    every: list[tuple[Condition, ...]], tmp_path: Path
) -> None:
    """Otherwise: repro findings --into README.md."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_findings(every, tmp_path / "findings.md", readme)
    found = (tmp_path / "findings.md").read_text(encoding="utf-8")
    assert found == (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    table = readme.read_text(encoding="utf-8")
    assert table.startswith(f"before\n{BEGIN}\n| |")
    assert table.endswith(f"{END}\nafter\n")
    assert table.removeprefix("before\n").removesuffix("after\n") in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )
    drawn = {path.name for path in (tmp_path / "findings").iterdir()}
    assert drawn == {path.name for path in (ROOT / "docs" / "findings").iterdir()}


def test_every_finding_has_a_verdict_under_every_condition(
    shipped: tuple[Condition, ...],
) -> None:
    for condition in shipped:
        assert list(condition.claims) == list(claims())
    assert {part for condition in shipped for part in condition.audit.split(", ")} >= {
        "A4", "A5", "A6", "A8", "A9",
    }  # fmt: skip


def test_a_document_without_a_place_for_the_table_is_named(
    shipped: tuple[Condition, ...], tmp_path: Path
) -> None:
    other = tmp_path / "other.md"
    other.write_text("text\n", encoding="utf-8")
    with pytest.raises(ReproError, match=r"other\.md has no place"):
        write_findings([shipped], tmp_path / "findings.md", other)


def test_the_table_is_replaced_wherever_else_an_end_stands(
    shipped: tuple[Condition, ...], tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{END}\nb\n{BEGIN}\nold\n{END}\nc\n", encoding="utf-8")
    for _ in range(2):
        write_findings([shipped], tmp_path / "findings.md", readme)
        text = readme.read_text(encoding="utf-8")
        assert (text.count(BEGIN), text.count(END)) == (1, 2)
        assert text.startswith(f"a\n{END}\nb\n{BEGIN}\n|")


def test_scores_without_some_rows_are_those_of_the_others(tmp_path: Path) -> None:
    cell = Cell.parse("base.paws.p1.2")
    folder = make(tmp_path / "run", [cell], n=40)
    (run,) = read_results(folder).runs
    gone = [0, 3, 17]
    less, told = changed(run, ["leaked_rows"], {"leaked_rows": {"paws": gone, "xsum": [1]}})
    lines = (folder / "samples" / f"{cell.name}.jsonl").read_text().splitlines()
    scores = [s["score"] for s in map(json.loads, lines) if s["row"] not in gone]
    found = less.cells[cell, None]
    assert (found.n, found.value) == (37, pytest.approx(sum(scores) / 37))
    assert told == "leaked_rows = drop"


def test_a_finding_that_rests_on_dropped_rows_does_not_survive(tmp_path: Path) -> None:
    """Fine-tunes that are right on the leaked rows only, and a base that is right on half."""
    skill = dict.fromkeys(PAWS, 0.5) | {c: 0.97 for c in PAWS if c.variant.name != "base"}
    folder = make(tmp_path / "run", PAWS, n=200, skill=skill, profile="small")
    leaked = list(range(150))
    for path in (folder / "samples").glob("paws-*"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if line["row"] not in leaked and line["row"] % 2:
                other = next(label for label in line["logits"] if label != line["gold"])
                line |= {"prediction": other, "score": 0}
                line["logits"] = {other: 1.0, line["gold"]: 0.0}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _reseal(folder)
    record([folder], tmp_path / "expected" / "run")
    found = conditions(runs_of(tmp_path / "expected", "small"), {"leaked_rows": {"paws": leaked}})
    published, mended = (c.claims["C1"] for c in (found[0], found[1]))
    assert found[1].audit == "A4"
    before, after = published.own[0], mended.own[0]
    assert before.mean is not None
    assert after.mean is not None
    assert before.mean.effect > 0.2
    assert abs(after.mean.effect) < 0.15
    assert all(pair.holds for pair in before.pairs)
    assert not all(pair.holds for pair in after.pairs)
    same = next(c for c in found if c.audit == "A5")
    assert same.claims["C1"].verdict is published.verdict


@pytest.fixture
def mended_runs(tmp_path: Path) -> dict[str, Run]:
    """Fine-tunes above the base; below it with one flaw mended; and above it with all of them."""
    good = dict.fromkeys(PAWS, 0.5) | {c: 0.95 for c in PAWS if c.variant.name != "base"}
    tuned = [cell for cell in PAWS if cell.variant.name != "base"]
    runs = {}
    for name, cells, skill, protocol in (
        ("published", PAWS, good, "published-code"),
        ("truncation", tuned, dict.fromkeys(PAWS, 0.1), "published-code"),
        ("corrected", PAWS, good, "corrected"),
    ):
        folder = make(
            tmp_path / name, cells, n=100, skill=skill, profile="small-cpu", protocol=protocol,
            noise=name,
        )  # fmt: skip
        (runs[name],) = read_results(folder).runs
    numerics = {"precision": "uniform"}
    runs["published"] = runs["published"].switched(numerics)
    runs["corrected"] = runs["corrected"].switched(numerics)
    runs["truncation"] = runs["truncation"].switched({"truncation_side": "source"} | numerics)
    return runs


def test_a_switch_that_was_run_stands_on_the_published_run(mended_runs: dict[str, Run]) -> None:
    published, alone, whole = conditions(tuple(mended_runs.values()), {})[:3]
    assert [c.name for c in (published, alone, whole)] == [
        "published-code", "truncation_side = source", "corrected",
    ]  # fmt: skip
    assert [c.audit for c in (published, alone, whole)] == ["", "A2", ""]
    base = {cell: found for cell, found in published.run.cells.items() if cell[1] is None}
    assert base
    assert alone.run.cells == base | dict(mended_runs["truncation"].cells)
    assert whole.run.cells == mended_runs["corrected"].cells


def test_the_document_says_what_one_flaw_and_all_of_them_do(mended_runs: dict[str, Run]) -> None:
    found = conditions(tuple(mended_runs.values()), {})[:3]
    before, after = (
        sum(r.value for r in mended_runs[name].cells.values() if r.seed is not None)
        for name in ("published", "truncation")
    )
    tuned = len(mended_runs["truncation"].cells)
    text = findings([found], {c.claim.id: c for c in paper_verdicts()})
    section = text.partition("### C1. ")[2].partition("###")[0]
    assert "Too little of it was run to say as published" in section
    assert "Under `corrected` too little of it was run to say; its effect moves by" in section
    (lead, *_) = found[0].claims["C1"].own
    alone, whole = (c.changes["C1"][lead.contrast.name] for c in found[1:])
    told = f"with A2 `truncation_side` mended it moves to shown otherwise by {alone.effect:+.3f} ["
    assert told in section
    assert f"its effect moves by {whole.effect:+.3f} [" in section
    (row,) = (row for row in text.splitlines() if row.startswith("| C1 | in domain"))
    assert row.count(f" {whole.effect:+.3f} [{whole.interval.low:+.3f}, ") == 1
    (line,) = (row for row in text.splitlines() if row.startswith("| `small-cpu` | A2 |"))
    assert f"| {tuned} | " in line
    assert f"| {(after - before) / tuned:+.3f} [" in line
    assert "- another verdict by no more than chance: none;" in text
    assert "- too little was run for any other answer: C1 and C4." in text
    assert "of 2 changes looked at, uncorrected for their number: none (after Holm's " in text
    assert "'s correction: none); with another verdict" in text
    assert "| too little run " in row
    fails = replace(found[2].claims["C1"], verdict=Answer.FAILS)
    turned = replace(found[2], claims={**found[2].claims, "C1": fails})
    paper = {c.claim.id: c for c in paper_verdicts()}
    told = findings([(*found[:2], turned)], paper)
    by = f"by {whole.effect:+.3f} [{whole.interval.low:+.3f}, {whole.interval.high:+.3f}]"
    assert f"no more than chance: C1 (undecided to shown otherwise {by});" in told
    large = {"C1": {lead.contrast.name: Change(0.3, Interval(0.1, 0.5), 0.03)}}
    told = findings([(*found[:2], replace(turned, changes=large))], paper)
    assert "C1 by +0.300 [+0.100, +0.500] (after Holm's correction: C1); with another" in told
    likewise = dict.fromkeys(found[2].changes["C4"], Change(0.3, Interval(0.1, 0.5), 0.03))
    twice = large | {"C4": likewise}
    both = findings([(*found[:2], replace(turned, changes=twice))], paper)
    assert "C1 by +0.300 [+0.100, +0.500] and C4 by +0.300 [+0.100, +0.500] (after Holm's " in both
    assert "correction: none); with another" in both
    assert "of these: C1 (undecided to shown otherwise by +0.300 [+0.100, +0.500]);" in told
    assert "- another verdict by no more than chance: none;" in told
    told = findings([(*found[:2], replace(turned, changes={}))], paper)
    assert "- another verdict, of what has no interval: C1 (undecided to shown otherwise);" in told
    assert "- another verdict by no more than chance: none;" in told
    assert "The protocol" not in text.partition("## What is missing")[2]
    (apart,) = (line for line in text.splitlines() if line.startswith("- Mended on `small-cpu`"))
    assert "A2 `max_length`" in apart
    assert "`zero_shot_blank`" in apart
    assert "`truncation_side`" not in apart


@pytest.mark.parametrize(
    ("effect", "interval", "told"),
    [(0.3, (0.1, 0.5), True), (0.3, (-0.1, 0.7), False), (0.01, (0.005, 0.015), False)],
)
def test_a_change_is_told_if_it_is_large_and_not_chance(
    mended_runs: dict[str, Run], effect: float, interval: tuple[float, float], told: bool
) -> None:
    """Of a flaw that leaves the verdict as it was."""
    first, alone, *_ = conditions(tuple(mended_runs.values()), {})
    moved = Change(effect, Interval(*interval), 0.5)
    lead = first.claims["C1"].own[0].contrast.name
    same = replace(alone, claims=first.claims, changes={"C1": {lead: moved}})
    text = findings([[first, same]], {c.claim.id: c for c in paper_verdicts()})
    section = text.partition("### C1. ")[2].partition("###")[0]
    assert (f"with A2 `truncation_side` mended it moves by {effect:+.3f} [" in section) == told
    # What is not worth a word stands in the table of single flaws.
    table = text.partition("## One flaw at a time")[2].partition("##")[0]
    assert f"| C1 | {effect:+.3f} [" in table


def test_a_finding_is_shown_by_one_comparison_everywhere(
    every: list[tuple[Condition, ...]],
) -> None:
    """C6's first comparison needs sizes that were not run: the paper's number is its second's."""
    paper = {c.claim.id: c for c in paper_verdicts()}
    text = findings(every, paper)
    section = text.partition("### C6. ")[2].partition("###")[0]
    second = paper["C6"].contrasts[1]
    assert second.mean is not None
    name = f"{second.contrast.name}: {second.mean.effect:+.3f} ["
    assert f"Paper (section 4.2, Figure 2(e, f)): agreeing, {name}" in section
    (row,) = (row for row in text.splitlines() if row.startswith("| C6 | OOD"))
    assert f"| agreeing {second.mean.effect:+.3f} [" in row
    assert "(2 of 6)" in row


def test_a_change_is_between_the_effects_that_stand_beside_it(
    every: list[tuple[Condition, ...]],
) -> None:
    """Of each comparison of which both conditions have all the same pairs.

    From a root mean square, what the draws say of its noise is taken off, and draws are others.
    """
    looked_at = 0
    for first, *others in every:
        for condition in others:
            for name, moved in condition.changes.items():
                for contrast, change in moved.items():
                    before, after = (c.claims[name].item(contrast) for c in (first, condition))
                    if [pair.name for pair in before.pairs] != [pair.name for pair in after.pairs]:
                        continue
                    assert before.mean is not None
                    assert after.mean is not None
                    close = 5e-4 if before.contrast.kind == "change" else 1e-9
                    apart = after.mean.effect - before.mean.effect
                    assert change.effect == pytest.approx(apart, abs=close)
                    looked_at += 1
    assert looked_at > 100


def test_rows_leak_from_what_the_run_was_trained_on(tmp_path: Path) -> None:
    """Not from larger training sets, nor without a fine-tune on Paws."""
    rows = {"2000.200": [0], "2000.2000": [1], "6000.600": [2], "6000.6000": [3]}
    for name, wanted, gone in (
        ("base", ["base.paws.p1.2"], []),
        ("other", ["base.paws.p1.2", "amazon-ft-2000.paws.p1.2"], []),
        ("paws", ["base.paws.p1.2", "paws-ft-2000.paws.p1.2"], [1]),
        ("both", ["base.paws.p1.2", "paws-ft-2000.paws.p1.2", "paws-ft-6000.paws.p1.2"], [1, 3]),
    ):
        folder = make(tmp_path / name, [Cell.parse(cell) for cell in wanted], n=40)
        edit(
            folder / "finetunes.jsonl", lambda line: line.update(samples=int(line["variant"][-4:]))
        )
        (run,) = read_results(folder).runs
        less, _ = changed(run, ["leaked_rows"], {"leaked_rows": {"paws": rows}})
        for found in less.cells.values():
            assert found.outcomes is not None
            assert sorted(set(range(40)).difference(found.outcomes.rows.tolist())) == gone


def test_findings_are_the_papers_own_whatever_else_a_profile_has(tmp_path: Path) -> None:
    """Stored runs of other studies have other claims."""
    with pytest.raises(ReproError, match="no run of profile small-bf16"):
        runs_of(default_folder(), "small-bf16")
    assert {run.study.name for run in runs_of(default_folder(), "embedded")} == {"paper"}


def test_without_a_published_run_the_next_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReproError) as caught:
        runs_of(tmp_path, "small")
    assert "repro run --profile small" in caught.value.hint
    with pytest.raises(ReproError, match=DROPPED):
        read_json(tmp_path / DROPPED)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _reseal(folder: Path) -> None:
    """Values and hashes of results.jsonl as the samples now are."""
    import hashlib

    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for line in lines:
        raw = (folder / line["samples"]).read_bytes()
        scores = [json.loads(sample)["score"] for sample in raw.splitlines()]
        line["samples_sha256"] = hashlib.sha256(raw).hexdigest()
        line["value"] = sum(scores) / len(scores)
        line["stderr"] = (line["value"] * (1 - line["value"]) / len(scores)) ** 0.5
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_switch_that_touches_no_prompt_needs_no_run(
    shipped: tuple[Condition, ...],
) -> None:
    """SmolLM2's tokenizer adds no BOS, and its labels behind NLI prompt 2 are other tokens."""
    untouched = {c.audit: c.claims for c in shipped if c.source == "untouched"}
    assert list(untouched) == ["A3"]
    assert untouched["A3"] == shipped[0].claims


class Words:
    """A tokenizer of whole words and single blanks, with a BOS of its own or without."""

    def __init__(self, bos: bool) -> None:
        self.bos_token_id, self.bos = 0, bos
        self.known: dict[str, int] = {}

    def __call__(self, texts: Any, add_special_tokens: bool = True, verbose: bool = True) -> Any:
        if isinstance(texts, str):
            (own,) = self([texts], add_special_tokens)["input_ids"]
            return {"input_ids": own}
        head = [0] * (self.bos and add_special_tokens)
        cut = ([*head, *map(self.number, re.findall(r"\s|\S+", text))] for text in texts)
        return {"input_ids": list(cut)}

    def number(self, word: str) -> int:
        return self.known.setdefault(word, len(self.known) + 1)


@pytest.mark.parametrize("bos", [True, False])
def test_touched_cells_are_those_with_other_tokens(bos: bool) -> None:
    names = ("base.amazon.p1.0", "base.amazon.p1.2", "paws-ft-2000.amazon.p1.2", "base.xsum.p1.1")
    few = SimpleNamespace(
        protocols=study().protocols,
        evaluation=study().evaluation,
        cells=lambda: tuple(map(Cell.parse, names)),
    )
    counts = touched(EmbeddedData(), few, Words(bos))
    assert counts["bos_few_shot_classification"] == (2 if bos else 0)
    assert counts["zero_shot_blank"] == 1
    assert counts["label_tokens"] == 0
