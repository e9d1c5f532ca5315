"""The progress bars of long commands."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def bars(console: Console) -> Progress:
    """Progress bars with a description and what is done; speed and time left are in the former.

    Bars vanish when their task ends; where output is piped nothing is drawn at all.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
