"""The command for what is missing selects exactly that, with the run's own settings."""

import json
import random
import runpy
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from repro.cli.main import cli
from repro.cli.options import parse
from repro.plan.select import Request
from repro.report.model import report
from repro.report.rows import missing
from repro.results.runs import Run
from repro.spec.cells import Cell
from repro.studies.paper.figures import cells
from repro.verify.reading import read_results
from repro.verify.reference import record
from repro.verify.rerun import command_for

make: Callable[..., Path] = runpy.run_path(
    str(Path(__file__).parents[1] / "verify" / "conftest.py")
)["write_results"]
GRID = cells()


def parsed(command: str) -> tuple[Request, dict[str, Any]]:
    """What the command line makes of it."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("repro", "run")
    context = click.Context(cli.commands[name])
    options = cli.commands[name].make_context(name, words, parent=context).params
    of_running = ("out", "keep_models", "verify", "full", "attention")
    names = (*of_running, "workers", "executor", "address", "track")
    rest = {name: options.pop(name) for name in names}
    return parse(**options), rest


def run_of(tmp_path: Path, record: dict[str, Any], **options: Any) -> Run:
    folder = make(tmp_path / "a run's results", GRID[:2], n=3, **options)
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | record))
    (run,) = read_results(folder).runs
    return run


def some_sets() -> dict[str, Sequence[Cell]]:
    shuffled = random.Random(7).sample(GRID, len(GRID))
    return {
        "one": GRID[5:6],
        "a few": shuffled[:8],
        "many, of no kind": shuffled[:150],
        "all": GRID,
        "figures": cells(["1", "6"]),
        "a fine-tune": [c for c in GRID if c.variant.name == "mnli-ft-2000"],
        "a test set": [c for c in GRID if c.dataset == "xsum"],
        "both": [c for c in GRID if c.dataset in ("sst2", "yelp") and c.variant.train == "amazon"],
        "all but one": GRID[1:],
        "outside the figures": [Cell.parse("xsum-ft-4000.rte.p2.0"), *GRID[:20]],
    }


@pytest.mark.parametrize("name", some_sets())
def test_exactly_the_missing_cells_are_selected(tmp_path: Path, name: str) -> None:
    wanted = some_sets()[name]
    run = run_of(tmp_path, {})
    command = command_for(run, wanted)
    request, rest = parsed(command)
    assert set(request.cells) == set(wanted)
    assert request.profile.name == run.profile
    assert request.protocol_name == run.protocol
    assert request.rows == 3
    assert rest["out"] == run.folder
    if name in ("all", "figures", "a fine-tune", "a test set", "both"):
        assert "--cells" not in command
        assert len(command) < 250 + len(str(run.folder))


def test_settings_and_paths_are_those_of_the_run(tmp_path: Path) -> None:
    options = {"model": ["repo=a/b", "revision=" + "0" * 40], "store": "my store",
               "data-dir": "/data/it's", "engine": "vllm"}  # fmt: skip
    told = {
        "asked": {"cells": [cell.name for cell in GRID[:4]], "seeds": [42, 43]},
        "options": options,
    }
    run = run_of(tmp_path, told, profile="small", protocol="corrected")
    command = command_for(run, GRID[83:90])
    _, _, *words = shlex.split(command)
    found = cli.commands["run"].make_context("run", words).params
    assert found["model"] == tuple(options["model"])
    assert found["store"] == Path("my store")
    assert found["data_dir"] == Path("/data/it's")
    assert (found["engine"], found["seeds"], found["rows"]) == ("vllm", "42,43", 3)
    assert (found["profile"], found["protocol_name"]) == ("small", "corrected")


def test_only_seeds_that_lack_something_are_run(tmp_path: Path) -> None:
    tuned = [cell for cell in GRID if cell.variant.train][:3]
    stored = record([make(tmp_path / "stored", tuned, seeds=(1, 2, 3), n=20)], tmp_path / "ref")
    folder = make(tmp_path / "run", tuned, seeds=(1, 2), n=20)
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["seed"] != 2 or tuned[0].name not in line]
    assert len(kept) == len(lines) - 1
    (folder / "results.jsonl").write_text("".join(kept))
    (run,) = report(folder, expected=stored).runs
    (lack,) = missing(run.verified)
    assert lack.cells == (tuned[0],)
    request, _ = parsed(lack.command)
    assert request.seeds == (2,)
    assert request.cells == (tuned[0],)


def test_imported_results_are_run_by_their_own_scripts(tmp_path: Path) -> None:
    (run,) = read_results(make(tmp_path / "run", GRID[:2], n=3)).runs
    assert isinstance(run.record, dict)
    run.record["origin"] = "the authors' scripts"
    assert command_for(run, GRID[:2]).startswith("repro import-upstream")
