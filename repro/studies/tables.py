"""Claims from parsed TOML, for the studies of the kit and those of users alike."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from repro.spec.claims import Claim, Contrast, ContrastKind, Direction, Quantifier, Side


def claim_of(name: str, table: Mapping[str, Any]) -> Claim:
    """A claim from its table, whose fields the paper's `claims.toml` explains."""
    panels = tuple(table.get("panels", ()))
    return Claim(
        name,
        table["finding"],
        table.get("source", ""),
        panels,
        tuple(_contrast(item, panels) for item in table["contrasts"]),
        table.get("title", table["finding"]),
    )


def _side(table: Mapping[str, Any] | None, panels: Iterable[str]) -> Side | None:
    if table is None:
        return None
    return Side(
        tuple(table.get("panels", panels)),
        tuple(table["models"]),
        table.get("shots", "any"),
        table.get("take", "each"),
        tuple(table.get("datasets", ())),
        tuple(table.get("prompts", ())),
    )


def _contrast(table: Mapping[str, Any], panels: tuple[str, ...]) -> Contrast:
    own = table.get("panels", panels)
    made = Contrast(
        table["name"],
        table["direction"],
        table["quantifier"],
        table.get("kind", "scores"),
        _side(table.get("left"), own),
        _side(table.get("right"), own),
        tuple(table.get("same", ())),
        table.get("beyond", False),
        tuple(tuple(group) for group in table.get("than", ())),
        tuple(table.get("train", ())),
        float(table.get("threshold", 0.0)),
        table.get("note", ""),
    )
    assert made.direction in get_args(Direction), made
    assert made.quantifier in get_args(Quantifier), made
    assert made.kind in get_args(ContrastKind), made
    return made
