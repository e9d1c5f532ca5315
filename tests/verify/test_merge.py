"""Results of one plan from several machines, joined."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.results.machines import record_of
from repro.results.merge import merge
from repro.spec.cells import Cell
from repro.verify.levels import compare_runs
from repro.verify.reading import read_results
from repro.verify.reference import load_reference, record
from repro.verify.verdicts import Level, Verdict

Make = Callable[..., Path]
BASE = [Cell.parse(f"base.amazon.p1.{shots}") for shots in (0, 2, 4)]
AMAZON = [Cell.parse(f"amazon-ft-2000.amazon.p1.{shots}") for shots in (0, 2, 4)]
PAWS = [Cell.parse(f"paws-ft-2000.paws.p1.{shots}") for shots in (0, 2)]


def lines(folder: Path, name: str = "results.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_joined_results_are_those_of_one_machine(make: Make, tmp_path: Path) -> None:
    """The same plan, run whole, and in two parts on the same kind: the same lines and samples."""
    whole = make(tmp_path / "whole", [*BASE, *AMAZON, *PAWS])
    parts = [make(tmp_path / "a", [*BASE, *AMAZON]), make(tmp_path / "b", [*BASE, *PAWS])]
    merged = merge(parts, tmp_path / "c")
    assert (merged.cells, merged.left_out) == (8, ())
    for name in ("results.jsonl", "finetunes.jsonl"):
        assert sorted(map(str, lines(tmp_path / "c", name))) == sorted(map(str, lines(whole, name)))
    for path in (whole / "samples").iterdir():
        assert (tmp_path / "c" / "samples" / path.name).read_bytes() == path.read_bytes()
    (run,) = read_results(tmp_path / "c").runs
    stored = load_reference(record([whole], tmp_path / "expected"))
    verdicts = compare_runs(run, stored.run, recorded=stored.recorded).numbers
    assert {v.verdict for v in verdicts} == {Verdict.REPRODUCED}
    assert {v.level for v in verdicts} == {Level.L0}
    assert not any("another machine" in v.reason for v in verdicts)


def test_every_cell_keeps_its_machine(make: Make, tmp_path: Path) -> None:
    one = make(tmp_path / "a", [*BASE, *AMAZON], machine="cpu A")
    other = make(tmp_path / "b", PAWS, machine="cpu B")
    merge([one, other], tmp_path / "c")
    found = read_results(tmp_path / "c")
    assert any("2 kinds of machines" in warning for warning in found.warnings)
    (run,) = found.runs
    device = {
        name: record_of(run.record, name)["identity"]["numerics"]["device"]
        for name in ("base.amazon.p1.2", "amazon-ft-2000.amazon.p1.0.seed42",
                     "paws-ft-2000.paws.p1.0.seed42")
    }  # fmt: skip
    assert list(device.values()) == ["cpu A", "cpu A", "cpu B"]
    stored = load_reference(record([one], tmp_path / "expected"))
    told = {
        v.cell: v.reason
        for v in compare_runs(run, stored.run, recorded=stored.recorded).numbers
        if v.cell
    }
    assert not any("machine kind" in told[cell] for cell in (*BASE, *AMAZON))
    again = make(tmp_path / "d", PAWS, machine="cpu A")
    stored = load_reference(record([again], tmp_path / "elsewhere"))
    (first, *_) = compare_runs(run, stored.run, recorded=stored.recorded).numbers
    assert first.level is not Level.L0


def test_cells_of_two_trainings_are_never_one_models(make: Make, tmp_path: Path) -> None:
    one = make(tmp_path / "a", AMAZON[:1], machine="cpu A", noise="a")
    other = make(tmp_path / "b", AMAZON, machine="cpu B", noise="b")
    merged = merge([one, other], tmp_path / "c")
    (key,) = {line["model_key"] for line in lines(other)}
    assert {line["model_key"] for line in lines(tmp_path / "c")} == {key}
    assert [line["key"] for line in lines(tmp_path / "c", "finetunes.jsonl")] == [key]
    assert merged.cells == 3
    assert len(merged.left_out) == 1
    assert "amazon-ft-2000 seed 42" in merged.left_out[0]


def test_other_samples_of_an_equal_key_are_an_error(make: Make, tmp_path: Path) -> None:
    one, other = (make(tmp_path / name, BASE) for name in "ab")
    path = next((other / "samples").iterdir())
    told = lines(other)
    for line in told:
        if line["samples"] == f"samples/{path.name}":
            line["samples_sha256"] = "0" * 64
    (other / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    with pytest.raises(ReproError, match="has the same key") as caught:
        merge([one, other], tmp_path / "c")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("damage", "message", "code"),
    [
        ("protocol", "protocol", 2),
        ("record", r"run\.json is missing", 3),
        ("deep", r"run\.json is missing or not", 3),
        ("sample", "is missing or not what", 3),
        ("out", "exists", 2),
    ],
)
def test_what_cannot_be_joined_is_named(
    make: Make, tmp_path: Path, damage: str, message: str, code: int
) -> None:
    one = make(tmp_path / "a", BASE)
    protocol = "corrected" if damage == "protocol" else "published-code"
    other = make(tmp_path / "b", PAWS, protocol=protocol)
    if damage == "record":
        (other / "run.json").unlink()
    if damage == "deep":
        (other / "run.json").write_text("[" * 100_000)
    if damage == "sample":
        next((other / "samples").iterdir()).write_text("")
    if damage == "out":
        (tmp_path / "c").mkdir()
    with pytest.raises(ReproError, match=message) as caught:
        merge([one, other], tmp_path / "c")
    assert caught.value.exit_code == code
    assert damage == "out" or not (tmp_path / "c").exists()


@pytest.mark.parametrize("change", [{"samples": "../elsewhere.jsonl"}, {"cell": "foo"}])
def test_a_line_that_is_none_is_named_and_nothing_is_left(
    make: Make, edit: Callable[..., None], tmp_path: Path, change: dict[str, str]
) -> None:
    one = make(tmp_path / "a", BASE)
    edit(one / "results.jsonl", lambda lines: lines[1].update(change))
    with pytest.raises(ReproError, match="which the kit lacks"):
        merge([one, make(tmp_path / "b", AMAZON)], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_folder_that_gives_nothing_is_no_part(make: Make, tmp_path: Path) -> None:
    one = make(tmp_path / "a", [*BASE, *AMAZON], machine="cpu A")
    two = make(tmp_path / "b", [*BASE, *AMAZON], machine="cpu B", noise="B")
    merge([one, two], tmp_path / "out")
    assert not [w for w in read_results(tmp_path / "out").warnings if "kinds of machines" in w]
