"""`repro run` fetches what it needs of the authors' data, unless told where it lies."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from repro.cli.options import fetch_data, parse
from repro.data import fetch, upstream
from repro.data.manifest import Manifest, authors_manifest
from repro.data.upstream import VARIABLE, check, locate
from repro.errors import ReproError
from repro.files import git_blob_id
from repro.models.spec import EMBEDDED
from repro.plan.plan import needed_parts
from repro.plan.select import Request
from repro.studies.paper.tasks import task_of

# Known by its blob id alone, and not at hand.
ABSENT = "summary/xsum_train_4000.json"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def write_data(folder: Path) -> Manifest:
    """Files of one row where the authors' manifest has theirs, and the manifest of them."""
    authors, entries = authors_manifest(), []
    for entry in authors.files:
        task = task_of(entry.part)
        row = dict.fromkeys((*task.fields, "output"), f"text of {entry.part}")
        content = json.dumps([row | {"output": (*task.labels, "text")[0]}]).encode()
        known = replace(entry, blob=git_blob_id(content), size=None, sha256=None, rows=None)
        if entry.path != ABSENT:
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / entry.path).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            known = replace(known, size=len(content), sha256=digest, rows=1)
        entries.append(known)
    return replace(authors, files=tuple(entries))


@pytest.fixture
def hosting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A local server in the place of the git hosting; returns the user's cache folder."""
    served = tmp_path / "served"
    manifest = write_data(served)
    for module in (fetch, upstream):
        monkeypatch.setattr(module, "authors_manifest", lambda: manifest)
    handler = partial(Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(Manifest, "base_url", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield tmp_path / "cache"
        server.shutdown()
        thread.join()


def request(
    data_dir: Path | None,
    variants: str,
    tests: str = "sst2,amazon",
    *,
    skip_missing: bool = False,
    checkpoints: Path | None = None,
) -> Request:
    nothing = dict.fromkeys(("figures", "claims", "cells", "grid", "rows", "seeds"))
    return parse(
        study="paper",
        profile="small-cpu",
        protocol_name=None,
        overrides=(),
        variants=variants,
        tests=tests,
        data_dir=data_dir,
        store=locate().parent / "store",
        checkpoints=checkpoints,
        skip_missing=skip_missing,
        model=(),
        engine="torch",
        **nothing,  # type: ignore[arg-type]
    )


def test_what_the_selection_needs_is_fetched_and_checked(hosting: Path) -> None:
    wanted = request(None, "base,amazon-ft-2000")
    parts = needed_parts(wanted)
    assert len(check(locate(), parts)) == len(parts)
    fetch_data(wanted, Console(quiet=True))
    assert check(locate(), parts) == []
    assert check(locate()) != []  # and no more than that
    assert locate().is_relative_to(hosting)


def test_a_named_copy_is_left_alone(hosting: Path, tmp_path: Path) -> None:
    fetch_data(request(tmp_path / "mine", "base"), Console(quiet=True))
    assert not (tmp_path / "mine").exists()
    assert not locate().exists()


def test_a_training_set_that_cannot_be_had_may_be_left_out(hosting: Path) -> None:
    wanted = (None, "base,xsum-ft-4000", "xsum")
    with pytest.raises(ReproError, match="404") as caught:
        fetch_data(request(*wanted), Console(quiet=True))
    assert caught.value.exit_code == 3
    fetch_data(request(*wanted, skip_missing=True), Console(quiet=True))


def test_a_model_that_is_given_needs_no_training_set(hosting: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "xsum-ft-4000").symlink_to(EMBEDDED)
    wanted = request(None, "base,xsum-ft-4000", "xsum", checkpoints=given)
    fetch_data(wanted, Console(quiet=True))
    needed = [part.split for part in needed_parts(replace(wanted, given={}))]
    assert "train" in needed
    kept = needed_parts(wanted)
    assert check(locate(), kept) == []
    assert "train" not in [part.split for part in kept]
