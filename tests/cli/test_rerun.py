"""The command that verify prints for missing cells is run, and nothing is missing any more."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from repro.cli.main import cli
from repro.verify.reference import record

CELLS = ("base.sst2.p1.0", "base.rte.p1.0")


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_running_the_printed_command_completes_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("my results") / "run 1"
    done = call(
        "run", "--cells", ",".join(CELLS), "--rows", 2, "--store", "a store", "--out", out,
        "--set", "rouge_stemmer=true",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    stored = record([out], tmp_path / "stored")
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    (out / "results.jsonl").write_text(lines[0])
    done = call("verify", out, "--expected", stored)
    assert done.exit_code == 3
    (command,) = re.findall(r"^ +(repro run .*)$", done.output, re.M)
    program, *words = shlex.split(command)
    assert program == "repro"
    assert call(*words).exit_code == 0
    again = (out / "results.jsonl").read_text().splitlines(keepends=True)
    assert again == lines
    done = call("verify", out, "--expected", stored)
    assert done.exit_code == 0, done.output
    told = json.loads((out / "run.json").read_text())
    assert sorted(told["asked"]["cells"]) == sorted(CELLS)
    assert told["options"] == {"store": "a store"}
