"""Locks between processes, on file systems with and without `flock`."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError

_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_PAUSE = 0.5
"""Seconds between two looks at another process's lock file."""


class BusyError(Exception):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a path while the block runs; the folder must be there.

    Where the file system has no `flock`, a file beside it that names its owner stands in. One whose
    owner ended on this machine is taken over.

    Args:
        waiting: called once before waiting for another process; None does not wait.

    Raises:
        BusyError: another process holds it, and `waiting` is None.
        ReproError: the path is a symbolic link (2).
        OSError: the file cannot be opened.
    """
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise BusyError from None
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            with _owned(path.with_name(f"{path.name}.owner"), waiting):
                yield
            return
        yield


def open_own(path: Path, flags: int) -> int:
    """A descriptor of a file, made if it is not there; never of what a symbolic link points to.

    Raises:
        ReproError: the path is a symbolic link (2).
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ReproError(
            f"{path} is a symbolic link, and is not written through",
            hint=f"remove the link, or name another folder: rm {path}",
        ) from None


@contextmanager
def _owned(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    told = False
    while not _take(path):
        if waiting is None:
            raise BusyError
        if not told:
            waiting()
            told = True
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    """Make the lock file unless a living process has it."""
    owner = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
    mine = path.with_name(f"{path.name}.{os.getpid()}")
    mine.write_text(owner, encoding="utf-8")
    try:
        if _abandoned(path):
            path.unlink(missing_ok=True)
        os.link(mine, path)  # with its content at once, or not at all
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, *_UNSUPPORTED):
            raise
        raise ReproError(
            f"the file system of {path.parent} has neither locks nor hard links",
            hint="name a folder on another disk with --store and --out",
            exit_code=EXIT_MISSING,
        ) from None
    finally:
        mine.unlink(missing_ok=True)
    return True


def _abandoned(path: Path) -> bool:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        if owner["host"] != socket.gethostname():
            return False
        os.kill(int(owner["process"]), 0)
    except FileNotFoundError:
        return False
    except (ProcessLookupError, ValueError, KeyError, TypeError):
        return True
    except OSError:  # it lives, and is another user's
        return False
    return False
