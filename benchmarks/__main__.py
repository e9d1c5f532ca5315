"""Run benchmarks and print what they measured, with the machine and versions it was measured on."""

import os
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from repro.pipeline.machine import cpu_name

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)
_PACKAGES = ("numpy", "scipy", "torch", "transformers")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--small", is_flag=True, help="A quick look that it works; the numbers mean nothing.")
def main(names: tuple[str, ...], small: bool) -> None:
    """Run the named benchmarks, all by default."""
    console = Console(highlight=False)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    console.print(f"{cpu_name()}, {os.cpu_count()} cores, {load} before")
    console.print(f"Python {platform.python_version()}, {packages}")
    for name in names or NAMES:
        module = import_module(f"benchmarks.{name}")
        title = (module.__doc__ or name).splitlines()[0]
        rows = module.run(small=small)
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print()
        console.print(table)


if __name__ == "__main__":
    main()
