"""The authors' data files: path, git blob id, size and hash of each, and the check of bytes."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.spec.tasks import Part, Split

_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class Entry:
    """A data file.

    Attributes:
        part: what its rows are for.
        path: where it lies, relative to the data folder, with forward slashes.
        blob: its git blob id (40 hex digits): SHA-1 over a header with the length and the bytes.
        size: bytes, None where not known.
        sha256: 64 hex digits, None where not known.
        rows: rows in it, None where not known.
    """

    part: Part
    path: str
    blob: str
    size: int | None = None
    sha256: str | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):  # no "..", no leading slash, no backslash, no drive
            raise ValueError(f"path '{self.path}' could leave the data folder")
        for name, digest, length in (("blob", self.blob, 40), ("sha256", self.sha256, 64)):
            if digest is not None and not (_HEX.fullmatch(digest) and len(digest) == length):
                raise ValueError(f"{name} of {self.path} is not {length} hex digits: '{digest}'")
        if self.size is not None and self.size < 0:
            raise ValueError(f"size of {self.path} is negative")

    def mismatch(self, content: bytes) -> str:
        """What is wrong with these bytes, as "expected ..., found ..."; empty if they match."""
        if self.sha256 is None:
            kind, expected, found = "git blob id", self.blob, blob_id(content)
        else:
            kind, expected, found = "sha256", self.sha256, hashlib.sha256(content).hexdigest()
        if expected == found:
            return ""
        wrong_size = self.size is not None and self.size != len(content)
        sizes = f" ({len(content):,} bytes, not {self.size:,})" if wrong_size else ""
        return f"expected {kind} {expected}, found {found}{sizes}"


@dataclass(frozen=True)
class Manifest:
    """All files of one commit.

    Attributes:
        repository: owner and name on the git hosting.
        folder: the data folder inside the repository.
    """

    repository: str
    commit: str
    folder: str
    entries: tuple[Entry, ...]

    @property
    def base_url(self) -> str:
        """Where the raw files lie; a file's path goes behind it."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.folder}/"

    def entry(self, part: Part) -> Entry:
        """The file of a part.

        Raises:
            ReproError: the authors published no such part.
        """
        for entry in self.entries:
            if entry.part == part:
                return entry
        sizes = [str(e.part) for e in self.entries if e.part.name == part.name]
        raise ReproError(
            f"the authors' data has no {part}",
            hint=f"there is: {', '.join(sizes)}" if sizes else "",
            exit_code=EXIT_MISSING,
        )

    def select(self, parts: Iterable[Part] | None) -> tuple[Entry, ...]:
        """The files of these parts, each once; all of them for None."""
        if parts is None:
            return self.entries
        return tuple(self.entry(part) for part in dict.fromkeys(parts))


def blob_id(content: bytes) -> str:
    """The id git gives to a file of these bytes (40 hex digits)."""
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def parse_part(text: str) -> Part:
    """The part of a printed name such as `train/xsum/2000`; raises ValueError."""
    split, _, rest = text.partition("/")
    name, _, size = rest.partition("/")
    if size and not (size.isascii() and size.isdigit()):
        raise ValueError(f"'{text}' is not a part: the size is no number")
    split_name: Split = split  # type: ignore[assignment]  # Part checks it
    return Part(split_name, name, int(size or 0))


def parse_manifest(text: str) -> Manifest:
    """A manifest from its JSON.

    Raises:
        ValueError: a missing field, a malformed hash, a path or part given twice, or a path
            that could leave the data folder.
    """
    tables: dict[str, Any] = json.loads(text)
    try:
        entries = tuple(
            Entry(**{**table, "part": parse_part(table["part"])}) for table in tables["files"]
        )
        manifest = Manifest(tables["repository"], tables["commit"], tables["folder"], entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"manifest: missing or wrong field ({error})") from error
    for what in (entry.path for entry in entries), (str(entry.part) for entry in entries):
        names = list(what)
        if len(set(names)) != len(names):
            raise ValueError("manifest: a path or part is given twice")
    return manifest


@cache
def authors_manifest() -> Manifest:
    """The manifest of the authors' commit, shipped beside this file."""
    return parse_manifest(files("repro.data").joinpath("manifest.json").read_text("utf-8"))
