"""Every command as a user types it: what it prints, what it leaves behind, its exit code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from repro import __version__, profiles
from repro.cli.main import cli

Ends = Callable[..., tuple[int, str]]
ROOT = Path(__file__).parents[2]
ONE = ["run", "--cells", "base.rte.p1.0", "--rows", "2"]


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which no path is wrapped."""
    monkeypatch.setenv("COLUMNS", "300")


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def results(store: Path, tmp_path: Path, ends: Ends) -> Path:
    """Results of one cell, in a folder of their own."""
    assert ends(*ONE, "--store", store, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out"


@pytest.mark.parametrize("words", [*commands(cli)], ids=" ".join)
def test_help_explains_the_command_and_every_option(words: tuple[str, ...], ends: Ends) -> None:
    code, told = ends(*words, "--help")
    assert code == 0
    assert told.startswith(f"Usage: repro {' '.join(words)} ")
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    unexplained = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert unexplained == []


def test_the_list_of_commands_has_each_once_and_none_cut(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, told = ends("--help")
    assert code == 0
    for name in cli.commands:
        assert len(re.findall(rf"^  {name} ", told, re.M)) == 1
    assert "..." not in told.split("\nRun:\n")[1]
    assert ends("--version") == (0, f"repro, version {__version__}\n")


def test_an_unknown_command_is_wrong_usage(ends: Ends) -> None:
    code, told = ends("evaluate")
    assert code == 2
    assert "No such command 'evaluate'" in told


def complete(*words: str) -> list[str]:
    """What the shell offers for the last word."""
    found = ShellComplete(cli, {}, "repro", "_REPRO_COMPLETE")
    return [item.value for item in found.get_completions([*words[:-1]], words[-1])]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ver"], ["verify"]),
        (["run", "--figures", ""], ["1", "2", "3", "4", "5", "6", "7"]),
        (["verify", "x", "--claims", "c1"], ["C1", *(f"C{n}" for n in range(10, 19))]),
        (["plan", "--claims", "C9,C18,C1,c18"], []),
        (["plan", "--claims", "C9,C10,C1"], [f"C9,C10,C{n}" for n in (1, *range(11, 19))]),
        (["run", "--variants", "base,xsum-ft-"], [f"base,xsum-ft-{n}000" for n in (2, 4, 6)]),
        (["doctor", "--tests", "mnli"], ["mnli1", "mnli2"]),
        (["run", "--cells", "base.rte.p2"], [f"base.rte.p2.{n}" for n in (0, 3, 5, 7)]),
        (["run", "--set", "truncation"], ["truncation_side=right", "truncation_side=source"]),
        (["run", "--set", "zero_shot_blank="], ["zero_shot_blank=true", "zero_shot_blank=false"]),
        (["run", "--protocol", "p"], ["published-code", "paper-text"]),
        (["plan", "--profile", "small"], ["small", "small-bf16", "small-cpu"]),
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_values_are_completed(words: list[str], offered: list[str]) -> None:
    assert complete(*words) == offered


def test_the_line_of_the_readme_sets_completion_up(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    line = re.search(r"`(eval .*)` \(or", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert line
    program = tmp_path / "repro"
    program.write_text(f"#!{sys.executable}\nfrom repro.cli import main\nmain()\n")
    program.chmod(0o755)
    script = f"""{line[1]}
COMP_WORDS=(repro run --figures 1,); COMP_CWORD=3
_repro_completion repro
echo "${{COMPREPLY[@]}}"
"""
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    done = subprocess.run(
        [bash, "-c", script],
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [f"1,{n}" for n in range(2, 8)]


def test_profiles_are_listed_with_what_they_run_on(ends: Ends) -> None:
    code, told = ends("profiles")
    assert code == 0
    for name in profiles.names():
        assert f"{name} " in told
        assert profiles.load(name).summary.split(";")[0] in flat(told)


def test_a_plan_runs_nothing(ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = ends("plan", "--cells", "base.rte.p1.0,xsum-ft-2000.xlsum.p1.2")
    assert code == 0
    assert "xsum-ft-2000 seed 42 1 1" in flat(told)
    assert "2 models 2 2" in flat(told)
    assert not list(tmp_path.rglob("*.jsonl"))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_run_says_what_it_does_and_what_comes_next(ends: Ends, tmp_path: Path) -> None:
    where = ("--store", tmp_path / "store", "--out", tmp_path / "out")
    code, told = ends(*ONE, *where)
    assert code == 0
    assert "[1/1] base: evaluating 1 cell" in told
    assert told.splitlines()[-1] == f"next: repro verify {shlex.quote(str(tmp_path / 'out'))}"
    code, again = ends(*ONE, *where)
    assert code == 0
    assert "evaluating" not in again


def test_results_are_not_mixed(ends: Ends, results: Path, store: Path) -> None:
    before = (results / "results.jsonl").read_bytes()
    code, told = ends(*ONE, "--protocol", "corrected", "--store", store, "--out", results)
    assert code == 2
    assert "holds results of another run: protocol" in flat(told)
    assert "try: run with --out" in told
    assert (results / "results.jsonl").read_bytes() == before


def test_a_reference_is_recorded_shown_and_held_against(
    ends: Ends, results: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "stored"
    code, told = ends("expected", "record", results, "--out", stored)
    assert code == 0
    code, shown = ends("expected", "show", stored)
    assert code == 0
    assert "results 1, with 2 rows" in flat(shown)
    assert flat(shown) in flat(told)
    code, told = ends("verify", results, "--expected", stored, "--level", "L0")
    assert code == 0
    assert told.startswith("PASS: exit code 0")
    assert "bit for bit" in flat(told)
    # A changed row, its hash made to fit.
    line = json.loads((results / "results.jsonl").read_text())
    (results / "results.jsonl").write_text(json.dumps(line | {"value": 1 - line["value"]}) + "\n")
    code, told = ends("verify", results, "--expected", stored)
    assert code == 1
    assert "results.jsonl" in told


def test_two_results_are_compared(
    ends: Ends, results: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    assert ends(*ONE, "--protocol", "corrected", "--store", store, "--out", "other")[0] == 0
    code, told = ends("compare", "out", "out")
    assert code == 0
    assert "equal to the stored run, bit for bit" in flat(told)
    code, told = ends("compare", "out", "other")
    assert code in (0, 1)
    assert "other against out" in flat(told)
    assert "identity.protocol" in flat(told)
    code, told = ends("compare", "out", "nothing")
    assert code == 3
    assert "nothing: no such folder" in told
    Path("nothing").mkdir()
    assert "nothing has no results.jsonl" in ends("compare", "out", "nothing")[1]
    assert ends("expected", "record", "out", "-o", "stored")[0] == 0
    code, told = ends("verify", "stored")
    assert code == 3
    assert "it is a reference: repro expected show stored" in flat(told)


@pytest.mark.usefixtures("undrawn")
def test_a_report_is_written_whole_and_replaced(ends: Ends, results: Path, tmp_path: Path) -> None:
    out, stored = tmp_path / "report", tmp_path / "stored"
    assert ends("expected", "record", results, "--out", stored)[0] == 0
    for _ in range(2):
        code, told = ends("report", results, "-o", out, "--expected", stored)
        assert code == 0
        for name in ("report.html", "report.md", "report.json", "junit.xml", "numbers.csv"):
            assert name in told
            assert (out / name).stat().st_size > 100
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    code, told = ends("report", results, "-o", tmp_path / "mine", "--expected", stored)
    assert code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]


def test_claims_are_printed_with_their_answers(ends: Ends) -> None:
    code, told = ends("claims")
    assert code == 0
    for number in range(1, 19):
        assert f"\nC{number} " in told
    assert "agrees; one seed, n = 250 cannot show it" in told


def test_base_weights_are_fetched_once(ends: Ends, tmp_path: Path) -> None:
    code, told = ends("models", "fetch", "--store", tmp_path)
    assert code == 0
    (weights,) = tmp_path.glob("weights/*/model.safetensors")
    named = told.split("base weights in")[1]
    assert "".join(named.split()) == "".join(str(weights.parent).split())
    made = weights.stat()
    assert ends("models", "fetch", "--store", tmp_path)[0] == 0
    assert weights.stat().st_mtime_ns == made.st_mtime_ns


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["data", "check", "--data-dir", "none"], "repro data fetch --data-dir none"),
        (["audit", "--only", "A4", "--data-dir", "none"], "repro data fetch --data-dir none"),
        (["import-upstream", "none"], "name the folder that the authors' evaluation wrote to"),
        (["verify", "none"], "repro run --profile embedded"),
        (["report", "none", "-o", "report"], "repro run --profile embedded"),
        (
            ["expected", "show", "none"],
            "name one of the folders in the repository's expected_results/",
        ),
        (["models", "fetch", "--profile", "llama2-13b"], "--model revision=COMMIT"),
        (["run", "--profile", "small-cpu", "--data-dir", "none"], "repro data fetch"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else None,
)
def test_what_is_missing_ends_with_3_and_the_next_step(
    words: list[str], hint: str, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = ends(*words)
    assert code == 3
    assert hint in flat(told)
    assert "Traceback" not in told
    assert os.listdir() in ([], ["store"])


def test_a_new_profile_is_written_once_and_loads(
    ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["profiles", "new", "mine.toml", "--like", "embedded"]
    code, told = ends(*words)
    assert (code, "repro plan --profile mine.toml" in told) == (0, True)
    assert profiles.load("mine.toml").digest == profiles.load("embedded").digest
    code, told = ends(*words)
    assert (code, "mine.toml exists" in told) == (2, True)
    assert ends("profiles", "new", "mine")[0] == 2


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("profile", "compute"),
        ("model", "revision"),
        ("study", "claims"),
        ("results", "samples_sha256"),
        ("finetunes", "weight_change"),
        ("run", "identity"),
    ],
)
def test_schemas_are_json_and_name_their_fields(ends: Ends, kind: str, field: str) -> None:
    code, told = ends("schema", kind)
    assert code == 0
    assert f'"{field}": {{' in json.dumps(json.loads(told))
