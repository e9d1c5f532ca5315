"""References: written and read back, and refused where they are malformed."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.studies.paper.figures import cells
from repro.verify.published import default_folder
from repro.verify.reading import read_results
from repro.verify.reference import CELLS as CELLS_FILE
from repro.verify.reference import OUTCOMES, TUNED, load_reference, record, references

CELLS = cells(["4"])
SEEDS = (1, 2, 3, 4, 5)
Make = Callable[..., Path]


def test_a_reference_reads_back_as_the_runs_it_was_made_from(
    stored: Path, make: Make, tmp_path: Path
) -> None:
    reference = load_reference(stored)
    (run,) = read_results(make(tmp_path / "x", CELLS, seeds=SEEDS, n=60)).runs
    assert set(reference.run.cells) == set(run.cells)
    assert reference.run.seeds == SEEDS
    for place, result in run.cells.items():
        kept = reference.run.cells[place]
        assert kept.value == result.value
        assert result.outcomes is not None
        assert kept.outcomes is not None
        assert kept.outcomes.outputs == result.outcomes.outputs
        assert kept.outcomes.scores == pytest.approx(result.outcomes.scores, abs=1e-9)
        assert kept.outcomes.inputs is not None
        assert kept.outcomes.inputs.tolist() == result.outcomes.inputs.tolist()
    assert [item["machine"] for item in reference.recorded] == [{"cpu": "cpu A"}] * 2


def test_the_same_runs_make_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    again = record([stored.parent / "b", stored.parent / "a"], tmp_path / "again")
    for name in (OUTCOMES, CELLS_FILE, TUNED):
        assert (again / name).read_bytes() == (stored / name).read_bytes()


def test_a_reference_grows_by_what_is_run_later(make: Make, tmp_path: Path) -> None:
    """As if all had been recorded at once, though the first samples are gone."""
    first = make(tmp_path / "first", CELLS[:3], seeds=(1, 2))
    then = make(tmp_path / "then", CELLS[3:5], seeds=(1, 2))
    at_once = record([first, then], tmp_path / "at-once")
    early = record([first], tmp_path / "early")
    shutil.rmtree(first)
    grown = record([early, then], tmp_path / "grown")
    for name in (OUTCOMES, CELLS_FILE, TUNED, "reference.json"):
        assert (grown / name).read_bytes() == (at_once / name).read_bytes()
    other = make(tmp_path / "other", CELLS[:3], seeds=(1, 2), noise="other luck")
    with pytest.raises(ReproError, match="differs from an earlier"):
        record([early, other], tmp_path / "out")


def test_the_facts_of_fine_tunes_are_kept_as_far_as_they_are_compared(stored: Path) -> None:
    """Whole losses, the first gradient norm and one number for the weight change."""
    (run,) = read_results(stored.parent / "a").runs
    kept = load_reference(stored).run.tuned
    for place, tuned in run.tuned.items():
        raw = dict(kept[place].raw)
        assert kept[place].losses == tuned.losses
        assert kept[place].weight_change == tuned.weight_change
        assert raw.pop("gradient_norms") == tuned.raw["gradient_norms"][:1]
        assert raw.pop("weight_change") == {"all": tuned.weight_change}
        assert raw.items() <= tuned.raw.items()
        assert set(tuned.raw) - set(raw) == {"versions", "gradient_norms", "weight_change"}


@pytest.mark.parametrize("name", [CELLS_FILE, TUNED, OUTCOMES])
def test_a_cut_file_is_refused_with_its_name(stored: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    seal(copy, name, (copy / name).read_bytes()[:-20])
    with pytest.raises(ReproError, match=f"{name}: not a gzip file"):
        load_reference(copy)


def test_values_that_do_not_go_with_the_rows_are_refused(stored: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    lines = gzip.decompress((copy / CELLS_FILE).read_bytes()).decode().splitlines()
    third = json.loads(lines[2])
    lines[2] = json.dumps(third | {"value": third["value"] + 0.01})
    seal(copy, CELLS_FILE, gzip.compress("\n".join(lines).encode()))
    with pytest.raises(ReproError, match=f"{CELLS_FILE}, line 3: .*'value'"):
        load_reference(copy)


@pytest.mark.parametrize("name", [CELLS_FILE, TUNED, OUTCOMES, "reference.json"])
def test_a_tampered_reference_is_refused_with_its_file(
    stored: Path, tmp_path: Path, name: str
) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(ReproError, match=f"{name}.*changed"):
        load_reference(copy)


def seal(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a reference, and its hash."""
    (folder / name).write_bytes(content)
    new = f"{sha256(content).hexdigest()}  {name}"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    kept = [new if line.endswith(f"  {name}") else line for line in lines]
    (folder / "SHA256SUMS").write_text("\n".join(kept) + "\n")


@pytest.mark.parametrize(("field", "value"), [("profile", 3), ("format", 1)])
def test_a_malformed_reference_is_refused_with_its_field(
    stored: Path, tmp_path: Path, field: str, value: object
) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    head = json.loads((copy / "reference.json").read_text()) | {field: value}
    seal(copy, "reference.json", json.dumps(head).encode())
    for look in (load_reference, lambda folder: list(references(folder, profile="other"))):
        with pytest.raises(ReproError, match=rf"reference\.json: field '{field}'"):
            look(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.pop("inputs"), "'inputs'"),
        (lambda x: x.update(inputs=None), "field 'inputs' is not 8 hex digits a row"),
        (lambda x: x.update(inputs=["0" * 8] * 60), "field 'inputs' is not 8 hex digits a row"),
        (lambda x: x.update(inputs=x["inputs"][:-1]), "field 'inputs' is not 8 hex digits a row"),
        (lambda x: x.update(inputs="xy" * 240), "field 'inputs' is not 8 hex digits a row"),
        (lambda x: x["rows"].reverse(), "rows must ascend"),
        (lambda x: x.update(scores=[2.0] * 60), "field 'scores' is not between 0 and 1"),
        (lambda x: x["outputs"].pop(), "as many scores, outputs"),
    ],
)
def test_malformed_outcomes_are_refused_with_file_line_and_field(
    stored: Path, tmp_path: Path, change: Callable[[dict], object], said: str
) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    lines = gzip.decompress((copy / OUTCOMES).read_bytes()).decode().splitlines()
    third = json.loads(lines[2])
    change(third)
    lines[2] = json.dumps(third)
    seal(copy, OUTCOMES, gzip.compress("\n".join(lines).encode()))
    with pytest.raises(ReproError, match=rf"{OUTCOMES}, line 3: .*{said}"):
        load_reference(copy)


def test_each_row_has_a_digest_of_its_prompt_and_gold(stored: Path) -> None:
    """All made-up rows have the same prompt; those of generation have the same gold too."""
    for line in gzip.decompress((stored / OUTCOMES).read_bytes()).decode().splitlines():
        outcome = json.loads(line)
        assert outcome["inputs"] == sha256(f"{'0' * 64} x".encode()).hexdigest()[:8] * 60


def test_a_reference_keeps_neither_paths_nor_what_was_asked_for(make: Make, tmp_path: Path) -> None:
    run = make(tmp_path / "run", CELLS[:3])
    record_file = run / "run.json"
    told = json.loads(record_file.read_text())
    told |= {"options": {"store": str(tmp_path)}, "asked": {"cells": [], "seeds": [42]}}
    record_file.write_text(json.dumps(told))
    text = (record([run], tmp_path / "reference") / "reference.json").read_text()
    assert str(tmp_path) not in text
    assert not {"options", "asked"} & set(json.loads(text)["recorded"][0])


def test_the_references_that_ship_name_no_path_of_a_machine() -> None:
    shipped = sorted(default_folder().rglob("reference.json"))
    assert len(shipped) > 10
    for path in shipped:
        assert not re.findall(r'"/[^"]*"', path.read_text()), path


def test_recording_refuses_what_must_not_be_pooled(
    make: Make, tmp_path: Path, stored: Path
) -> None:
    ours = make(tmp_path / "a", CELLS[:3])
    other = make(tmp_path / "b", CELLS[:3], protocol="corrected")
    with pytest.raises(ReproError, match="protocol differs") as caught:
        record([ours, other], tmp_path / "out")
    assert caught.value.exit_code == 2
    with pytest.raises(ReproError, match="holds a reference") as caught:
        record([ours, stored.parent], tmp_path / "out")
    assert caught.value.exit_code == 2
    with pytest.raises(ReproError, match="exists") as caught:
        record([stored, ours], stored)
    assert "remove" not in str(caught.value.hint)
    untold = make(tmp_path / "untold", CELLS[:3])
    (untold / "run.json").unlink()
    with pytest.raises(ReproError, match=r"run\.json is missing") as caught:
        record([untold], tmp_path / "out")
    assert caught.value.exit_code == 3
    unlike = make(tmp_path / "c", CELLS[:3], noise="other luck")
    with pytest.raises(ReproError, match="differs from an earlier"):
        record([ours, unlike], tmp_path / "out")
    with pytest.raises(ReproError, match="exists"):
        record([ours], stored)
    assert not (tmp_path / "out").exists()


def test_seeds_with_other_prompts_are_not_pooled(
    make: Make, edit: Callable[..., None], tmp_path: Path
) -> None:
    one = make(tmp_path / "a", CELLS[:3], seeds=(1,))
    two = make(tmp_path / "b", CELLS[:3], seeds=(2,))
    tuned = next(cell for cell in CELLS[:3] if cell.variant.name != "base")
    path = two / f"samples/{tuned.name}.seed2.jsonl"
    edit(path, lambda rows: rows[4].update(prompt_sha256="1" * 64))
    digest = sha256(path.read_bytes()).hexdigest()
    edit(
        two / "results.jsonl",
        lambda lines: [
            x.update(samples_sha256=digest) for x in lines if x["samples"].endswith(path.name)
        ],
    )
    with pytest.raises(ReproError, match=r"prompts or golds of .* differ from those of another"):
        record([one, two], tmp_path / "out")


def test_a_fine_tune_trained_twice_is_not_pooled(make: Make, tmp_path: Path) -> None:
    """Its cells would be of two models, and its facts of one."""
    tuned = [cell for cell in cells(["1"]) if cell.variant.name == "paws-ft-2000"]
    one = make(tmp_path / "a", tuned[:1], seeds=(1,))
    two = make(tmp_path / "b", tuned[1:2], seeds=(1,), machine="B", noise="apart")
    with pytest.raises(ReproError, match="was trained twice, apart") as caught:
        record([one, two], tmp_path / "out")
    assert "repro merge" in caught.value.hint
