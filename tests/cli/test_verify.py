"""`repro verify` on whole and on damaged results: exit codes, and what is said."""

import hashlib
import json
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from repro.cli.main import cli
from repro.errors import ReproError
from repro.metrics import summarise
from repro.spec.cells import Cell
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.verify.reference import record

make: Callable[..., Path] = runpy.run_path(
    str(Path(__file__).parents[1] / "verify" / "conftest.py")
)["write_results"]
CELLS = study().claim_cells(claims()["C12"])[:6]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    return record([results(home / "run", seeds=(1, 2, 3))], home / "stored")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return results(tmp_path / "run", seeds=(1, 2))


def results(folder: Path, seeds: tuple[int, ...]) -> Path:
    """Results with facts of the training, and what they were asked for."""
    make(folder, CELLS, seeds=seeds, n=8)
    edit(folder / "finetunes.jsonl", lambda line: line.update(
        samples=4, rows_sha256="a", order_sha256=f"b{line['seed']}", recipe={"seed": line["seed"]},
    ))  # fmt: skip
    path = folder / "run.json"
    told = {"asked": {"cells": [cell.name for cell in CELLS], "seeds": list(seeds)}}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    return folder


def edit(path: Path, change: Change, line: int | None = None) -> None:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    for one in lines if line is None else [lines[line]]:
        change(one)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


def verify(run: Path, stored: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["verify", str(run), "--expected", str(stored), *words])


def said(done: Result) -> str:
    return " ".join(done.output.split())


def test_whole_results_pass(run: Path, stored: Path) -> None:
    for words in ([], ["--full"]):
        done = verify(run, stored, *words)
        assert done.exit_code == 0, done.output
        assert done.output.startswith("PASS: exit code 0")


def test_a_claim_on_a_healthy_run_of_another_model_is_no_failure(run: Path, stored: Path) -> None:
    """None of the cells of C9 is there: missing, not different."""
    done = verify(run, stored, "--claims", "C9")
    assert done.exit_code == 3
    assert done.output.startswith("NOT COMPLETE")


def test_a_note_is_told_however_long_the_path_of_the_results_is(
    run: Path, stored: Path, tmp_path: Path
) -> None:
    edit(run / "finetunes.jsonl", lambda line: line.update(given=True))
    far = tmp_path / ("folder" * 20) / ("folder" * 20)
    far.mkdir(parents=True)
    done = verify(run.rename(far / "run"), stored)
    assert "fine-tunes given as checkpoints, not trained by the run" in said(done)


def without(name: str) -> Change:
    return lambda line: line.pop(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: edit(run / "finetunes.jsonl", without("rows_sha256")), "rows_sha256"),
        (lambda run: edit(run / "finetunes.jsonl", without("recipe"), 0), "recipe: seed: not told"),
        (lambda run: edit(run / "finetunes.jsonl", without("losses"), 0), "training loss at"),
        (lambda run: edit(run / "finetunes.jsonl", without("weight_change")), "weight change"),
        (lambda run: (run / "finetunes.jsonl").unlink(), "finetunes.jsonl"),
        (lambda run: (run / "run.json").unlink(), "run.json"),
        (lambda run: next((run / "samples").glob("xsum*")).unlink(), "1 cell with no samples file"),
        (lambda run: drop(run, lambda line: line["seed"] == 2), "seeds 2 were asked for"),
        (lambda run: drop(run, lambda line: line["cell"] == CELLS[0].name), "1 cell not run"),
        (lambda run: drop(run, lambda line: line["cell"] == CELLS[0].name and line["seed"] == 1),
         "1 cell not run"),
        (lambda run: cut(run, 5), "fewer rows than were asked for"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_and_is_no_pass(
    run: Path, stored: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(run)
    done = verify(run, stored, "--full")
    assert done.exit_code == 3, done.output
    assert done.output.split("\n")[0].startswith("NOT COMPLETE: exit code 3")
    assert message in said(done)
    if message not in ("run.json",):
        assert f"--out {shlex.quote(str(run))}" in said(done)


def drop(run: Path, which: Callable[[dict[str, Any]], bool]) -> None:
    path = run / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not which(json.loads(line))))


def cut(run: Path, rows: int) -> None:
    """Keep the first rows of every cell, and make everything agree with that."""

    def shorten(line: dict[str, Any]) -> None:
        path = run / line["samples"]
        texts = path.read_text().splitlines(keepends=True)[:rows]
        path.write_text("".join(texts))
        line["n"] = rows
        line |= {
            name: value
            for name, value in summarise(
                study().task_of(Cell.parse(line["cell"])), [json.loads(text) for text in texts]
            ).items()
            if name in line
        }
        line["samples_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        line["key"] += "cut"

    edit(run / "results.jsonl", shorten)


def double(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[0])


def reseal(run: Path, change: Callable[[Path], object]) -> None:
    """Change a samples file, and give its new hash to the line that names it."""
    edit(run / "results.jsonl", lambda line: _reseal(run, line, change), 0)


def _reseal(run: Path, line: dict[str, Any], change: Callable[[Path], object]) -> None:
    path = run / line["samples"]
    change(path)
    line["samples_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


def set_to(name: str, value: object) -> Change:
    return lambda line: line.update({name: value})


@pytest.mark.parametrize(
    ("damage", "where", "what"),
    [
        (lambda run: double(run / "results.jsonl"), "results.jsonl, line", "a second time"),
        (lambda run: double(run / "finetunes.jsonl"), "finetunes.jsonl, line", "a second time"),
        (lambda run: reseal(run, double), ".jsonl, line 9", "row 0 stands here a second time"),
        (lambda run: edit(run / "results.jsonl", without("n"), 0), "line 1", "'n' is missing"),
        (lambda run: edit(run / "results.jsonl", set_to("n", "8"), 2), "line 3", "field 'n'"),
        (lambda run: edit(run / "results.jsonl", set_to("seed", "1"), 0), "line 1", "'seed'"),
        (lambda run: edit(run / "results.jsonl", set_to("cell", []), 0), "line 1", "'cell'"),
        (lambda run: edit(run / "finetunes.jsonl", set_to("losses", ["x"]), 0), "line 1", "losses"),
        (lambda run: edit(run / "finetunes.jsonl", set_to("seed", None), 0), "line 1", "'seed'"),
        (lambda run: (run / "finetunes.jsonl").write_text("{}\n"), "line 1", "'variant' is"),
        (lambda run: (run / "finetunes.jsonl").write_text("[" * 9**6), "line 1", "not JSON"),
        (lambda run: (run / "results.jsonl").write_bytes(b"\xff{\n"), "line 1", "not JSON"),
        (lambda run: (run / "run.json").write_text("[" * 9**6), "run.json", "not JSON"),
        (lambda run: (run / "run.json").write_text('{"format": 9}'), "run.json", "'format'"),
        (lambda run: reseal(run, lambda path: edit(path, without("score"), 3)),
         ".jsonl, line 4", "not a sample"),
        (lambda run: reseal(run, lambda path: edit(path, set_to("text", None), 0)),
         ".jsonl, line 1", "'text'"),
        (lambda run: reseal(run, lambda path: path.write_text("[" * 9**6)), "line 1", "a sample"),
    ],
)  # fmt: skip
def test_what_is_doubled_or_malformed_is_named_by_file_line_and_field(
    run: Path, stored: Path, damage: Callable[[Path], object], where: str, what: str
) -> None:
    damage(run)
    done = verify(run, stored)
    assert isinstance(done.exception, ReproError)
    assert done.exception.exit_code == 1
    assert where in str(done.exception)
    assert what in str(done.exception)
    assert done.exception.hint


@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 1.5, True, [None], {"a": []}, "\ud800"])
@pytest.mark.parametrize(
    "name", ["samples", "order_sha256", "recipe", "rows_sha256", "weight_change", "losses"]
)
def test_facts_of_any_kind_give_no_traceback(
    run: Path, stored: Path, name: str, value: object
) -> None:
    edit(run / "finetunes.jsonl", set_to(name, value), 0)
    done = verify(run, stored, "--full")
    assert done.exit_code in (1, 3)
    assert done.exception is None or isinstance(done.exception, SystemExit | ReproError)


def test_asking_for_nothing_does_not_hide_what_is_there(run: Path, stored: Path) -> None:
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"asked": {"cells": []}}))
    done = verify(run, stored)
    assert done.exit_code == 0
    assert f"{len(CELLS)} of {len(CELLS)} asked for" in said(done)


def test_a_cell_of_one_row_gives_no_traceback(run: Path, stored: Path) -> None:
    cut(run, 1)
    done = verify(run, stored, "--full")
    assert done.exit_code == 3
    assert isinstance(done.exception, SystemExit)
