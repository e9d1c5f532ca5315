"""Files that are written whole or not at all, and their hashes."""

import hashlib
import os
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(content: bytes) -> str:
    """The id git gives to a file of these bytes (40 hex digits): SHA-1 over a header and them."""
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def require_utf8(folder: Path, what: str, hint: str) -> None:
    """Refuse a folder whose name is no UTF-8: tokenizers and safetensors can open no other.

    In a locale of another encoding that may be any name with a letter beyond ASCII.

    Raises:
        ReproError: exit code 3.
    """
    try:
        named = str(folder).encode() == os.fsencode(folder)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise ReproError(
            f"{what}: its name is not UTF-8, and the libraries that read models take no other",
            hint=hint,
            exit_code=EXIT_MISSING,
        )


def sync(path: Path) -> None:
    """Flush a file's or folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that readers, and a kill at any moment, see the old or the new content.

    One process at a time writes to a folder; what a killed one left is written over by the next.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
