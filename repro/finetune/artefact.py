"""Writing what a fine-tune leaves behind: weights, tokenizer, and the JSON of its facts."""

import json
import platform
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import GenerationConfig
from transformers.utils import logging

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune.facts import FACTS, Facts


def save(model: Any, tokenizer: Any, facts: Facts, folder: Path) -> None:
    """Write weights (safetensors), tokenizer and `facts.json` into an existing folder.

    Only the main process writes. Not atomic: give a temporary folder and rename it afterwards.
    """
    if not PartialState().is_main_process:
        return
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # its bar would fill a piped log
    try:
        model.save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
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
        with tempfile.TemporaryDirectory(dir=folder) as trial:
            for one in (model.config, model.generation_config, tokenizer):
                one.save_pretrained(trial)
    except (ValueError, TypeError, AttributeError) as error:
        raise ReproError(
            f"the settings of the base model cannot be saved: {str(error).splitlines()[0]}",
            hint="mend config.json, generation_config.json or tokenizer_config.json of the base",
            exit_code=EXIT_MISSING,
        ) from None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute the weights."""
    packages = ("torch", "transformers", "accelerate", "tokenizers")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def machine(model: Any, processes: int) -> dict[str, Any]:
    """What of the machine can change the last bits of the weights."""
    device = model.device.type
    if device == "cuda":
        device = torch.cuda.get_device_name(model.device)
    return {
        "device": device,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }
