"""The store keeps whole artefacts and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ReproError
from repro.files import write_atomically
from repro.plan.store import Store, content_key


def _make(store: Store, key: str, text: str = "content") -> None:
    with store.create("cell", key) as folder:
        (folder / "samples.jsonl").write_text(text)


def test_an_artefact_is_found_with_its_files(tmp_path: Path) -> None:
    _make(Store(tmp_path), "k")
    folder = Store(tmp_path).find("cell", "k")
    assert folder is not None
    assert (folder / "samples.jsonl").read_text() == "content"


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail() -> None:
        with store.create("cell", "k") as folder:
            (folder / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.find("cell", "k") is None
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_not_seen_and_does_not_hinder(tmp_path: Path) -> None:
    left = tmp_path / "tmp" / "cell-k"
    left.mkdir(parents=True)
    (left / "samples.jsonl").write_text("half")
    store = Store(tmp_path)
    assert store.find("cell", "k") is None
    _make(store, "k")
    assert store.find("cell", "k") is not None


@pytest.mark.parametrize("harm", ["change", "cut", "remove", "add", "manifest"])
def test_a_damaged_artefact_is_put_aside(tmp_path: Path, harm: str) -> None:
    _make(Store(tmp_path), "k")
    folder = tmp_path / "cell" / "k"
    if harm == "change":
        (folder / "samples.jsonl").write_text("CONTENT")
    elif harm == "cut":
        (folder / "samples.jsonl").write_text("cont")
    elif harm == "remove":
        (folder / "samples.jsonl").unlink()
    elif harm == "add":
        (folder / "more").write_text("x")
    else:
        (folder / "manifest.json").write_text("{")
    store = Store(tmp_path)
    assert store.find("cell", "k") is None
    assert (tmp_path / "damaged" / "cell-k").is_dir()
    _make(store, "k")
    assert store.find("cell", "k") is not None


def test_dropped_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _make(store, "k")
    assert store.find("cell", "k")
    store.drop("cell", "k")
    assert store.find("cell", "k") is None
    store.drop("cell", "k")


COMPUTE_ONCE = """
import sys
from pathlib import Path
from repro.plan.store import Store

store, log = Store(Path(sys.argv[1])), Path(sys.argv[2])
with store.lock("job", "k", waiting=lambda: None):
    if store.find("cell", "k") is None:
        with log.open("a") as file:
            file.write("computed\\n")
        with store.create("cell", "k") as folder:
            (folder / "samples.jsonl").write_text("content")
"""


def test_processes_compute_a_step_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", COMPUTE_ONCE, str(tmp_path / "store"), str(log)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert log.read_text() == "computed\n"


def test_an_unwritable_store_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproError, match="cannot be written") as caught:
        Store(tmp_path / "file")
    assert caught.value.exit_code == 3
    assert "--store" in caught.value.hint


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1))
def test_keys_do_not_depend_on_order_and_change_with_content(parts: dict[str, object]) -> None:
    backwards = dict(reversed(parts.items()))
    assert content_key(parts) == content_key(backwards)
    name = next(iter(parts))
    assert content_key(parts | {name: [parts[name]]}) != content_key(parts)


def test_atomic_writing_replaces_and_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with pytest.MonkeyPatch.context() as killed:  # another process, between the two
        killed.setattr(os, "getpid", lambda: 1)
        killed.setattr(os, "replace", lambda *_: 1 / 0)
        killed.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(ZeroDivisionError):
            write_atomically(path, "half")
    assert not path.exists()
    write_atomically(path, "old")
    write_atomically(path, json.dumps({"new": 1}))
    assert json.loads(path.read_text()) == {"new": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize("what", ["find", "drop"])
def test_what_another_process_drops_meanwhile_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Between looking at a folder and moving it."""
    store = Store(tmp_path)
    _make(store, "k")
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        shutil.rmtree(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    (store.path("cell", "k") / "samples.jsonl").unlink()
    assert getattr(store, what)("cell", "k") is None
    assert not store.has("cell", "k")
