"""The authors' data: verified files of a local folder, read into one schema per task."""

import json
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets

from repro.data.manifest import Entry, Manifest, authors_manifest
from repro.data.source import Part, features
from repro.errors import EXIT_MISSING, ReproError
from repro.paper.tasks import Task

VARIABLE = "REPRO_UPSTREAM_DATA"
_SURROGATE = re.compile("[\ud800-\udfff]")
NO_MAJORITY = "-"
"""The gold label of nli rows on which the annotators did not agree (AUDIT A5)."""


class UpstreamData:
    """The authors' rows, read from a folder that holds their `data` folder's content.

    Every file is verified before its rows are used; a part that was read once is kept in memory.

    Args:
        folder: the folder with `summary`, `question`, `sentiment`, `detection`, `inference`.
        manifest: the files and their hashes.
    """

    name = "upstream"

    def __init__(self, folder: Path, *, manifest: Manifest | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = manifest or authors_manifest()
        self._read: dict[Part, datasets.Dataset] = {}

    def rows(self, part: Part) -> datasets.Dataset:
        """All rows of a part in file order, with the columns of `features(part.task)`.

        Raises:
            ReproError: the file is not there, does not match its hash, or is malformed.
        """
        if part not in self._read:
            entry = self.manifest.entry(part)
            content = verified(self.folder, entry)
            if isinstance(content, ReproError):
                raise content
            self._read[part] = parse_rows(content, part.task, str(self.folder / entry.path))
        return self._read[part]

    def digest(self, part: Part) -> str:
        """The git blob id of the part's file, which is known even for files not at hand."""
        return f"git-blob:{self.manifest.entry(part).blob}"

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
        return ReproError(
            f"{entry.part}: {path} is not there",
            hint=f"download it with: {fetch}",
            exit_code=EXIT_MISSING,
        )
    except OSError as error:
        return ReproError(
            f"{entry.part}: {path} cannot be read ({error.strerror})",
            hint="name a folder that can be read with --data-dir",
            exit_code=EXIT_MISSING,
        )
    if wrong := entry.mismatch(content):
        return ReproError(
            f"{entry.part}: {path} is not the authors' file: {wrong}",
            hint=f"replace it with: {fetch}",
            exit_code=EXIT_MISSING,
        )
    return content


def parse_rows(content: bytes, task: Task, file: str) -> datasets.Dataset:
    """Rows from the authors' JSON: a list of objects of strings; keys of no task are ignored.

    Args:
        content: the bytes of a file, verified or not.
        file: its name, for messages.

    Raises:
        ReproError: names the file, the row (counted from 0) and the field that is wrong.
    """
    try:
        tables = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _malformed(file, f"not UTF-8 JSON ({error})") from None
    if not isinstance(tables, list) or not tables:
        raise _malformed(file, "not a list of rows")
    columns: dict[str, list[Any]] = {field: [] for field in (*task.fields, "output")}
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            raise _malformed(file, f"row {number} is not an object")
        for field, column in columns.items():
            if wrong := _wrong(task, field, table.get(field)):
                raise _malformed(file, f"row {number}, field '{field}': {wrong}")
            column.append(table[field])
    columns["row"] = list(range(len(tables)))
    return datasets.Dataset.from_dict(columns, features=features(task))


def _wrong(task: Task, field: str, value: object) -> str:
    """What is wrong with a field's value; empty if nothing is."""
    if value is None:
        return "missing"
    if not isinstance(value, str):
        return f"not a string but {type(value).__name__}"
    if _SURROGATE.search(value):
        return "half of a surrogate pair, which is no text"
    if field == "output":
        if not value:
            return "empty"
        if task.labels and value not in (*task.labels, NO_MAJORITY):
            return f"'{value}' is not one of {', '.join(task.labels)} or '{NO_MAJORITY}'"
    return ""


def _malformed(file: str, what: str) -> ReproError:
    return ReproError(
        f"{file}: {what}",
        hint="take the authors' file: repro data fetch",
        exit_code=EXIT_MISSING,
    )
