"""Results that are altered, swapped, cut or of other data, against a stored reference."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.studies.paper.figures import cells
from repro.verify.verdicts import Level, NumberVerdict, Verdict

CELLS = cells(["4"])
SOME = "xsum-fticl1-2000.peerread.p1.1"
Make = Callable[..., Path]
Edit = Callable[..., None]
Judged = Callable[..., dict[str, NumberVerdict]]


def test_one_altered_number_made_to_agree_is_caught_by_its_key(
    same: Path, stored: Path, edit: Edit, reseal: Edit, judged: Judged
) -> None:
    path = same / "samples" / f"{SOME}.seed1.jsonl"
    edit(path, lambda lines: lines[5].update(score=lines[5]["score"] + 1e-6))
    reseal(same, SOME, 1)
    found = judged(same, stored)
    assert found[SOME].verdict == Verdict.NOT_REPRODUCED
    assert "other outcome" in found[SOME].reason
    assert sum(n.verdict == Verdict.NOT_REPRODUCED for n in found.values()) == 1


def test_one_dropped_row_made_to_agree_is_caught(
    same: Path, stored: Path, edit: Edit, reseal: Edit, judged: Judged
) -> None:
    edit(same / "samples" / f"{SOME}.seed1.jsonl", lambda lines: lines.pop(3))
    reseal(same, SOME, 1)
    assert judged(same, stored)[SOME].verdict == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("common", [0, 1])
def test_hardly_a_row_in_common_shows_nothing(
    same: Path, stored: Path, edit: Edit, reseal: Edit, judged: Judged, common: int
) -> None:
    def move(lines: list[dict]) -> None:
        for line in lines[common:]:
            line["row"] += 1000

    def elsewhere(lines: list[dict]) -> None:
        for line in lines:
            line["key"] += "0"

    edit(same / "samples" / f"{SOME}.seed1.jsonl", move)
    reseal(same, SOME, 1)
    edit(same / "results.jsonl", elsewhere)
    found = judged(same, stored)[SOME]
    assert not found.verdict.passes
    assert f"{60 - common} of 60 rows" in found.reason


def rename(folder: Path, edit: Edit, old: tuple[str, int], new: tuple[str, int]) -> None:
    """Pass a variant and seed off as another, everywhere in the folder."""

    def change(lines: list[dict]) -> None:
        lines[:] = [x for x in lines if (x["variant"], x["seed"]) != new]
        for line in lines:
            if (line["variant"], line["seed"]) == old:
                line.update(variant=new[0], seed=new[1])
                if "cell" in line:
                    source = folder / line["samples"]
                    line["cell"] = line["cell"].replace(old[0], new[0])
                    line["samples"] = f"samples/{line['cell']}.seed{new[1]}.jsonl"
                    shutil.copy(source, folder / line["samples"])

    for name in ("results.jsonl", "finetunes.jsonl"):
        edit(folder / name, change)


@pytest.mark.parametrize("new", [("xsum-fticl2-2000", 1), ("xsum-fticl1-2000", 2)])
def test_a_swapped_variant_or_changed_seed_is_caught_by_its_key(
    same: Path, stored: Path, edit: Edit, new: tuple[str, int], judged: Judged
) -> None:
    rename(same, edit, ("xsum-fticl1-2000", 1), new)
    found = judged(same, stored)
    wrong = [n for n in found.values() if n.verdict == Verdict.NOT_REPRODUCED]
    assert {n.cell.variant.name for n in wrong} == {new[0]}
    assert all("xsum-fticl1-2000" in n.reason and "swapped" in n.reason for n in wrong)


def test_a_missing_cell_and_a_missing_seed_are_not_run(
    same: Path, stored: Path, edit: Edit, make: Make, tmp_path: Path, judged: Judged
) -> None:
    def drop(lines: list[dict]) -> None:
        lines[:] = [line for line in lines if line["cell"] != SOME]

    edit(same / "results.jsonl", drop)
    assert judged(same, stored)[SOME].verdict == Verdict.NOT_RUN
    two = make(tmp_path / "two", CELLS, seeds=(1, 2), n=60)
    edit(two / "results.jsonl", lambda lines: lines.remove(lines[-1]))
    lost = [n for n in judged(two, stored).values() if n.verdict == Verdict.NOT_RUN]
    assert [n.reason for n in lost] == ["seed 2 is missing"]


def test_without_samples_the_level_falls_and_says_so(
    same: Path, stored: Path, judged: Judged
) -> None:
    for path in (same / "samples").iterdir():
        path.unlink()
    found = judged(same, stored)
    assert {n.level for n in found.values()} == {Level.L2}
    assert all("samples are missing" in n.reason for n in found.values() if n.seeds)
    assert not any(n.verdict == Verdict.NOT_REPRODUCED for n in found.values())


def tamper(folder: Path, edit: Edit, reseal: Edit, change: Callable[[list[dict]], object]) -> None:
    """Change the samples of a cell, in a way that all of the folder agrees with."""
    edit(folder / "samples" / f"{SOME}.seed1.jsonl", change)
    reseal(folder, SOME, 1)

    def other_key(lines: list[dict]) -> None:
        for line in lines:
            if line["cell"] == SOME:
                line["key"] = "0" * 64

    edit(folder / "results.jsonl", other_key)


@pytest.mark.parametrize("field", ["prompt_sha256", "gold"])
@pytest.mark.parametrize("kept", [60, 30])
def test_another_data_version_is_named_and_not_compared(
    same: Path, stored: Path, edit: Edit, reseal: Edit, judged: Judged, kept: int, field: str
) -> None:
    """Also where fewer rows were scored than the reference has."""

    def change(lines: list[dict]) -> None:
        del lines[kept:]
        for row in (5, 7, 29):
            lines[row][field] = "other"

    tamper(same, edit, reseal, change)
    number = judged(same, stored)[SOME]
    assert number.verdict == Verdict.NOT_REPRODUCED
    assert f"prompts or golds of 3 of {kept} common rows differ" in number.reason


def test_fewer_rows_of_the_same_data_are_compared(
    same: Path, stored: Path, edit: Edit, reseal: Edit, judged: Judged
) -> None:
    def change(lines: list[dict]) -> None:
        lines[:] = lines[1:20:2]

    tamper(same, edit, reseal, change)
    number = judged(same, stored)[SOME]
    assert (number.level, number.verdict) == (Level.L1, Verdict.REPRODUCED)
    assert number.n == 10
