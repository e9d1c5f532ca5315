"""What `repro doctor` prints: a line a cause, whole commands, and the options of `repro run`."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.cli.main import cli
from repro.data.upstream import VARIABLE
from repro.errors import ReproError
from repro.machine.diagnosis import Diagnosis, causes

Ends = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ends:
    """Runs it where nothing is, without a network; its exit code, and what it printed."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)  # results go there, and a checkout may be another user's
    for name in ("repro.models.probes.Probes.weights", "repro.models.sources.require"):
        monkeypatch.setattr(name, lambda spec: "there", raising=False)

    def run(*words: str) -> tuple[int, str]:
        data = tmp_path / ("a-folder-with-a-long-name" * 5)
        where = ["--store", str(tmp_path / "store")]
        if "small-cpu" in words:  # embedded has its own data
            where += ["--data-dir", str(data)]
        code = cli.main(["doctor", *words, *where], standalone_mode=False)
        return code or 0, capsys.readouterr().out

    return run


def test_missing_files_are_one_line_and_their_command_is_whole(
    doctor: Ends, tmp_path: Path
) -> None:
    code, told = doctor("--profile", "small-cpu")
    assert code == 3
    table, _, remedies = told.partition("what to do")
    assert sum(line.startswith("data ") for line in table.splitlines()) == 1
    assert "51, such as" in " ".join(table.split())
    (line,) = (line for line in remedies.splitlines() if "repro data fetch" in line)
    assert shlex.split(line)[-1].endswith("-name")
    assert "…" not in told


def test_json_holds_every_finding(doctor: Ends) -> None:
    code, told = doctor("--profile", "small-cpu", "--json")
    found = json.loads(told)
    assert code == 3
    assert found["can_run"] is False
    files = [finding for finding in found["findings"] if finding["what"] == "data"]
    assert len(files) == 51
    (cause,) = (c for c in found["causes"] if "repro data fetch" in c["remedy"])
    assert cause["count"] == 51


def test_a_selection_narrows_what_is_looked_for(doctor: Ends) -> None:
    _, told = doctor("--profile", "small-cpu", "--cells", "base.rte.p1.3", "--json")
    files = [f["found"] for f in json.loads(told)["findings"] if f["what"] == "data"]
    assert sorted(text.split(":")[0] for text in files) == ["demonstrations/rte", "test/rte"]


@pytest.mark.parametrize(("cells", "code"), [("xsum-ft-4000.xsum.p1.0", 3), ("", 0)])
def test_models_that_are_left_out_keep_nothing_from_running(
    doctor: Ends, monkeypatch: pytest.MonkeyPatch, cells: str, code: int
) -> None:
    """Unless they are all that was asked for."""
    monkeypatch.setattr(
        "repro.data.upstream.UpstreamData.missing",
        lambda self, parts: [
            ReproError(f"{part} is not there", hint="repro data fetch", exit_code=3)
            for part in parts
            if str(part) == "train/xsum/4000"
        ],
    )
    chosen = ["--cells", cells or "base.rte.p1.3,xsum-ft-4000.xsum.p1.0"]
    assert doctor("--profile", "small-cpu", *chosen)[0] == 3
    ended, told = doctor("--profile", "small-cpu", *chosen, "--skip-missing", "--json")
    levels = [f["level"] for f in json.loads(told)["findings"] if f["what"] == "data"]
    assert (ended, levels) == (code, ["fail"] if code else ["ok", "warn"])


def test_the_embedded_profile_can_run_here(doctor: Ends) -> None:
    code, told = doctor("--profile", "embedded", "--json")
    wrong = [f for f in json.loads(told)["findings"] if f["level"] == "fail"]
    assert (code, wrong) == (0, [])


def test_it_takes_the_options_of_a_run() -> None:
    taken = {
        name: {option for parameter in cli.commands[name].params for option in parameter.opts}
        for name in ("run", "plan", "doctor")
    }
    of_running = {"--keep-models", "--verify", "--full", "--attention"}
    of_running |= {"--workers", "--executor", "--address", "--track"}
    assert taken["run"] - of_running <= taken["doctor"]
    assert taken["plan"] - {"--workers", "--gpus", "--price"} <= taken["doctor"]


def test_packages_go_into_one_command_and_failures_come_first() -> None:
    findings = [
        Diagnosis("Python", "ok", "3.12", "any"),
        Diagnosis("package a", "warn", "1", "2", "pip install a==2"),
        Diagnosis("token", "warn", "none", "one", "set HF_TOKEN"),
        Diagnosis("package b", "fail", "missing", "3", "pip install b==3"),
        Diagnosis("memory", "fail", "1 GB", "2 GB", "more memory"),
    ]
    found = causes(findings)
    assert [(cause.remedy, cause.level) for cause in found] == [
        ("pip install a==2 b==3", "fail"),
        ("more memory", "fail"),
        ("set HF_TOKEN", "warn"),
    ]
    assert found[0].summary.what == "packages"
    assert found[0].summary.found == "a 1, b missing"
    assert os.linesep not in found[0].remedy
