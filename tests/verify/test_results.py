"""Results folders: what is refused, with file and line; what is kept apart or only warned of."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.reading import read_results

CELLS = study().claim_cells(claims()["C12"])
Make = Callable[..., Path]
Edit = Callable[..., None]


@pytest.fixture(scope="module")
def original(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("results") / "run", CELLS, seeds=(1, 2), n=20)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def test_a_sound_folder_is_read_whole(folder: Path) -> None:
    (run,) = read_results(folder).runs
    assert len(run.cells) == sum(1 if c.variant.name == "base" else 2 for c in CELLS)
    assert run.seeds == (1, 2)
    assert all(result.outcomes is not None for result in run.cells.values())
    assert not read_results(folder).warnings


def field(index: int, **changes: object) -> Callable[[list[dict]], None]:
    return lambda lines: lines[index].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (field(4, value=float("nan")), "line 5.*NaN"),
        (field(4, value=1.2), "line 5.*'value'"),
        (field(4, value=0.123), "line 5.*'value' is 0.123, but .* gives 0"),
        (field(4, stderr=9.0), "line 5.*'stderr' is 9.0, but"),
        (field(4, interval=[0.99, 1.0]), "line 5.*'interval' is .*, but"),
        (field(4, n=19), "line 5.*'n'"),
        (field(4, stderr=-1.0), "line 5.*'stderr'"),
        (field(4, cell="xsum-ft-2000.xsum.p1.3"), "line 5.*but the cell is"),
        (field(4, cell="xsum-ft-2000.xsums.p1.1"), "line 5.*unknown cell"),
        (field(4, cell="mistral.xsum.p1.1"), "line 5.*unknown cell"),
        (field(4, shots=7), "line 5.*but the cell is"),
        (field(4, samples_sha256="0" * 64), "hash.*line 5"),
        (field(4, samples="../elsewhere.jsonl"), "line 5.*'samples'"),
        (lambda lines: lines.append(lines[4]), "second time"),
        (lambda lines: lines[4].pop("key"), "line 5.*'key' is missing"),
        (lambda lines: lines.append([]), "not a JSON object"),
    ],
)
def test_bad_lines_are_refused_with_file_and_line(
    folder: Path, edit: Edit, change: object, message: str
) -> None:
    edit(folder / "results.jsonl", change)
    with pytest.raises(ReproError, match=message) as caught:
        read_results(folder)
    assert caught.match(r"results\.jsonl")
    assert caught.value.exit_code == 1
    assert caught.value.hint


def sample_path(folder: Path) -> Path:
    return folder / "samples" / "xsum-ft-2000.peerread.p1.1.seed1.jsonl"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (field(2, score=1.5), "line 3.*'score'"),
        (field(2, row=1), "line 3.*row 1.*second time"),
        (field(2, row=-1), "line 3.*'row'"),
        (lambda lines: lines[2].pop("text"), "line 3.*'text'"),
        (lambda lines: lines[2].pop("prompt_sha256"), "line 3.*'prompt_sha256' is None"),
        (field(2, gold=1), "line 3.*'gold' is 1"),
        (lambda lines: lines.clear(), "empty"),
    ],
)
def test_bad_samples_are_refused_even_when_hashes_were_made_to_agree(
    folder: Path, edit: Edit, change: object, message: str
) -> None:
    from hashlib import sha256

    edit(sample_path(folder), change)
    new = sha256(sample_path(folder).read_bytes()).hexdigest()

    def follow(lines: list[dict]) -> None:
        for line in lines:
            if line["samples"].endswith(sample_path(folder).name):
                line["samples_sha256"] = new

    edit(folder / "results.jsonl", follow)
    with pytest.raises(ReproError, match=message):
        read_results(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (field(0, prediction="negative"), "largest logit"),
        (field(0, score=0), "unlike prediction"),
        (lambda lines: lines[0].pop("prediction"), "lacks the prediction"),
        (field(0, prediction={"positive": 1}), "line 1: field 'logits' lacks the prediction"),
        (field(0, prediction=["positive"]), "line 1: field 'logits' lacks the prediction"),
        (field(0, logits={"positive": float("nan"), "negative": 0.0}), "logits"),
        (field(0, logits={"positive": None, "negative": 0.0}), "logits"),
    ],
)
def test_classification_samples_must_agree_with_themselves(
    make: Make, edit: Edit, reseal: Edit, tmp_path: Path, change: object, message: str
) -> None:
    cell = study().claim_cells(claims()["C2"])[0]
    folder = make(tmp_path / "run", [cell], seeds=(1,), n=10, skill={cell: 1.0})
    path = next((folder / "samples").iterdir())
    edit(path, change)
    reseal(folder, cell.name, 1 if ".seed1" in path.name else None)
    with pytest.raises(ReproError, match=message):
        read_results(folder)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"study": "scale"}, "study"),
        ({"study": {"name": 3}}, "study.name"),
        ({"study": {}}, "study.name"),
        ({"budgets": {"reduced": []}}, "budgets.reduced"),
        ({"parts": [{"cells": 0.5}]}, "parts[0].cells"),
    ],
)
def test_a_record_of_another_form_is_refused_with_its_field(
    folder: Path, told: dict[str, object], field: str
) -> None:
    record = json.loads((folder / "run.json").read_text()) | told
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(ReproError, match=rf"run\.json: field '{re.escape(field)}'"):
        read_results(folder)


def test_a_dropped_row_is_seen(folder: Path, edit: Edit) -> None:
    edit(sample_path(folder), lambda lines: lines.pop(7))
    with pytest.raises(ReproError, match="hash is not the one"):
        read_results(folder)


def test_fewer_rows_that_agree_with_themselves_are_named(
    folder: Path, edit: Edit, reseal: Edit
) -> None:
    edit(sample_path(folder), lambda lines: lines.pop(7))
    reseal(folder, "xsum-ft-2000.peerread.p1.1", 1)
    (warning,) = read_results(folder).warnings
    assert "peerread have 19 to 20 rows" in warning


def test_a_swapped_variant_is_seen_by_its_weights(folder: Path, edit: Edit) -> None:
    def swap(lines: list[dict]) -> None:
        a, b = (
            next(x for x in lines if x["cell"] == f"{v}.peerread.p1.1" and x["seed"] == 1)
            for v in ("xsum-ft-2000", "xsum-fticl1-2000")
        )
        for name in ("value", "stderr", "model_key", "key"):
            a[name], b[name] = b[name], a[name]
        for x, y in ((a, b), (b, a)):
            x["samples_sha256"] = y["samples_sha256"] if x is a else x["samples_sha256"]
        paths = [folder / x["samples"] for x in (a, b)]
        texts = [path.read_text() for path in paths]
        paths[0].write_text(texts[1])
        paths[1].write_text(texts[0])
        from hashlib import sha256

        for x, path in ((a, paths[0]), (b, paths[1])):
            x["samples_sha256"] = sha256(path.read_bytes()).hexdigest()

    edit(folder / "results.jsonl", swap)
    with pytest.raises(ReproError, match=r"'model_key' is that of xsum-ft\S* seed 1"):
        read_results(folder)


def test_a_changed_seed_is_seen_by_its_weights(folder: Path, edit: Edit) -> None:
    def change(lines: list[dict]) -> None:
        one, two = (
            next(x for x in lines if x["cell"] == "xsum-ft-2000.peerread.p1.1" and x["seed"] == s)
            for s in (1, 2)
        )
        lines.remove(two)
        (folder / two["samples"]).unlink()
        (folder / one["samples"]).rename(folder / two["samples"])
        one.update(seed=2, samples=two["samples"])

    edit(folder / "results.jsonl", change)
    with pytest.raises(ReproError, match="'model_key' is that of xsum-ft-2000 seed 1"):
        read_results(folder)


def test_other_protocols_in_the_folder_become_runs_of_their_own(folder: Path, edit: Edit) -> None:
    def change(lines: list[dict]) -> None:
        for line in lines[:3]:
            line["protocol"] = "corrected"

    edit(folder / "results.jsonl", change)
    results = read_results(folder)
    sizes = {run.protocol: len(run.cells) for run in results.runs}
    assert sizes["corrected"] == 3
    assert len(sizes) == 2
    assert any("kept apart" in warning for warning in results.warnings)


def test_missing_samples_are_warned_of(folder: Path) -> None:
    sample_path(folder).unlink()
    results = read_results(folder)
    assert any("no samples file" in warning for warning in results.warnings)
    assert sum(result.outcomes is None for result in results.runs[0].cells.values()) == 1


def test_no_results_and_several_runs(folder: Path, tmp_path: Path, make: Make) -> None:
    with pytest.raises(ReproError, match=r"results\.jsonl") as caught:
        read_results(folder / "samples")
    assert caught.value.exit_code == 3
    make(tmp_path / "other", CELLS[:2], protocol="corrected")
    assert {run.protocol for run in read_results(tmp_path).runs} == {"published-code", "corrected"}


def test_fine_tunes_of_several_machines_are_named(folder: Path, edit: Edit) -> None:
    edit(folder / "finetunes.jsonl", field(0, machine={"device": "cpu B"}))
    (warning,) = read_results(folder).warnings
    assert "2 kinds of machines" in warning
    assert "device cpu B" in warning


def test_texts_may_hold_any_character(folder: Path, edit: Edit, reseal: Edit) -> None:
    """U+2028 and U+0085 end lines for str.splitlines, but not lines of a file."""
    path = sample_path(folder)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["text"] = "a\u2028b\u0085c"
    text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    path.write_text(text, encoding="utf-8")
    from hashlib import sha256

    new = sha256(path.read_bytes()).hexdigest()

    def follow(table: list[dict]) -> None:
        for line in table:
            if line["samples"].endswith(path.name):
                line["samples_sha256"] = new

    edit(folder / "results.jsonl", follow)
    assert read_results(folder).runs[0].cells


def test_final_loss_is_the_mean_of_the_last_tenth(folder: Path, edit: Edit) -> None:
    losses = [1.0] * 18 + [0.5, 0.3]
    edit(folder / "finetunes.jsonl", field(0, losses=losses))
    (run,) = read_results(folder).runs
    first = json.loads((folder / "finetunes.jsonl").read_text().splitlines()[0])
    found = next(t for t in run.tuned.values() if t.key == first["key"])
    assert found.final_loss == pytest.approx(0.4)


def test_an_empty_folder_beside_others_is_not_passed_over(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "all" / "a", CELLS[:2])
    (make(tmp_path / "all" / "b", CELLS[:2]) / "results.jsonl").write_text("")
    with pytest.raises(ReproError, match=r"b/results\.jsonl is empty") as caught:
        read_results(tmp_path / "all")
    assert caught.value.exit_code == 3
