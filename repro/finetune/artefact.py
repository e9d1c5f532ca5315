"""Writing what a fine-tune leaves behind: weights, tokenizer, and the JSON of its facts."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import GenerationConfig

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune.recipe import FACTS, Facts
from repro.models.load import quiet


def save(model: Any, tokenizer: Any, facts: Facts, folder: Path) -> None:
    """Write weights (safetensors), tokenizer and `facts.json` into an existing folder.

    Only the main process writes. Not atomic: give a temporary folder and rename it afterwards.
    """
    if not PartialState().is_main_process:
        return
    with quiet():  # a bar would fill a piped log
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    text = json.dumps(asdict(facts), indent=1, allow_nan=False) + "\n"
    (folder / FACTS).write_text(text, encoding="utf-8")


def require_saveable(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save all but the weights once, before they are trained, so that they can be saved afterwards.

    Settings of sampling that transformers refuses to save are reset: the kit never samples, and
    says so in the saved model too.

    Raises:
        ReproError: the model's settings or its tokenizer cannot be saved (3).
    """
    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        special = ("bos_token_id", "eos_token_id", "pad_token_id")
        kept = {name: getattr(own, name, None) for name in special}
        model.generation_config = GenerationConfig(**kept)
    try:
        with quiet(), tempfile.TemporaryDirectory(dir=folder) as trial:
            for one in (model.config, model.generation_config, tokenizer):
                one.save_pretrained(trial)
    except (ValueError, TypeError, AttributeError) as error:
        raise ReproError(
            f"the settings of the base model cannot be saved: {str(error).splitlines()[0]}",
            hint="mend config.json, generation_config.json or tokenizer_config.json of the base",
            exit_code=EXIT_MISSING,
        ) from None
