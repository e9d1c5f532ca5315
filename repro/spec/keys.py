"""Which content keys a switch or setting enters, declared beside it.

A declaration says which keys change with the value, and nothing else decides it: a test changes
every switch and every setting, and looks at the keys.
"""

from dataclasses import MISSING, field, fields
from typing import Any, Literal

Enters = Literal["base", "model", "cell", "model rows", "cell rows", "cell precision"]
"""Of a content key: "base" of the base weights, "model" of fine-tunes, "cell" of all evaluations.
Keys of what is made from another cover the other's key. Through "rows" a value enters by the
content of the rows that it leaves, through "cell precision" by the dtype of the cells concerned."""

_NAME = "enters"


def enters(
    *keys: Enters, default: Any = MISSING, default_factory: Any = MISSING, repr: bool = True
) -> Any:
    """A dataclass field whose value enters these keys; none for what changes no artefact."""
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata={_NAME: keys})
    return field(default=default, repr=repr, metadata={_NAME: keys})


def entering(kind: type, key: Enters) -> tuple[str, ...]:
    """The fields of a dataclass that enter a key."""
    return tuple(name for name, keys in declared(kind).items() if key in keys)


def declared(kind: type) -> dict[str, tuple[Enters, ...]]:
    """The keys that each field of a dataclass enters; raises KeyError if one declares nothing."""
    return {one.name: one.metadata[_NAME] for one in fields(kind)}
