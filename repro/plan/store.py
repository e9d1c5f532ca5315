"""The store: artefacts on disk under content keys, safe against kills and other processes.

`ROOT/KIND/KEY/` holds an artefact and its `manifest.json` (size and sha256 of every file). It is
made in `ROOT/tmp/` and renamed into place, so a half-written artefact is never seen. A lock a key
(released by the system when its process dies) lets one process compute while others wait for it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from repro import clock
from repro.errors import EXIT_MISSING, ReproError
from repro.files import file_sha256, require_utf8, sync, write_atomically
from repro.locks import held

MANIFEST = "manifest.json"


def content_key(parts: Mapping[str, object]) -> str:
    """24 hex digits of the sha256 over the parts' canonical JSON (sorted keys, no NaN)."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Store:
    """Artefacts by kind and content key.

    Raises:
        ReproError: exit code 3, when it cannot be made or written, or its name is not UTF-8.
    """

    def __init__(self, root: Path) -> None:
        require_utf8(root, f"the store {root}", "name another folder with --store")
        self.root = root
        self._checked: set[Path] = set()
        try:
            (root / "tmp").mkdir(parents=True, exist_ok=True)
            (root / "locks").mkdir(exist_ok=True)
        except OSError as error:
            raise ReproError(
                f"the store {root} cannot be written: {error.strerror}",
                hint="name another folder with --store",
                exit_code=EXIT_MISSING,
            ) from None

    def path(self, kind: str, key: str) -> Path:
        """Where the artefact is, or would be."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Whether the artefact is there, by name alone: quick, for plans."""
        return (self.path(kind, key) / MANIFEST).is_file()

    def find(self, kind: str, key: str) -> Path | None:
        """The artefact's folder when it is there and every file matches the manifest, else None.

        A damaged artefact is put aside under `damaged/`, so that its step runs again. Each
        artefact is checked once in a process.
        """
        folder = self.path(kind, key)
        if not folder.is_dir():
            return None
        if folder not in self._checked and not _intact(folder):
            aside = self.root / "damaged" / f"{kind}-{key}"
            aside.parent.mkdir(exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(FileNotFoundError):  # another process dropped it meanwhile
                folder.rename(aside)
            return None
        self._checked.add(folder)
        return folder

    @contextmanager
    def lock(self, kind: str, key: str, *, waiting: Callable[[], None] | None) -> Iterator[None]:
        """Hold the key: another process that wants it waits until it is free.

        Args:
            waiting: called once when another process holds it; None does not wait.

        Raises:
            BusyError: another process holds it, and `waiting` is None.
        """
        path = self.root / "locks" / f"{kind}-{key}"
        with ExitStack() as stack, ExitStack() as part:

            def wait() -> None:
                assert waiting is not None
                waiting()
                part.enter_context(clock.part("wait"))

            stack.enter_context(held(path, waiting=wait if waiting else None))
            part.close()
            yield

    @contextmanager
    def create(self, kind: str, key: str) -> Iterator[Path]:
        """A temporary folder that becomes the artefact when the block ends without an error.

        The caller holds the key's lock. What an earlier, killed process left is removed first.
        """
        temporary = self.root / "tmp" / f"{kind}-{key}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            files = {}
            for path in filter(Path.is_file, sorted(temporary.rglob("*"))):
                sync(path)
                facts = {"size": path.stat().st_size, "sha256": file_sha256(path)}
                files[path.relative_to(temporary).as_posix()] = facts
            text = json.dumps(files, indent=1, sort_keys=True) + "\n"
            write_atomically(temporary / MANIFEST, text)
            target = self.path(kind, key)
            target.parent.mkdir(exist_ok=True)
            os.rename(temporary, target)
            sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def drop(self, kind: str, key: str) -> None:
        """Remove an artefact, so that it is either wholly there or not at all."""
        folder = self.path(kind, key)
        if folder.is_dir():
            aside = self.root / "tmp" / f"dropped-{kind}-{key}"
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(FileNotFoundError):  # another process did
                folder.rename(aside)
                shutil.rmtree(aside)
        self._checked.discard(folder)


def _intact(folder: Path) -> bool:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        return found == {*files, MANIFEST} and all(
            (folder / name).stat().st_size == facts["size"]
            and file_sha256(folder / name) == facts["sha256"]
            for name, facts in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
