"""The authors' data: verified files of a local folder, read into one schema per task."""

import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import datasets

from repro.data.manifest import Entry, Manifest, authors_manifest
from repro.data.source import checked_rows
from repro.errors import ReproError, missing
from repro.spec.tasks import Part, Task

VARIABLE = "REPRO_UPSTREAM_DATA"


class UpstreamData:
    """The authors' rows, read from a folder that holds their `data` folder's content.

    Every file is verified before its rows are used; a part that was read once is kept in memory.
    """

    name = "upstream"

    def __init__(self, folder: Path, *, manifest: Manifest | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = manifest or authors_manifest()
        self._read: dict[Part, datasets.Dataset] = {}

    def sizes(self, name: str) -> tuple[int, ...]:
        """The sizes of a training set's files, ascending."""
        own = [entry.part for entry in self.manifest.files if entry.part]
        return tuple(sorted(p.size for p in own if p.split == "train" and p.name == name))

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        """All rows of a part; see `repro.data.source.Source`."""
        if part not in self._read:
            entry = self.manifest.entry(part)
            content = verified(self.folder, entry)
            if isinstance(content, ReproError):
                raise content
            self._read[part] = parse_rows(content, task, str(self.folder / entry.path))
        return self._read[part]

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        """What of these is not there or does not match, each with its remedy."""
        unread = [part for part in parts if part not in self._read]
        return check(self.folder, unread, manifest=self.manifest)


def locate(data_dir: Path | None = None) -> Path:
    """Where the authors' data lies: `data_dir`, else $REPRO_UPSTREAM_DATA, else the user's cache.

    The folder need not exist.
    """
    if data_dir is not None:
        return Path(data_dir)
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "repro" / "upstream" / authors_manifest().commit


def check(
    folder: Path, parts: Iterable[Part] | None = None, *, manifest: Manifest | None = None
) -> list[ReproError]:
    """What is wrong with the files of these parts (all for None): [] if every one matches."""
    entries = (manifest or authors_manifest()).select(parts)
    results = (verified(folder, entry) for entry in entries)
    return [result for result in results if isinstance(result, ReproError)]


def verified(folder: Path, entry: Entry) -> bytes | ReproError:
    """The bytes of a file if they match the manifest, else what is wrong and how to mend it."""
    path = Path(folder) / entry.path
    fetch = f"repro data fetch --data-dir {shlex.quote(str(folder))}"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return missing(f"{entry.part}: {path} is not there", f"download it with: {fetch}")
    except OSError as error:
        said = f"{entry.part}: {path} cannot be read ({error.strerror})"
        return missing(said, "name a folder that can be read with --data-dir")
    if wrong := entry.mismatch(content):
        said = f"{entry.part}: {path} is not the authors' file: {wrong}"
        return missing(said, f"replace it with: {fetch}")
    return content


def parse_rows(content: bytes, task: Task, file: str) -> datasets.Dataset:
    """Rows from the authors' JSON: a list of objects of strings; keys of no task are ignored.

    Args:
        file: its name, for messages.

    Raises:
        ReproError: names the file, the row (counted from 0) and the field that is wrong.
    """
    hint = "take the authors' file: repro data fetch"
    try:
        tables = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise missing(f"{file}: not UTF-8 JSON ({error})", hint) from None
    if not isinstance(tables, list) or not tables:
        raise missing(f"{file}: not a list of rows", hint)
    return checked_rows(tables, task, file, hint=hint)
