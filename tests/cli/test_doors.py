"""Whatever terminal, path or machine the command meets: words, and an exit code that is true."""

import errno
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from repro import locks
from repro.errors import ReproError

entry = importlib.import_module("repro.cli.main")
ONE = ["run", "--cells", "base.rte.p1.0", "--rows", "2"]
CODE = "from repro.cli import main; main()"


@pytest.mark.parametrize(
    ("encoding", "name"), [("ascii", "été".encode()), ("utf-8:strict", b"\xe9")]
)
def test_paths_that_the_terminal_cannot_write(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, name: bytes
) -> None:
    encoding, _, errors = encoding.partition(":")
    written = [io.BytesIO(), io.BytesIO()]
    for stream, buffer in zip(("stdout", "stderr"), written, strict=True):
        wrapper = io.TextIOWrapper(buffer, encoding=encoding, errors=errors or "strict")
        monkeypatch.setattr(sys, stream, wrapper)
    out = tmp_path / os.fsdecode(name)
    words = [*ONE, "--store", str(store), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["repro", *words])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    sys.stderr.flush()
    told, complained = (buffer.getvalue() for buffer in written)
    assert caught.value.code == 0
    assert complained == b""
    assert b"next: repro verify" in told
    assert (out / "results.jsonl").is_file()


@pytest.mark.parametrize("name", ["[/data]", "o[bold]x", "run:fire:1", "a\x1b[31mred"])
def test_names_are_shown_as_they_are(
    store: Path, tmp_path: Path, ends: Callable[..., tuple[int, str]], name: str
) -> None:
    code, told = ends(*ONE, "--store", store, "--out", tmp_path / name)
    assert code == 0
    assert name.replace("\x1b", "\\x1b") in "".join(told.split())
    code, told = ends("verify", tmp_path / name / "nothing")
    assert code == 3
    assert name.replace("\x1b", "\\x1b") in told


def unread(*words: object) -> int:
    """The exit code of a command whose output nobody reads, as behind `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, words)],
        stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == b""
    return done.returncode


@pytest.mark.usefixtures("warm")
def test_a_reader_that_leaves_ends_no_run_and_changes_no_verdict(
    store: Path, tmp_path: Path, ends: Callable[..., tuple[int, str]]
) -> None:
    out = tmp_path / "out"
    assert unread(*ONE, "--store", store, "--out", out) == 0
    assert len((out / "results.jsonl").read_text().splitlines()) == 1
    assert ends("expected", "record", out, "--out", tmp_path / "stored")[0] == 0
    assert unread("verify", out, "--expected", tmp_path / "stored") == 0
    assert unread("claims") == 0


def test_a_bug_ends_with_70_and_its_traceback(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[..., tuple[int, str]]
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(entry.cli, "main", broken)
    code, told = ends("run")
    assert code == 70
    assert "ZeroDivisionError: a bug" in told
    assert "says nothing about the results" in told


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "let your user read and write there"),
        (errno.EFBIG, "ulimit -f unlimited"),
        (errno.ENOSPC, "make room"),
        (errno.ESTALE, "mend it"),
    ],
)
def test_whatever_the_system_refuses_is_told(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[..., tuple[int, str]], number: int, said: str
) -> None:
    def refused(**_: object) -> None:
        raise OSError(number, os.strerror(number), "/some/\x1bfile")

    monkeypatch.setattr(entry.cli, "main", refused)
    code, told = ends("run")
    assert code == 3
    assert f"{os.strerror(number)}: /some/\\x1bfile" in told
    assert said in told
    assert "Traceback" not in told


def test_a_missing_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[..., tuple[int, str]]
) -> None:
    def light(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr(entry.cli, "main", light)
    monkeypatch.setattr("repro.extras.requirements", lambda: ["torch==2; extra == 'run'"])
    code, told = ends("run")
    assert code == 3
    assert "part of the extra 'run'" in told
    assert "[run]" in told
    assert "Traceback" not in told


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_the_whole_way_of_a_user_without_home_and_name() -> None:
    """Training, evaluation, verdict and report, in an ASCII locale and folders with Latin-1 names.

    Caches go to the temporary folder; nothing of the kit or its packages needs a home.
    """
    become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    seen = subprocess.run([*become, sys.executable, "-c", "import numpy"], check=False)
    if seen.returncode:
        pytest.skip("that user cannot read this environment")
    # Not in pytest's folders, which a second pytest closes to other users.
    with tempfile.TemporaryDirectory() as name:
        for folder in (Path(name), *Path(name).parents[:-1]):
            folder.chmod(folder.stat().st_mode | 0o055)
        temporary, own = Path(name) / "tmp", Path(name) / os.fsdecode("für".encode("latin-1"))
        for folder in (temporary, own):
            folder.mkdir()
            folder.chmod(0o777)
        _the_whole_way(become, temporary, own)


def _the_whole_way(become: list[str], temporary: Path, own: Path) -> None:
    kept = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    kept |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kept |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    kept |= {"COLUMNS": "500"}  # so that no note is wrapped, however long its path
    out = os.fsdecode("été".encode("latin-1"))

    def repro(*words: str) -> str:
        done = subprocess.run(
            [*become, sys.executable, "-c", CODE, *words],
            env=kept, cwd=own, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("note: HOME is not set")
        assert len(done.stderr.splitlines()) == 1
        return " ".join(done.stdout.split())

    cells = "base.socialqa.p1.1,amazon-ft-2000.amazon.p1.0"
    told = repro("run", "--cells", cells, "--out", out)
    assert told.endswith(r"next: repro verify '\udce9t\udce9'")
    told = repro("verify", out)
    assert told.startswith("PASS: exit code 0")
    assert "2 of 2 asked for" in told
    assert "not in it" not in told
    assert r"\udce9t\udce9-report: claims.csv" in repro("report", out, "-o", f"{out}-report")
    page = own / f"{out}-report" / "report.html"
    assert "amazon-ft-2000" in page.read_text(encoding="utf-8")
    assert {path.name for path in own.iterdir()} == {"store", out, f"{out}-report"}


def test_a_store_that_libraries_cannot_open(
    tmp_path: Path, ends: Callable[..., tuple[int, str]]
) -> None:
    """They take paths in UTF-8 only, which this is not in any locale."""
    code, told = ends(*ONE, "--store", tmp_path / os.fsdecode(b"st\xe9"), "--out", tmp_path / "out")
    assert code == 3
    assert "its name is not UTF-8" in told
    assert "try: name another folder with --store" in told
    assert not list(tmp_path.iterdir())


def test_a_working_folder_that_was_deleted(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[..., tuple[int, str]]
) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os, "getcwd", gone)
    code, told = ends("protocols")
    assert code == 3
    assert "the working folder is not there any more" in told


def test_home_in_an_option(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[..., tuple[int, str]],
) -> None:
    monkeypatch.setenv("HOME", str(store.parent))
    monkeypatch.chdir(tmp_path)
    code, _ = ends(*ONE, f"--store=~/{store.name}", "--out", "out")
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "99999999999999999999999"], "whole numbers from 0 to 4294967295"),
        (["--set", "bos_few_shot_classification=7"], "0, 1 or 2, not 7"),
        (["--set", "learning_rate=inf"], "learning_rate cannot be inf"),
        (["--cells", ""], "takes a list of names got none: ''"),
        (["--tests", " ,"], "leave the option out to take all"),
        (["--seeds", ""], "takes a list of names got none: ''"),
        (["--cells", "base.rte.p1.0", "--tests", "rte"], "leave out --tests, or --cells"),
        (["--cells", "base.rte.p1.0", "--grid", "full"], "leave out --grid, or --cells"),
        (["--data-dir", "."], "the profile embedded has its own data"),
    ],
)
def test_values_out_of_range_say_what_is_allowed(
    ends: Callable[..., tuple[int, str]], words: list[str], said: str
) -> None:
    code, told = ends("run", *words)
    assert code == 2
    assert said in told


def test_claims_are_found_in_lower_case(ends: Callable[..., tuple[int, str]]) -> None:
    code, told = ends("run", "--claims", "c9,c99")
    assert code == 2
    assert "unknown claim 'C99'" in told


@pytest.fixture
def results(store: Path, tmp_path: Path, ends: Callable[..., tuple[int, str]]) -> Path:
    """A finished results folder."""
    assert ends(*ONE, "--store", store, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("results.jsonl", b'{"cell": "\xc3', "line 1: not a JSON object"),
        ("results.jsonl", b"{}\n", "line 1: field 'cell' is missing"),
        ("results.jsonl", b"[" * 100_000, "line 1: not a JSON object"),
        ("finetunes.jsonl", b'{"variant": "nobody", "seed": 1, "key": ""}\n', "kit lacks"),
        ("run.json", b'{"format": 1, "identity": []}', "is not the record of a run"),
        ("prompts.jsonl", b"{}\n", "line 1: field 'dataset' is missing"),
        ("prompts.jsonl", b'{"dataset": "rte", "prompt": "p1", "text": ""}\n', "that is no text"),
    ],
    ids=[
        *("cut in a character", "empty object", "deep", "unknown variant", "identity"),
        *("text of nothing", "text of no row"),
    ],
)
def test_a_run_into_damaged_results_says_so(
    store: Path,
    results: Path,
    ends: Callable[..., tuple[int, str]],
    name: str,
    content: bytes,
    said: str,
) -> None:
    (results / name).write_bytes(content)
    code, told = ends(*ONE, "--store", store, "--out", results)
    assert code in (2, 3)
    assert said in told
    assert "Traceback" not in told
    assert (results / name).read_bytes() == content


@pytest.mark.parametrize("name", ["results.jsonl", "run.json", "samples/base.rte.p1.0.jsonl"])
def test_results_of_another_user_are_missing_and_no_difference(
    results: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[..., tuple[int, str]], name: str
) -> None:
    opened = io.open

    def refuse(file: object, *words: Any, **options: Any) -> Any:
        if str(file).endswith(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *words, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", refuse)  # what pathlib calls
    monkeypatch.setattr("builtins.open", refuse)
    for words in (("verify", results), ("report", results, "-o", results / "report")):
        code, told = ends(*words)
        assert code == 3
        assert f"Permission denied: {results / name}" in told
        assert "let your user read and write there" in told


def test_the_cut_tail_of_timings_is_not_glued_to(
    store: Path, results: Path, ends: Callable[..., tuple[int, str]]
) -> None:
    path = results / "timings.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": "run", "sec')
    assert ends(*ONE, "--store", store, "--out", results)[0] == 0
    text = path.read_bytes()
    assert text.startswith(whole)
    assert all("step" in json.loads(line) for line in text.splitlines())


def test_nothing_is_written_through_a_link(
    store: Path, results: Path, tmp_path: Path, ends: Callable[..., tuple[int, str]]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    (results / "timings.jsonl").unlink()
    (results / "timings.jsonl").symlink_to(precious)
    code, told = ends(*ONE, "--store", store, "--out", results)
    assert code == 2
    assert "timings.jsonl is a symbolic link" in told
    assert precious.read_text() == "years of work"


def test_a_report_is_not_put_in_the_place_of_a_link(results: Path, tmp_path: Path) -> None:
    from repro.report.folder import replace_folder

    (tmp_path / "elsewhere").mkdir()
    (results / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReproError, match="is a symbolic link") as caught:
        replace_folder(results / "report", "report.json", lambda folder: None)
    assert caught.value.exit_code == 2
    assert not [path for path in results.iterdir() if path.name.startswith(".report")]


def test_nothing_of_others_is_deleted_or_mixed_with_results(
    ends: Callable[..., tuple[int, str]], results: Path, store: Path, tmp_path: Path
) -> None:
    """Results, reports and exports in one folder, and a note that lies among them."""
    kept = {path.name for path in results.iterdir()}
    for words in (["report", results, "-o"], ["export", results, "--format", "csv", "-o"]):
        own = tmp_path / words[0]
        assert ends(*words, own)[0] == 0
        assert ends(*words, own)[0] == 0  # an older one is replaced
        code, told = ends(*ONE, "--store", store, "--out", own)
        assert (code, "holds other files, such as" in told) == (2, True)
        (own / "notes.txt").write_text("mine")
        code, told = ends(*words, own)
        assert (code, "also holds notes.txt" in told) == (2, True)
        assert (own / "notes.txt").read_text() == "mine"
    assert {path.name for path in results.iterdir()} == kept
    # What a run leaves that was killed before it wrote anything is no obstacle.
    fresh = tmp_path / "fresh"
    (fresh / "samples").mkdir(parents=True)
    (fresh / ".lock").touch()
    assert ends(*ONE, "--store", store, "--out", fresh)[0] == 0


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_folder_without_a_name_is_wrong_usage(
    ends: Callable[..., tuple[int, str]], option: str
) -> None:
    code, told = ends(*ONE, option, "")
    assert code == 2
    assert option in told
    assert "a folder's name is missing" in told


@pytest.mark.parametrize("switch", ["rows", "max_new_tokens"])
def test_none_of_what_is_scored_is_wrong_usage(
    ends: Callable[..., tuple[int, str]], switch: str
) -> None:
    code, told = ends(*ONE, "--set", f"{switch}=0")
    assert code == 2
    assert f"{switch} cannot be 0" in told


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without `flock`."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_flock")
def test_a_run_where_files_cannot_be_locked(
    store: Path, tmp_path: Path, ends: Callable[..., tuple[int, str]]
) -> None:
    code, _ = ends(*ONE, "--store", store, "--out", tmp_path / "out")
    assert code == 0
    assert not list(tmp_path.rglob(".lock.*"))


@pytest.mark.usefixtures("without_flock")
def test_lock_files_hold_until_their_owner_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.held(path), pytest.raises(locks.BusyError), locks.held(path):
        pass
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with locks.held(path):
        owner = json.loads((tmp_path / "lock.owner").read_text())
    for other, free in (({"process": ended.pid}, True), ({"host": "another"}, False)):
        (tmp_path / "lock.owner").write_text(json.dumps(owner | other))
        try:
            with locks.held(path):
                taken = True
        except locks.BusyError:
            taken = False
        assert taken == free


def test_usage_errors_of_click_keep_their_code(ends: Callable[..., tuple[int, str]]) -> None:
    code, told = ends("run", "--rows", "0")
    assert code == click.UsageError.exit_code == 2
    assert "--rows" in told
