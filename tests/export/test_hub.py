"""Uploads, against a stand-in for the hub."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import cli
from repro.errors import ReproError

TOKEN = "hf_secretOfThisTest"


class Hub:
    """What was uploaded: repositories, whether private, and their files."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, value: object, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer({"id": "owner/name", "sha": "0" * 40, "siblings": []})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer({"error": "no token"}, 401)
            path = self.path.partition("?")[0].split("/")[2:]
            if path[:2] == ["repos", "create"]:
                made = json.loads(body)
                name = f"{made.get('type') or 'model'}s/{made['organization']}/{made['name']}"
                hub.private[name] = made["visibility"] == "private"
                return self._answer({"url": f"http://{self.headers['Host']}/{name}"})
            if path[0] == "validate-yaml":
                return self._answer({"errors": [], "warnings": []})
            repo = "/".join(path[:3])
            if path[3] == "preupload":
                asked = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in asked
                ]
                return self._answer({"files": modes})
            own = hub.files.setdefault(repo, {})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    own[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/{repo}/commit/{'1' * 40}"
            return self._answer({"commitUrl": url, "commitOid": "1" * 40, "hookOutput": ""})

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    from huggingface_hub.utils import close_session

    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    # What HF_ENDPOINT sets when the process starts.
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield state
    close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def push(run: Path, form: str, out: Path, repo: str = "owner/name") -> None:
    words = ["export", str(run), "--format", form, "-o", str(out), "--push", repo]
    cli.main(words, standalone_mode=False)


def test_a_data_set_and_its_card_arrive_whole(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, "hf-dataset", tmp_path / "out")
    assert hub.private == {"datasets/owner/name": True}
    sent = hub.files["datasets/owner/name"]
    own = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*")}
    assert {"README.md", "data/samples.jsonl"} <= set(sent)
    assert all(own[name].read_bytes() == content for name, content in sent.items())


def test_a_model_card_a_fine_tune(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, "hf-model-card", tmp_path / "out")
    assert set(hub.files) == {"models/owner/name-amazon-ft-2000-seed42"}


def test_what_the_hub_refuses_is_told(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(ReproError, match=r"does not take owner/name-amazon\S*: HTTP 401") as caught:
        push(run, "hf-model-card", tmp_path / "out")
    assert caught.value.exit_code == 3
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ReproError, match="cannot be reached") as caught:
        push(run, "hf-model-card", tmp_path / "out")
    assert caught.value.exit_code == 3
    with pytest.raises(ReproError, match="--push is of the formats"):
        push(run, "csv", tmp_path / "csv")
    assert not hub.files
