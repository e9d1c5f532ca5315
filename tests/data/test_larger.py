"""More training rows than the authors' files hold, from a stand-in for the hub."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest

from repro.data.embedded import EmbeddedData
from repro.data.larger import formatted
from repro.data.own import OwnData
from repro.data.upstream import UpstreamData
from repro.errors import ReproError
from repro.spec.study import Study
from repro.spec.tasks import Part, Task
from repro.studies import load
from repro.studies.paper.tasks import TASKS

STUDY = load("scale")
NLI = TASKS["nli"]
(NAME,) = (name for name, _ in STUDY.larger["mnli"].files)
LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}


class Hub:
    """Serves files of one commit as the hub does."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            hub.asked.append(self.path)
            content = hub.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "RevisionNotFound")
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", self.path.split("/resolve/")[1].split("/")[0])
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield state
    close_session()
    server.shutdown()
    thread.join()
    server.server_close()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    target = BytesIO()
    datasets.Dataset.from_list(rows).to_parquet(target)
    return target.getvalue()


def serve(hub: Hub, name: str, content: bytes) -> Study:
    """The study, pinned to this content."""
    place = STUDY.larger[name]
    (file,) = (file for file, _ in place.files)
    hub.files[f"/datasets/{place.repo}/resolve/{place.revision}/{file}"] = content
    pinned = replace(place, files=((file, hashlib.sha256(content).hexdigest()),))
    return replace(STUDY, larger={**STUDY.larger, name: pinned})


class Small(EmbeddedData):
    """The embedded world as files of certain sizes."""

    name = "small"

    def sizes(self, name: str) -> tuple[int, ...]:  # type: ignore[override]
        return (20, 40)


def original(row: dict[str, str]) -> dict[str, Any]:
    """The row of the hub that the authors' form comes from."""
    return {"premise": row["input_1"], "hypothesis": row["input_2"], "label": LABELS[row["output"]]}


def made(split: str, size: int = 0) -> list[dict[str, Any]]:
    part = Part("train", "mnli", size) if split == "train" else Part(split, "mnli1")  # type: ignore[arg-type]
    return EmbeddedData().rows(part, NLI).to_list()


def test_own_rows_come_first_and_no_test_row_comes_at_all(hub: Hub) -> None:
    known = [*made("test")[:5], *made("demonstrations")[:3], *made("train", 60)]
    rows = [original(row) for row in known]
    rows.insert(10, {"premise": "a", "hypothesis": "b", "label": -1})
    rows.insert(11, {"premise": " ", "hypothesis": "b", "label": 1})
    source = OwnData(serve(hub, "mnli", parquet(rows)), Small())
    part = Part("train", "mnli", 55)
    assert source.missing([part]) == []
    found = source.rows(part, NLI)
    assert found.to_list() == made("train", 60)[:55]
    assert source.rows(Part("train", "mnli", 40), NLI).to_list() == made("train", 40)
    before = len(hub.asked)
    assert source.rows(part, NLI).to_list() == found.to_list()
    assert len(hub.asked) == before, "rows are read once"


def test_more_than_there_are_is_an_error_that_says_how_many(hub: Hub) -> None:
    study = serve(hub, "mnli", parquet([original(row) for row in made("train", 60)]))
    (error,) = OwnData(study, Small()).missing([Part("train", "mnli", 50000)])
    assert "are 60, fewer than 50,000" in str(error)
    assert "at most 60" in error.hint
    assert error.exit_code == 2


def test_an_original_that_has_moved_or_changed_is_named(hub: Hub) -> None:
    part, content = Part("train", "mnli", 50), parquet([original(r) for r in made("train", 60)])
    (moved,) = OwnData(STUDY, Small()).missing([part])
    assert "cannot be had" in str(moved)
    assert moved.exit_code == 3
    study = serve(hub, "mnli", content)
    serve(hub, "mnli", parquet([original(row) for row in made("train", 61)]))
    (changed,) = OwnData(study, Small()).missing([part])
    assert "has changed: sha256" in str(changed)
    assert changed.exit_code == 3


def test_what_is_no_parquet_file_is_named(hub: Hub) -> None:
    study = serve(hub, "mnli", b"<html>")
    (error,) = OwnData(study, Small()).missing([Part("train", "mnli", 50)])
    assert "no parquet file" in str(error)


def test_without_an_original_there_is_what_the_files_hold(tmp_path: Path) -> None:
    source = OwnData(STUDY, UpstreamData(tmp_path))
    assert source.sizes("amazon") == (2000, 4000, 6000)
    with pytest.raises(ReproError, match="has no train/amazon/50000") as caught:
        source.missing([Part("train", "amazon", 50000)])
    assert "train/amazon/6000" in caught.value.hint
    assert source.sizes("mnli") is None


UPSTREAM = os.environ.get("REPRO_UPSTREAM_DATA", "")


@pytest.mark.skipif(not UPSTREAM, reason="REPRO_UPSTREAM_DATA does not name a copy")
@pytest.mark.parametrize(
    ("name", "file", "back"),
    [
        ("mnli", "inference/multinli_train_6000.json", original),
        ("xsum", "summary/xsum_train_2000.json",
         lambda row: {"document": row["input"], "summary": row["output"], "id": "1"}),
        ("paws", "detection/paws_train_6000.json",
         lambda row: {"id": 1, "sentence1": row["input_1"], "sentence2": row["input_2"],
                      "label": ["no", "yes"].index(row["output"])}),
    ],
)  # fmt: skip
def test_the_authors_own_rows_come_out_identical(
    name: str, file: str, back: Any, tmp_path: Path
) -> None:
    """Through parquet and back: no blank, quotation mark or garbled pound sign is changed."""
    rows = json.loads((Path(UPSTREAM) / file).read_text(encoding="utf-8"))
    rows = [row for row in rows if all(str(value).strip() for value in row.values())]
    task: Task = STUDY.training[name].task
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet([back(row) for row in rows]))
    table = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    found = list(formatted(table, task, STUDY.larger[name]))
    fields = (*task.fields, "output")
    assert found == [{field: row[field] for field in fields} for row in rows]
