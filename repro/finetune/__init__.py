"""Rows -> token ids, labels, weights -> optimiser steps -> a fine-tuned model (FT and FTICL).

`finetune` and `save` bring torch and the slow parts of transformers with them and are imported on
first use, so that plans and drivers do without.
"""

from typing import TYPE_CHECKING

from repro.finetune.recipe import FACTS, Facts, Recipe, recipe_from
from repro.late import late

if TYPE_CHECKING:
    from repro.finetune.loop import finetune
    from repro.finetune.outcome import save

__all__ = ["FACTS", "Facts", "Recipe", "finetune", "recipe_from", "save"]

__getattr__ = late(__name__, {"finetune": "loop", "save": "outcome"})
