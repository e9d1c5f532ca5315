"""Run benchmarks and print what they measured, with the machine and versions it was measured on."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from repro.errors import EXIT_FAILED, ReproError
from repro.machine.numerics import cpu_name

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--small", is_flag=True, help="A quick look that it works; the numbers mean nothing.")
@click.option("--repeats", default=5, show_default=True, help="Of what is compared side by side.")
def main(names: tuple[str, ...], small: bool, repeats: int) -> None:
    """Run the named benchmarks, all by default.

    One that lacks something is left out (exit 3); one that misses a target fails (exit 1).
    """
    console = Console(highlight=False)
    packages = ", ".join(f"{name} {found}" for name, found in _versions())
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    console.print(f"{cpu_name()}, {os.cpu_count()} cores, {load} before")
    console.print(f"Python {platform.python_version()}, {packages}")
    exit_code = 0
    for name in names or NAMES:
        module = import_module(f"benchmarks.{name}")
        title = (module.__doc__ or name).splitlines()[0]
        try:
            rows = module.run(small=small, repeats=repeats)
        except ReproError as error:
            console.print(f"\n{title}\n{error}\n{error.hint}", markup=False)
            exit_code = error.exit_code
            continue
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print()
        console.print(table)
        if any(row.get("target met") == "no" for row in rows):
            exit_code = EXIT_FAILED
    sys.exit(exit_code)


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("numpy", "scipy", "torch", "transformers", "lm-eval"):
        with suppress(PackageNotFoundError):
            yield name, version(name)


if __name__ == "__main__":
    main()
