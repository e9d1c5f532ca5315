"""Where results were made: what bit-exactness is promised for."""

from collections.abc import Mapping, Sequence
from typing import Any

PARTS = "parts"
"""In run.json of joined results: a record of each folder, with the cells that came from it."""


def parts_of(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The records of the folders that results were joined from; the record itself if of one."""
    parts = record.get(PARTS)
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return (record,)
    return tuple(parts)


def devices(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of machines that a run's cells were computed on."""
    found = []
    for part in parts_of(record):
        identity = part.get("identity")
        numerics = identity.get("numerics") if isinstance(identity, dict) else None
        found.append(str(numerics.get("device")) if isinstance(numerics, dict) else "not told")
    return tuple(dict.fromkeys(found))


def record_of(record: Mapping[str, Any], stem: str) -> Mapping[str, Any]:
    """Of joined results the record of the folder that a cell came from.

    Args:
        stem: of the cell's samples file: its name, and its seed if it has one.
    """
    found = (part for part in parts_of(record) if stem in part.get("cells", ()))
    return next(found, record)


def elsewhere(ours: Mapping[str, Any], recorded: Sequence[Mapping[str, Any]]) -> str:
    """Why bit equality (L0) cannot be asked for: another lock, machine kind or engine; else ""."""

    def facts(record: Mapping[str, Any]) -> dict[str, Any]:
        identity = record.get("identity")
        numerics = identity.get("numerics") if isinstance(identity, dict) else None
        device = numerics.get("device") if isinstance(numerics, dict) else None
        # Runs of the kit's own engine do not name it.
        engine = identity.get("engine", "torch") if isinstance(identity, dict) else None
        return {"lock": record.get("lock_sha256"), "machine kind": device, "engine": engine}

    stored = [facts(record) for record in recorded]
    own = facts(ours)
    if any(own == other and None not in own.values() for other in stored):
        return ""
    notes = []
    for name, value in own.items():
        known = {str(other[name]) for other in stored if other[name] is not None}
        if value is None or not known:
            notes.append(f"{name} unknown")
        elif str(value) not in known:
            shown = f" ({value}, stored {', '.join(sorted(known))})" * (name != "lock")
            notes.append(f"another {name}{shown}")
    # Each is known from some stored run, but not both from the same.
    return "; ".join(notes) or "lock and machine kind of different stored runs"


_ROUNDING = {
    "token_budget": "tokens of a pass",
    "attention": "attention",
    "processes": "processes",
    "sharded": "sharded",
}
"""Facts of a fine-tune's machine that change its weights by rounding, and no content key."""


def computed(
    record: Mapping[str, Any], stem: str, tuned: Mapping[str, Any] | None
) -> dict[str, Any]:
    """How a cell was computed, as far as rounding alone depends on it; only what is told.

    Args:
        stem: of the cell's samples file.
        tuned: the facts of its fine-tune.
    """
    machine = tuned.get("machine") if tuned else None
    machine = machine if isinstance(machine, dict) else {}
    told = {words: machine[name] for name, words in _ROUNDING.items() if name in machine}
    budgets = record_of(record, stem).get("budgets")
    if isinstance(budgets, dict):
        own = budgets.get("reduced", {}).get(stem, {})
        told["tokens of a batch"] = own.get("evaluate_tokens", budgets.get("evaluate_tokens"))
    return told


def computed_otherwise(ours: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """What differs between two answers of `computed`, in words; empty if nothing does."""
    return ", ".join(
        f"{words} {ours[words]}, stored {stored[words]}"
        for words in ours
        if words in stored and ours[words] != stored[words]
    )
