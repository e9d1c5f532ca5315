"""A worker on a node of a cluster, and the files that it exchanges with other nodes.

It is made as a Ray actor. Nothing here loads torch before the settings that torch must start with.
"""

import hashlib
import json
import os
import queue
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import repro
from repro.bars import Relay, Shown
from repro.errors import EXIT_MISSING, ReproError
from repro.machine import numerics

PIECE = 16 * 2**20
"""Bytes of a file that are sent at a time."""


def kit() -> str:
    """The kit's version and a digest of its modules, equal where the same code runs."""
    root = Path(repro.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{repro.__version__} (modules {digest.hexdigest()[:12]})"


class RemoteWorker:
    """A worker, see the module. Its methods take and give plain values wherever kits may differ."""

    def __init__(self) -> None:
        self._said: queue.SimpleQueue[str | Shown] = queue.SimpleQueue()

    def start(
        self, root: str, token: str, threads: int, device: str, *, apart: bool = True
    ) -> dict[str, Any]:
        """Get ready for steps.

        Args:
            root: the driver's store; token: a file in it, by which a shared file system is known.
            threads, device: as the profile has them.
            apart: whether the node's REPRO_STORE, if it has one, stands before the driver's.

        Returns:
            The node's name, the kit's version, what else numbers depend on, whether the store is
            the driver's, and what weights this one holds.
        """
        numerics.prepare(threads, device=device)
        from repro.execute.worker import Worker
        from repro.plan.store import Store

        self.store = Store(Path(os.environ.get("REPRO_STORE", root) if apart else root))
        self.shares = (self.store.root / "tmp" / token).is_file()
        bars = Relay(self._said.put)
        self._worker = Worker(self.store, say=self._said.put, progress=bars, waits=False)
        return {
            "host": socket.gethostname(),
            "kit": kit(),
            "numerics": numerics.numerics(threads, device=device),
            "shares": self.shares,
            "holds": [
                (kind, folder.name)
                for kind in ("weights", "model")
                for folder in self.store.path(kind, "").glob("*")
                if self.store.has(kind, folder.name)
            ],
        }

    def said(self) -> str | Shown:
        """The next line for the user, or how far the step is; waits for it."""
        return self._said.get()

    def do(self, step: Any, sources: Mapping[tuple[str, str], Any]) -> tuple[Any, list[Any]]:
        """Do a step.

        Args:
            sources: of artefacts that are not here, the actors that have them.

        Returns:
            What came of it, see `repro.execute.schedule.Pool`, and where the store is not the
            driver's, the records that were made: artefacts with their files.
        """
        from repro.execute.local import answer

        try:
            for (kind, key), source in sources.items():
                self._fetch(kind, key, source)
            # Models that the user gave are files of the driver's machine.
            given = getattr(step, "weights", None)
            if isinstance(given, Path) and not given.is_dir():
                raise ReproError(
                    f"{given} is not there",
                    hint="put --checkpoints on a file system that all nodes see, under the same "
                    "path",
                    exit_code=EXIT_MISSING,
                )
            came: Any = answer(self._worker, step)
        except ReproError as error:
            came = error
        if isinstance(came, ReproError):
            told = f"on {socket.gethostname()}: {came}"
            came = ReproError(told, hint=came.hint, exit_code=came.exit_code)
        return came, [] if self.shares else list(self._records(step))

    def _records(self, step: Any) -> Iterator[tuple[Any, dict[str, bytes]]]:
        for artefact in step.outputs:
            if artefact.kind not in ("weights", "model") and (folder := self.store.find(*artefact)):
                yield artefact, {name: (folder / name).read_bytes() for name in _names(folder)}

    def _fetch(self, kind: str, key: str, source: Any) -> None:
        """Get an artefact from another actor; what it loses meanwhile is missed by the step."""
        import ray

        def pieces(name: str, size: int) -> Iterator[bytes]:
            for start in range(0, size, PIECE):
                yield ray.get(_files(source, "read").remote(kind, key, name, start))

        # The lock of whoever makes it, see `repro.execute.worker.locks`.
        made = "job" if kind == "model" else kind
        with (
            suppress(ray.exceptions.RayError),
            self.store.lock(made, key, waiting=lambda: None),
        ):
            sizes = ray.get(_files(source, "sizes").remote(kind, key))
            put(self.store, kind, key, {n: pieces(n, size) for n, size in sizes.items()})

    def sizes(self, kind: str, key: str) -> dict[str, int]:
        """Bytes of each file of an artefact."""
        folder = self.store.path(kind, key)
        return {name: (folder / name).stat().st_size for name in _names(folder)}

    def read(self, kind: str, key: str, name: str, start: int) -> bytes:
        """A piece of a file."""
        with (self.store.path(kind, key) / name).open("rb") as file:
            file.seek(start)
            return file.read(PIECE)

    def drop(self, kind: str, key: str) -> None:
        """Remove an artefact from this node's store."""
        self.store.drop(kind, key)


def _files(actor: Any, method: str) -> Any:
    """A method that serves files while a step is in hand."""
    return getattr(actor, method).options(concurrency_group="files")


def _names(folder: Path) -> list[str]:
    from repro.plan.store import MANIFEST

    return list(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))


def put(store: Any, kind: str, key: str, files: Mapping[str, Iterable[bytes]]) -> None:
    """Put an artefact that was made elsewhere into a store, unless it is there.

    The caller holds a lock that whoever else makes it would want.
    """
    if store.find(kind, key):
        return
    with store.create(kind, key) as folder:
        for name, pieces in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
