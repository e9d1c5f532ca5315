"""Download of the authors' files: resumed, retried, verified, and moved into place at once."""

import http.client
import os
import shlex
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from repro.data.manifest import Entry, Manifest, authors_manifest
from repro.data.upstream import verified
from repro.errors import ReproError, missing
from repro.files import sync
from repro.locks import held
from repro.printable import counted
from repro.spec.tasks import Part

ATTEMPTS = 5
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 16
_LARGEST = 1 << 26  # of a file whose size is not known: a server cannot fill the disk
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Attributes:
        fetched: paths, relative to the data folder, that it put there.
        kept: paths that were there and matched.
    """

    fetched: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        return f"{counted(len(self.fetched), 'file')} fetched, {len(self.kept)} already there"


class _AgainError(Exception):
    """Something that may be better next time.

    Attributes:
        wait: what the server asked for, in seconds; None where no server answered.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class _RefusedError(Exception):
    """Something that stays wrong for this file; other files may do."""


def progress_bar(console: Console | None = None) -> Progress:
    """A progress display that fits `fetch`."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
    )


def fetch(
    folder: Path,
    *,
    parts: Iterable[Part] | None = None,
    base_url: str = "",
    progress: Progress | None = None,
    manifest: Manifest | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Fetched:
    """Puts the files of these parts (all for None) into a folder, those that match excepted.

    A file gets its name only once its hash is right; until then it is `<name>.part`, from which
    an interrupted download goes on. A file that is there and does not match is replaced. Of two
    processes on one folder the second waits for the first.

    Args:
        base_url: where the files lie, the authors' repository by default.
        progress: a running display to add a bar to.
        sleep: called with the seconds to wait before an attempt.

    Raises:
        ReproError: exit code 3; a file could not be had or did not match. All others were tried,
            unless the server cannot be reached at all.
    """
    folder = Path(folder)
    manifest = manifest or authors_manifest()
    base_url = (base_url or manifest.base_url).rstrip("/") + "/"
    if not base_url.startswith(("https://", "http://")):
        raise ReproError(f"'{base_url}' is no web address", hint="it begins with https://")
    progress = progress or Progress(console=Console(quiet=True), disable=True)
    entries = manifest.select(parts)
    wanted = [entry for entry in entries if not _there(folder, entry)]
    kept = tuple(entry.path for entry in entries if entry not in wanted)
    if not wanted:
        return Fetched((), kept)

    def wait() -> None:
        progress.console.print(f"another process downloads to {folder}: waiting for it")

    bar, refused = _Bar(progress, wanted), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / ".fetch.lock", waiting=wait):
            for entry in wanted:
                try:
                    _obtain(folder, entry, base_url + entry.path, bar, sleep)
                except _RefusedError as error:
                    refused.append(f"{entry.path}: {error}")
    except OSError as error:
        raise missing(
            f"cannot write to {folder}: {error.strerror}",
            "choose a folder that can be written with --data-dir",
        ) from None
    if refused:
        raise missing("\n".join(refused), _by_hand("try again, or", folder))
    return Fetched(tuple(entry.path for entry in wanted), kept)


class _Bar:
    """One bar over the bytes of all files."""

    def __init__(self, progress: Progress, entries: Iterable[Entry]) -> None:
        self.progress = progress
        self.finished = 0
        self.total = sum(entry.size or 0 for entry in entries)
        self.task = progress.add_task("", total=self.total)

    def show(self, entry: Entry, received: int) -> None:
        done = self.finished + received
        self.total = max(self.total, done)  # of two files the size is not known beforehand
        self.progress.update(self.task, description=entry.path, completed=done, total=self.total)

    def finish(self, entry: Entry, size: int) -> None:
        self.show(entry, size)
        self.finished += size


def _obtain(
    folder: Path, entry: Entry, url: str, bar: _Bar, sleep: Callable[[float], object]
) -> None:
    """Downloads one file, with all its attempts."""
    target = folder / entry.path
    part = target.with_name(target.name + ".part")
    problem = _AgainError("")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(ATTEMPTS + 1):
            if _there(folder, entry) or _finished(part, target, entry):
                bar.finish(entry, target.stat().st_size)
                return
            if attempt == ATTEMPTS:
                break
            if attempt:
                sleep(min(max(problem.wait or 0.0, 2.0 ** (attempt - 1)), _LONGEST_WAIT))
            try:
                whole = _receive(url, part, entry, bar)
            except _AgainError as error:
                problem = error
                continue
            if wrong := entry.mismatch(part.read_bytes()):
                part.unlink()
                if whole:
                    raise _RefusedError(f"{url} is not the authors' file: {wrong}; not kept")
                problem = _AgainError(f"the parts of two downloads do not fit: {wrong}")
    except OSError as error:  # the network's errors were turned into _AgainError
        raise missing(
            f"cannot write {error.filename or part}: {error.strerror}",
            "make room or choose another folder with --data-dir, then run it again",
        ) from None
    told = f"no success in {ATTEMPTS} attempts at {url}: {problem}"
    if problem.wait is not None:
        raise _RefusedError(told)
    raise missing(
        f"{entry.path}: {told}",
        _by_hand("check the network and run it again (it goes on where it stopped), or", folder),
    )


def _receive(url: str, part: Path, entry: Entry, bar: _Bar) -> bool:
    """Appends to the part what the server sends; returns whether it sent the file from its start.

    Raises:
        _AgainError: the connection failed, or ended before all that was announced had come.
        _RefusedError: the server says no.
        OSError: the part cannot be written.
    """
    have = part.stat().st_size if part.exists() else 0
    if have >= (entry.size or _LARGEST):  # it was tried, and does not match
        part.unlink()
        have = 0
    with _open(url, have, part) as response:
        resumed = have > 0 and response.status == http.HTTPStatus.PARTIAL_CONTENT
        announced = response.length
        size = start = have if resumed else 0
        with part.open("ab" if resumed else "wb") as out:
            for chunk in _chunks(response):
                size += out.write(chunk)
                bar.show(entry, size)
                if size > (entry.size or _LARGEST):
                    return not resumed
    if announced is not None and size - start < announced:
        raise _AgainError(f"the connection ended after {size - start:,} of {announced:,} bytes")
    return not resumed


def _open(url: str, have: int, part: Path) -> http.client.HTTPResponse:
    headers = {"User-Agent": "repro", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        said = f"the server answered {error.code} {error.reason} to {url}"
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            raise _AgainError(said) from None
        if error.code in _AGAIN:
            asked = error.headers.get("Retry-After", "")
            raise _AgainError(said, float(asked) if asked.isdecimal() else 0.0) from None
        raise _RefusedError(said) from None
    except ValueError as error:  # an address that is none
        raise _RefusedError(f"{url} cannot be asked: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _RefusedError(f"the certificate of {url} is not valid ({reason})") from None
        raise _AgainError(str(reason) or type(reason).__name__) from None


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body, with the network's errors told from those of the disk."""
    try:
        while chunk := response.read1(_CHUNK):  # what is there: a lost connection loses nothing
            yield chunk
    except http.client.IncompleteRead:
        raise _AgainError("the connection ended early") from None
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(str(error) or type(error).__name__) from None


def _there(folder: Path, entry: Entry) -> bool:
    return isinstance(verified(folder, entry), bytes)


def _finished(part: Path, target: Path, entry: Entry) -> bool:
    """Gives a part its name if it is the whole file."""
    if not part.exists() or entry.mismatch(part.read_bytes()):
        return False
    sync(part)
    os.replace(part, target)
    return True


def _by_hand(first: str, folder: Path) -> str:
    command = f"repro data check --data-dir {shlex.quote(str(folder))}"
    return f"{first} copy the authors' data folder to {folder} and check it with: {command}"
