"""The one error that a user can mend, and the exit codes of every command."""

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class ReproError(Exception):
    """Something that the user can mend: what is wrong, and the next command to try.

    Shown without a traceback; any other exception is a bug, keeps its traceback and ends with 70.

    Attributes:
        hint: what to do about it, usually a command; may be empty.
        exit_code: the exit code of the command that meets it.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


def missing(message: str, hint: str = "") -> ReproError:
    """An error for what is not there, or not what it must be (exit code 3)."""
    return ReproError(message, hint=hint, exit_code=EXIT_MISSING)


def unknown(what: str, name: str, valid: Iterable[str]) -> ReproError:
    """An error for a name that does not exist, with the nearest valid ones (exit code 2)."""
    names = sorted(valid)
    near = get_close_matches(name, names, n=3, cutoff=0.4) or names[:8]
    more = "" if len(near) == len(names) else f" ({len(names)} in all)"
    return ReproError(f"unknown {what} '{name}'", hint=f"nearest: {', '.join(near)}{more}")
