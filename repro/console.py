"""The kit's consoles: whatever a text holds, and whatever reads it, printing is no failure.

Texts of others (paths, names, messages) are shown as they are: no markup, no emoji codes. A
character that the terminal's encoding lacks is written as an escape. A reader that has enough, such
as `head`, does not end the command.
"""

import os
import sys
from typing import Any, TextIO

from rich.console import Console

from repro.printable import printable_lines


class _Console(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_shown(one) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> None:
        """Go on in silence: nobody reads, and the work is not done for the output's sake."""
        self.quiet = True
        silence(sys.stderr if self.stderr else sys.stdout)


def _shown(text: str) -> str:
    return printable_lines(text)


def new_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; styles are given as such, never within texts."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def prepare_streams() -> None:
    """Make stdout and stderr take any text, and be there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started the process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Send what is still to be written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
