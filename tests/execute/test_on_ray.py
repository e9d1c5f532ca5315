"""The steps on a real Ray of two nodes: the same bytes, with and without a common store."""

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import repro
from repro.cli.main import cli
from repro.errors import ReproError
from repro.execute import cluster
from repro.execute.local import Place
from repro.execute.remote import RemoteWorker, put
from repro.execute.run import run
from repro.models.spec import ModelSpec
from repro.plan.plan import Plan
from repro.plan.steps import Evaluate, Weights, steps_of
from repro.plan.store import Store

STRIKES = ["node"] * 2 + ["worker", "driver"]


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of a run that do not tell of time and place."""
    names = ["results.jsonl", "finetunes.jsonl", "prompts.jsonl"]
    files = [out / name for name in names] + sorted((out / "samples").iterdir())
    return {path.name: path.read_bytes() for path in files}


def test_two_nodes_write_the_bytes_of_one_process_whoever_dies(
    plan: Plan, tmp_path: Path, warm_python: str
) -> None:
    """Four are killed at random moments: nodes, a worker, a driver; test_kill.py has 16 more."""
    pytest.importorskip("ray", reason="Ray is not installed: the extra dev has it")
    run(plan, Store(tmp_path / "store"), tmp_path / "out", keep_models="last", say=print)
    alone = contents(tmp_path / "out")
    (tmp_path / "plan.pickle").write_bytes(pickle.dumps(plan))
    other = shutil.copytree(Path(repro.__file__).parent, tmp_path / "other" / "repro")
    with (other / "errors.py").open("a", encoding="utf-8") as module:
        module.write("# of another version\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("REPRO_STORE", None)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("ray_harness.py"), tmp_path, warm_python],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # Ray's workers look there first
        env=environment,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "apart" / "out") == alone
    # Records came to the driver; weights stayed where they were made.
    driver = tmp_path / "apart" / "store"
    assert not list(driver.glob("model/*"))
    assert not list(driver.glob("weights/*"))
    assert len([*tmp_path.glob("one/model/*"), *tmp_path.glob("two/model/*")]) >= 1
    # Made once a run, though both nodes needed it.
    assert done.stdout.split("killed")[0].count("base weights:") == 1
    assert list(tmp_path.glob("one/weights/*"))
    assert list(tmp_path.glob("two/weights/*"))
    # The node that joined with another kit was refused once, with both versions.
    (refused,) = [line for line in done.stdout.splitlines() if "refused" in line]
    assert refused.startswith(f"joined refused: the node {socket.gethostname()} would give other")
    found = re.search(r"kit (\S+ \(modules \w+\)), here (\S+ \(modules \w+\))$", refused)
    assert found is not None
    assert found[1] != found[2] == cluster.kit()
    assert contents(tmp_path / "joined" / "out") == alone
    struck: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert sorted(whom for kills in struck for whom in kills) == sorted(STRIKES)
    for number in range(len(struck)):
        assert contents(tmp_path / str(number) / "out") == alone


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("127.0.0.1:1", 3, "no Ray answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:10001", 2, "--address is HOST:PORT"),
        ("head", 2, "--address is HOST:PORT"),
        ("head:99999999", 3, "no Ray answers at head:99999999"),
    ],
)
def test_an_address_without_ray_is_told_in_one_message(
    address: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(ReproError, match=said) as caught, cluster.connected(address):
        pass
    assert caught.value.exit_code == code
    assert caught.value.hint


@pytest.mark.parametrize("reply", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b""])
def test_something_else_at_the_address_is_told_and_not_waited_for(
    reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(reply)

        threading.Thread(target=answer).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        told = f"no Ray answers at {address}: something else does"
        with pytest.raises(ReproError, match=told) as caught, cluster.connected(address):
            pass
    assert caught.value.exit_code == 3


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ReproError, match="not installed") as caught, cluster.connected(None):
        pass
    assert caught.value.exit_code == 3
    assert "[ray]" in caught.value.hint


def test_an_address_is_of_ray_alone() -> None:
    result = CliRunner().invoke(cli, ["run", "--address", "head:6379"])
    assert isinstance(result.exception, ReproError)
    assert result.exception.hint == "--executor ray --address head:6379"


NUMERICS = {"device": "cpu AVX512", "threads": 1, "torch": "2.13.0", "transformers": "5.19.0"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("torch", "2.12.0"), ("device", "cpu AVX2"), ("transformers", "not installed")],
)
def test_nodes_that_would_give_other_bytes_are_refused_with_both_versions(
    name: str, value: str
) -> None:
    node = {"host": "other", "kit": cluster.kit(), "numerics": NUMERICS}
    cluster.require_same(node, NUMERICS)
    for changed in (node | {"numerics": NUMERICS | {name: value}}, node | {"kit": "0.0.9 (abc)"}):
        with pytest.raises(ReproError, match="node other would give other bytes") as caught:
            cluster.require_same(changed, NUMERICS)
        assert caught.value.exit_code == 3
        told = (
            (value, NUMERICS[name]) if changed["kit"] == node["kit"] else ("0.0.9", cluster.kit())
        )
        assert all(str(part) in str(caught.value) for part in told)


@pytest.mark.parametrize(
    ("asked", "nodes", "found"),
    [("auto", [1, 1], 2), ("auto", [5, 3], 3), ("2", [4], 2), ("3", [1, 1], "more than this clus"),
     ("x", [1], "number"), ("auto", [], "no node of the cluster has 1 CPU")],
)  # fmt: skip
def test_actors_are_as_many_as_nodes_have_room_for(
    asked: str, nodes: Sequence[int], found: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = Place(device="cpu", threads=2 if 5 in nodes else 1)
    monkeypatch.setattr(cluster, "room_for", lambda _: sum(n // like.threads for n in nodes))
    if isinstance(found, int):
        assert cluster.places(asked, like) == [like] * found
        return
    with pytest.raises(ReproError, match=found):
        cluster.places(asked, like)


def test_a_node_that_lacks_weights_says_so_with_its_name(plan: Plan, tmp_path: Path) -> None:
    """Models that the user gave, and base weights that cannot be had."""
    worker = RemoteWorker()
    worker.start(str(tmp_path), "token", 1, "cpu")
    steps = steps_of(plan, tmp_path)
    given = next(step for step in steps if isinstance(step, Evaluate))
    spec = ModelSpec.from_table({"kind": "folder", "path": str(tmp_path / "nowhere")}, "a test")
    for step in (replace(given, weights=tmp_path / "nowhere"), Weights(key="k", spec=spec)):
        came, records = worker.do(step, {})
        assert isinstance(came, ReproError)
        assert str(came).startswith(f"on {socket.gethostname()}: ")
        assert "nowhere" in str(came)
        assert came.exit_code == 3
        assert records == []


def test_what_another_machine_made_is_put_once_and_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "cell", "k", {"samples.jsonl": [b"a", b"b"], "more/x": [b""]})
    put(store, "cell", "k", {"samples.jsonl": [b"other"]})
    assert (store.path("cell", "k") / "samples.jsonl").read_bytes() == b"ab"
    assert Store(tmp_path).find("cell", "k")


@pytest.mark.parametrize(("folder", "moved"), [("/tmp", False), ("/tmp/" + "x" * 110, True)])
def test_a_cluster_of_this_machine_has_short_paths_for_its_sockets(
    monkeypatch: pytest.MonkeyPatch, folder: str, moved: bool
) -> None:
    import ray

    monkeypatch.setenv("RAY_TMPDIR", "")  # so that it is as before afterwards
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", folder)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    with cluster.connected(None):
        assert os.environ.get("RAY_TMPDIR") == ("/tmp" if moved else None)
