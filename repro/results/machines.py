"""Where results were made: what bit-exactness is promised for."""

from collections.abc import Mapping, Sequence
from typing import Any

PARTS = "parts"
"""In run.json of joined results: a record of each folder, with the cells that came from it."""


def parts_of(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The records of the folders that results were joined from; the record itself if of one."""
    parts = record.get(PARTS)
    return tuple(parts) if isinstance(parts, list) else (record,)


def _identity(record: Mapping[str, Any]) -> Mapping[str, Any]:
    found = record.get("identity")
    return found if isinstance(found, dict) else {}


def device_of(record: Mapping[str, Any]) -> str | None:
    """The kind of machine of a run, or of a part of one; None where it is not told."""
    numerics = _identity(record).get("numerics")
    return numerics.get("device") if isinstance(numerics, dict) else None


def devices(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of machines that a run's cells were computed on."""
    return tuple(dict.fromkeys(str(device_of(p) or "not told") for p in parts_of(record)))


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
        # Runs of the kit's own engine do not name it.
        engine = _identity(record).get("engine", "torch") if "identity" in record else None
        lock, device = record.get("lock_sha256"), device_of(record)
        return {"lock": lock, "machine kind": device, "engine": engine}

    stored, own = [facts(record) for record in recorded], facts(ours)
    if None not in own.values() and own in stored:
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
    machine = (tuned or {}).get("machine") or {}
    told = {words: machine[name] for name, words in _ROUNDING.items() if name in machine}
    part = record_of(record, stem)
    where = part.get("machine")
    if isinstance(where, dict) and "cpu" in where and str(device_of(part)).startswith("cpu"):
        told["processor"] = where["cpu"]  # makers' matrix products differ in last bits
    if (budgets := part.get("budgets")) is not None:
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
