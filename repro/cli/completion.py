"""Values of options that shells complete: figures, claims, variants, test sets, cells, switches."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def listed(names: Callable[[], Iterable[str]]) -> Complete:
    """Completes the last name of a comma-separated list; names already in it are left out."""

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        before, comma, last = typed.rpartition(",")
        taken = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names()
            if name.lower().startswith(last.lower()) and name not in taken
        ]

    return complete


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Completes a single name."""

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(typed)]

    return complete


def figures() -> Iterable[str]:
    """The figures of the paper."""
    from repro.studies.paper.figures import FIGURES

    return FIGURES


def claims() -> Iterable[str]:
    """The ids of the findings."""
    from repro.studies.paper.claims import claims as known

    return known()


def variants() -> Iterable[str]:
    """The base and all fine-tunes."""
    from repro.studies.paper.cells import VARIANTS

    return VARIANTS


def tests() -> Iterable[str]:
    """The test sets."""
    from repro.studies.paper.tasks import DATASETS

    return DATASETS


def cells() -> Iterable[str]:
    """All cells of the grid."""
    from repro.studies.paper.cells import all_cells

    return (cell.name for cell in all_cells())


def switches() -> Iterable[str]:
    """Switches with each value that some protocol has."""
    from repro.studies.paper.protocols import switches as known

    for switch in known().values():
        for value in dict.fromkeys(switch.values.values()):
            text = str(value).lower() if isinstance(value, bool) else value
            yield f"{switch.name}={text}"
