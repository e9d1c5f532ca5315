"""Rows -> token ids, labels, weights -> optimiser steps -> a fine-tuned model (FT and FTICL).

`finetune` and `save` bring torch with them and are imported on first use, so that a plan can be
made from `Recipe` alone.
"""

from typing import TYPE_CHECKING, Any

from repro.finetune.recipe import Recipe, recipe_from

if TYPE_CHECKING:
    from repro.finetune.artefact import Facts, save
    from repro.finetune.loop import finetune

__all__ = ["Facts", "Recipe", "finetune", "recipe_from", "save"]

_LATE = {
    "Facts": "repro.finetune.artefact",
    "save": "repro.finetune.artefact",
    "finetune": "repro.finetune.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
