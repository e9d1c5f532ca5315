"""The authors' data files: path, git blob id, size and hash of each, and the check of bytes."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, NonNegativeInt
from pydantic.dataclasses import dataclass

from repro.errors import missing
from repro.files import git_blob_id
from repro.spec.tasks import Part
from repro.tables import adapter, like

_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"  # no "..", no leading slash, no backslash, no drive


def parse_part(text: Any) -> Any:
    """The part of a printed name such as `train/xsum/2000`; raises ValueError."""
    if not isinstance(text, str):
        return text
    split, name, *size = text.split("/")
    return Part(split, name, int("/".join(size) or 0))  # type: ignore[arg-type]  # Part checks it


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Entry:
    """A data file.

    Attributes:
        part: what its rows are for.
        path: where it lies, relative to the data folder, with forward slashes.
        blob: its git blob id.
        size: bytes, None where not known.
        sha256: None where not known.
        rows: rows in it, None where not known.
    """

    part: Annotated[Part, BeforeValidator(parse_part)]
    path: Annotated[str, like(f"{_NAME}(/{_NAME})*", "it could leave the data folder")]
    blob: Annotated[str, like("[0-9a-f]{40}", "not 40 hex digits")]
    size: NonNegativeInt | None = None
    sha256: Annotated[str, like("[0-9a-f]{64}", "not 64 hex digits")] | None = None
    rows: int | None = None

    def mismatch(self, content: bytes) -> str:
        """What is wrong with these bytes, as "expected ..., found ..."; empty if they match."""
        if self.sha256 is None:
            kind, expected, found = "git blob id", self.blob, git_blob_id(content)
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
    files: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for names in {e.path for e in self.files}, {e.part for e in self.files}:
            if len(names) < len(self.files):
                raise ValueError("a path or part is given twice")

    @property
    def base_url(self) -> str:
        """Where the raw files lie; a file's path goes behind it."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.folder}/"

    def entry(self, part: Part) -> Entry:
        """The file of a part.

        Raises:
            ReproError: the authors published no such part.
        """
        for entry in self.files:
            if entry.part == part:
                return entry
        sizes = [str(e.part) for e in self.files if e.part.name == part.name]
        hint = f"there is: {', '.join(sizes)}" if sizes else ""
        raise missing(f"the authors' data has no {part}", hint)

    def select(self, parts: Iterable[Part] | None) -> tuple[Entry, ...]:
        """The files of these parts, each once; all of them for None."""
        if parts is None:
            return self.files
        return tuple(self.entry(part) for part in dict.fromkeys(parts))


def parse_manifest(text: str) -> Manifest:
    """A manifest from its JSON; raises ValueError that names what is wrong."""
    found: Manifest = adapter(Manifest).validate_json(text)
    return found


@cache
def authors_manifest() -> Manifest:
    """The manifest of the authors' commit, shipped beside this file."""
    return parse_manifest(files("repro.data").joinpath("manifest.json").read_text("utf-8"))
