"""Rows -> token ids, labels, weights -> optimiser steps -> a fine-tuned model (FT and FTICL).

`finetune` and `save` bring torch and the slow parts of transformers with them and are imported on
first use, so that plans and drivers do without.
"""

from typing import TYPE_CHECKING, Any

from repro.finetune.facts import FACTS, Facts
from repro.finetune.recipe import Recipe, recipe_from

if TYPE_CHECKING:
    from repro.finetune.artefact import save
    from repro.finetune.loop import finetune

__all__ = ["FACTS", "Facts", "Recipe", "finetune", "recipe_from", "save"]

_LATE = {
    "save": "repro.finetune.artefact",
    "finetune": "repro.finetune.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
