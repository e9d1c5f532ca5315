"""Imports that wait for their first use, and what makes them cheaper."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def uncollected() -> Iterator[None]:
    """A block that makes what stays, as imports do: looking for garbage would be a fifth of it."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def late(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package some of whose names are imported on first use.

    Args:
        modules: of each such name, the module of the package that has it.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with uncollected():
            module = import_module(f"{package}.{modules[name]}")
        return getattr(module, name)

    return find
