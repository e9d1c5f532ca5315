import hashlib
import io
import resource
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from repro.data import fetch as fetching
from repro.data.fetch import Fetched, fetch, progress_bar
from repro.data.manifest import Entry, Manifest, authors_manifest
from repro.errors import ReproError
from repro.files import git_blob_id
from repro.spec.tasks import Part

ONE, TWO = Part("test", "xsum"), Part("train", "xsum", 4000)
BODY = bytes(range(256)) * 1000
OTHER = b'[{"input": "a", "output": "b"}]'
FILES = {"/data/one.json": BODY, "/data/sub/two.json": OTHER}
# The second is known by its blob id alone, as two of the authors' files are.
MANIFEST = Manifest(
    "a/b",
    "c",
    "data",
    (
        Entry(ONE, "one.json", git_blob_id(BODY), len(BODY), hashlib.sha256(BODY).hexdigest()),
        Entry(TWO, "sub/two.json", git_blob_id(OTHER)),
    ),
)

Answer = Callable[["Handler", bytes, int], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's script says, and honestly when the script is at its end."""

    server: "Server"

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        script = self.server.script.get(self.path, [])
        answer = script.pop(0) if script else honest
        answer(self, FILES.get(self.path, b""), start)
        self.close_connection = True

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A web server that misbehaves on demand.

    Attributes:
        script: path -> answers to the next requests for it.
        asked: path and Range header of every request so far.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/data"

    def handle_error(self, *args: object) -> None:
        """A client that hangs up is no news here."""


def honest(handler: Handler, body: bytes, start: int) -> None:
    if start:
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.head(206, Content_Length=len(body) - start, Content_Range=where)
    else:
        handler.head(200, Content_Length=len(body))
    handler.wfile.write(body[start:])


def cut(size: int) -> Answer:
    """Announces the rest of the body and hangs up after `size` bytes of it."""

    def answer(handler: Handler, body: bytes, start: int) -> None:
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.head(206 if start else 200, Content_Length=len(body) - start, Content_Range=where)
        handler.wfile.write(body[start : start + size])

    return answer


def cut_chunks(handler: Handler, body: bytes, start: int) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.head(200, Transfer_Encoding="chunked")
    handler.wfile.write(b"3e8\r\n" + body[:1000] + b"\r\n3e8\r\n" + body[1000:1500])


def whole(handler: Handler, body: bytes, start: int) -> None:
    """Takes no notice of Range."""
    honest(handler, body, 0)


def another_range(handler: Handler, body: bytes, start: int) -> None:
    handler.head(206, Content_Length=len(body), Content_Range=f"bytes 0-{len(body) - 1}/*")
    handler.wfile.write(body)


def sends(content: bytes, announced: int | None = None) -> Answer:
    def answer(handler: Handler, body: bytes, start: int) -> None:
        handler.head(200, Content_Length=len(content) if announced is None else announced)
        handler.wfile.write(content)

    return answer


def status(code: int, **headers: object) -> Answer:
    return lambda handler, body, start: handler.head(code, Content_Length=0, **headers)


def silent(handler: Handler, body: bytes, start: int) -> None:
    """Hangs up without a word."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Trial:
    """A fetch into a fresh folder, and what it waited for."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.waits: list[float] = []
        self.one, self.part = folder / "one.json", folder / "one.json.part"

    def __call__(self, *parts: Part, progress: Progress | None = None) -> Fetched:
        return fetch(
            self.folder,
            parts=parts or None,
            base_url=self.server.url,
            manifest=MANIFEST,
            progress=progress,
            sleep=self.waits.append,
        )

    def fails(self, *parts: Part) -> ReproError:
        """The error of a fetch that puts nothing in place under the wanted name."""
        with pytest.raises(ReproError) as caught:
            self(*parts)
        assert caught.value.exit_code == 3
        assert f"repro data check --data-dir {shlex.quote(str(self.folder))}" in caught.value.hint
        return caught.value


@pytest.fixture
def trial(tmp_path: Path, server: Server) -> Trial:
    return Trial(tmp_path / "folder", server)


def test_files_are_fetched_once(trial: Trial) -> None:
    assert trial() == Fetched(("one.json", "sub/two.json"), ())
    assert trial.one.read_bytes() == BODY
    assert (trial.folder / "sub/two.json").read_bytes() == OTHER
    assert trial() == Fetched((), ("one.json", "sub/two.json"))
    assert len(trial.server.asked) == 2
    assert not list(trial.folder.rglob("*.part"))
    assert trial.waits == []


def test_only_asked_parts_are_fetched(trial: Trial) -> None:
    assert str(trial(TWO)) == "1 file fetched, 0 already there"
    assert not trial.one.exists()


def test_cut_connections_are_resumed(trial: Trial) -> None:
    trial.server.script["/data/one.json"] = [cut(70_000), cut(0), silent, cut(100_000)]
    trial(ONE)
    assert trial.one.read_bytes() == BODY
    ranges = [asked for _, asked in trial.server.asked]
    assert ranges == ["", *["bytes=70000-"] * 3, "bytes=170000-"]
    assert trial.waits == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "answers",
    [
        [cut(70_000), whole],
        [cut(70_000), another_range],
        [cut(70_000), status(416)],
        [cut_chunks],
        [sends(BODY, announced=len(BODY) + 100)],
        [status(503), status(429, Retry_After="7"), status(500)],
        [status(302, Location="/data/one.json"), status(301, Location="../data/one.json")],
    ],
    ids=["no-range", "another-range", "416", "chunks", "long-length", "busy", "redirect"],
)
def test_awkward_servers_are_put_up_with(trial: Trial, answers: list[Answer]) -> None:
    trial.server.script["/data/one.json"] = answers
    trial(ONE)
    assert trial.one.read_bytes() == BODY
    assert not trial.part.exists()


def test_server_that_names_a_time_is_given_it(trial: Trial) -> None:
    answers = [status(429, Retry_After="7"), status(503, Retry_After="99999"), status(503)]
    trial.server.script["/data/one.json"] = answers
    trial(ONE)
    assert trial.waits == [7, 60, 4]


@pytest.mark.parametrize(
    ("content", "announced"),
    [
        (BODY[:-1] + b"!", None),
        (b"<html>Please log in</html>", None),
        (BODY + b"more", None),
        (BODY, 1000),
        (b"", None),
    ],
    ids=["changed", "other", "longer", "short-length", "empty"],
)
def test_wrong_bytes_are_not_kept(trial: Trial, content: bytes, announced: int | None) -> None:
    trial.server.script["/data/one.json"] = [sends(content, announced)]
    error = trial.fails(ONE)
    assert hashlib.sha256(BODY).hexdigest() in str(error)
    assert "found" in str(error)
    assert "one.json" in str(error)
    assert not trial.one.exists()
    assert not trial.part.exists()
    assert trial.waits == []  # what is wrong from end to end will not be right next time
    trial(ONE)
    assert trial.one.read_bytes() == BODY


def test_file_known_by_blob_id_alone_is_checked_too(trial: Trial) -> None:
    changed = OTHER.replace(b"a", b"c")
    trial.server.script["/data/sub/two.json"] = [sends(changed)]
    error = trial.fails(TWO)
    assert git_blob_id(OTHER) in str(error)
    assert git_blob_id(changed) in str(error)
    trial(TWO)
    assert (trial.folder / "sub/two.json").read_bytes() == OTHER


def test_other_files_are_fetched_when_one_is_refused(trial: Trial) -> None:
    trial.server.script["/data/one.json"] = [status(404)]
    error = trial.fails()
    assert "404" in str(error)
    assert "/data/one.json" in str(error)
    assert (trial.folder / "sub/two.json").read_bytes() == OTHER


@pytest.mark.parametrize("code", [401, 403, 404, 410, 501])
def test_final_answers_are_not_repeated(trial: Trial, code: int) -> None:
    trial.server.script["/data/one.json"] = [status(code)] * 5
    assert str(code) in str(trial.fails(ONE))
    assert len(trial.server.asked) == 1


def test_redirect_to_a_local_file_is_not_followed(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BODY)
    trial.server.script["/data/one.json"] = [status(302, Location=f"file://{tmp_path}/secret")]
    trial.fails(ONE)
    assert not trial.one.exists()


def test_other_files_are_fetched_when_the_server_fails_for_one(trial: Trial) -> None:
    trial.server.script["/data/one.json"] = [status(500)] * 9
    assert "500" in str(trial.fails())
    assert (trial.folder / "sub/two.json").read_bytes() == OTHER


@pytest.mark.parametrize("url", ["http://[x", "https://.example.invalid"])
def test_an_address_that_is_none_is_a_message(tmp_path: Path, url: str) -> None:
    with pytest.raises(ReproError, match="cannot be asked") as caught:
        fetch(tmp_path, base_url=url, manifest=MANIFEST)
    assert caught.value.exit_code == 3


def test_attempts_end(trial: Trial) -> None:
    trial.server.script["/data/one.json"] = [status(503)] * 9
    error = trial.fails(ONE)
    assert "503" in str(error)
    assert len(trial.server.asked) == fetching.ATTEMPTS == 5
    assert trial.waits == [1, 2, 4, 8]


def test_server_out_of_reach_stops_at_the_first_file(trial: Trial) -> None:
    trial.server.server_close()
    error = trial.fails()
    assert "one.json" in str(error)
    assert "two.json" not in str(error)


def test_server_that_falls_silent_is_left(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def stall(handler: Handler, body: bytes, start: int) -> None:
        handler.head(200, Content_Length=len(body))
        handler.wfile.write(body[:1000])
        done.wait(20)

    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    trial.server.script["/data/one.json"] = [stall]
    trial(ONE)
    done.set()
    assert trial.one.read_bytes() == BODY
    assert trial.server.asked[1][1] == "bytes=1000-"


def test_changed_file_is_replaced_once_the_right_one_is_there(trial: Trial) -> None:
    trial.folder.mkdir()
    trial.one.write_bytes(b"mine")
    trial.server.script["/data/one.json"] = [status(404)]
    trial.fails(ONE)
    assert trial.one.read_bytes() == b"mine"
    trial(ONE)
    assert trial.one.read_bytes() == BODY


@pytest.mark.parametrize("left", [b"x" * 5000, b"x" * len(BODY), BODY + b"x"])
def test_part_of_something_else_is_not_built_on(trial: Trial, left: bytes) -> None:
    trial.folder.mkdir()
    trial.part.write_bytes(left)
    trial(ONE)
    assert trial.one.read_bytes() == BODY


def test_finished_part_needs_no_server(trial: Trial) -> None:
    trial.folder.mkdir()
    trial.part.write_bytes(BODY)
    trial(ONE)
    assert trial.one.read_bytes() == BODY
    assert trial.server.asked == []


class Seen(Progress):
    """A display that remembers the most bytes it was told of."""

    most = 0.0

    def update(self, task_id: object, *, completed: float = 0, **fields: object) -> None:
        self.most = max(self.most, completed)


@pytest.mark.parametrize("part", [ONE, TWO])
def test_server_cannot_fill_the_disk(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, part: Part
) -> None:
    monkeypatch.setattr(fetching, "_LARGEST", 200_000)
    path = "one.json" if part == ONE else "sub/two.json"
    trial.server.script[f"/data/{path}"] = [sends(b"x" * 5_000_000)]
    seen = Seen()
    with pytest.raises(ReproError, match="not the authors' file"):
        trial(part, progress=seen)
    assert 200_000 < seen.most < 1_000_000
    assert not list(trial.folder.rglob("*.json*"))


class Interrupted(Progress):
    """A display at which the user presses Ctrl-C once half of the file is there."""

    def update(self, task_id: object, *, completed: float = 0, **fields: object) -> None:
        if completed > len(BODY) / 2:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(trial: Trial) -> None:
    with pytest.raises(KeyboardInterrupt):
        trial(ONE, progress=Interrupted())
    kept = trial.part.stat().st_size
    assert len(BODY) / 2 < kept < len(BODY)
    assert trial.part.read_bytes() == BODY[:kept]
    assert not trial.one.exists()
    trial(ONE)
    assert trial.server.asked[1:] == [("/data/one.json", f"bytes={kept}-")]
    assert trial.one.read_bytes() == BODY


def test_full_disk_is_a_message_and_what_fits_is_kept(trial: Trial) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(ReproError) as caught:
            trial(ONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.exit_code == 3
    assert "cannot write" in str(caught.value)
    assert "one.json.part" in str(caught.value)
    assert trial.part.stat().st_size == 100_000
    trial(ONE)
    assert trial.server.asked[-1][1] == "bytes=100000-"
    assert trial.one.read_bytes() == BODY


def test_folder_that_cannot_be_made_is_a_message(trial: Trial) -> None:
    trial.folder.write_text("a file")
    with pytest.raises(ReproError, match="cannot write to") as caught:
        trial(ONE)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/data", "data"])
def test_only_web_addresses_are_fetched_from(tmp_path: Path, url: str) -> None:
    with pytest.raises(ReproError, match="no web address"):
        fetch(tmp_path, base_url=url, manifest=MANIFEST)


class Announced(io.StringIO):
    """A terminal that tells when something is printed to it."""

    def __init__(self) -> None:
        super().__init__()
        self.printed = threading.Event()

    def write(self, text: str) -> int:
        self.printed.set()
        return super().write(text)


def test_two_processes_on_one_folder_download_once(trial: Trial) -> None:
    begun, terminal = threading.Event(), Announced()

    def slow(handler: Handler, body: bytes, start: int) -> None:
        begun.set()
        terminal.printed.wait(20)
        honest(handler, body, start)

    trial.server.script["/data/one.json"] = [slow]
    first = threading.Thread(target=trial, args=(ONE,))
    first.start()
    assert begun.wait(20)
    trial(ONE, progress=Progress(console=Console(file=terminal)))
    first.join()
    assert "waiting" in terminal.getvalue()
    assert trial.one.read_bytes() == BODY
    assert len(trial.server.asked) == 1


def test_progress_ends_at_all_bytes(trial: Trial) -> None:
    trial.server.script["/data/one.json"] = [cut(70_000)]
    with progress_bar(Console(file=io.StringIO())) as progress:
        trial(progress=progress)
    (task,) = progress.tasks
    assert task.completed == task.total == len(BODY) + len(OTHER)


def test_default_place_is_the_pinned_commit() -> None:
    assert authors_manifest().base_url == (
        "https://raw.githubusercontent.com/LHRYANG/Generalization_of_FT-LLM/"
        "f3718fc8ebbef352441ace9c0b74fe316e9cd349/data/"
    )
