"""Model folders on disk: which files belong to one, their hashes, and what is refused.

A model folder is what transformers reads: config, safetensors, tokenizer files; nothing else is
copied, downloaded or hashed. Imports neither torch nor transformers.
"""

import hashlib
import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from repro.errors import missing
from repro.files import file_sha256, require_utf8

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
INDEX = "model.safetensors.index.json"
_NUMBER = "[0-9]" * 5
_WEIGHTS = ("model.safetensors", f"model-{_NUMBER}-of-{_NUMBER}.safetensors")
PATTERNS = ("config.json", "generation_config.json", *TOKENIZER_FILES, INDEX, *_WEIGHTS)
"""Shell patterns of the names of files that belong to a model folder."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def is_weights(name: str) -> bool:
    """Whether a file name is that of a safetensors file with a causal LM's weights."""
    return any(fnmatchcase(name, pattern) for pattern in _WEIGHTS)


def model_files(folder: Path) -> list[Path]:
    """The files of a folder that belong to a model, by name; others are passed over."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in PATTERNS)
    ]


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every model file in a folder, by name."""
    return {path.name: file_sha256(path) for path in model_files(folder)}


def combined(found: dict[str, str]) -> str:
    """One sha256 over names and hashes."""
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def model_digest(folder: Path) -> str:
    """A sha256 over the names and bytes of a folder's weights, config and tokenizer files."""
    return combined(hashes(folder))


def tokenizer_digest(folder: Path) -> str:
    """The same over the tokenizer files alone."""
    return combined({k: v for k, v in hashes(folder).items() if k in TOKENIZER_FILES})


def check_folder(folder: Path, *, what: str) -> None:
    """Refuse a folder that is no complete, safe causal language model. Reads no weights.

    Args:
        what: how messages name the folder, such as "[model] path /models/llama".

    Raises:
        ReproError: exit code 3, when the folder, its weights, a shard of its index, its config or
            its tokenizer is missing, when only pickled weights are there, when a weights file is
            damaged, when the model needs code of its own, or when its name is not UTF-8.
    """
    require_utf8(folder, what, "rename the folder, or move it")
    if not folder.is_dir():
        raise missing(f"{what}: no such folder", "give a folder with config.json and safetensors")
    names = {path.name for path in folder.iterdir() if path.is_file()}
    for needed in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if needed not in names and not (needed == "tokenizer.json" and "tokenizer.model" in names):
            hint = "save model and tokenizer with save_pretrained"
            raise missing(f"{what}: {needed} is missing", hint)
    config = _json(folder / "config.json", what)
    if "auto_map" in config:
        raise missing(
            f"{what}: config.json asks for code of the model's own (auto_map)",
            "remote code is never run; use an architecture that transformers has itself",
        )
    shards = [name for name in names if is_weights(name)]
    if not shards:
        if pickles := sorted(name for name in names if name.endswith(_PICKLES)):
            raise missing(
                f"{what}: only pickled weights ({', '.join(pickles[:3])}), which can run code",
                "load them where you trust them and save with "
                "save_pretrained(folder, safe_serialization=True)",
            )
        raise missing(f"{what}: no weights (model.safetensors) in it", "check the folder")
    if INDEX in names:
        listed = _json(folder / INDEX, what).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise missing(f"{what}: {INDEX} has no weight_map", "download it again")
        for shard in sorted({str(value) for value in listed.values()}):
            if shard not in shards:  # also refuses paths that leave the folder
                raise missing(f"{what}: {shard} is missing, {INDEX} lists it", "download it again")
    elif "model.safetensors" not in names:
        raise missing(f"{what}: weights in parts, but no {INDEX}", "download it again")
    from safetensors import SafetensorError, safe_open  # part of the full install only

    for name in sorted(shards):
        try:
            with safe_open(folder / name, framework="np") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise missing(
                f"{what}: {name} is not a whole safetensors file ({error})",
                "download or save it again",
            ) from None


def copy_model(source: Path, folder: Path) -> None:
    """Copy the model files of one folder into another."""
    for path in model_files(source):
        shutil.copyfile(path, folder / path.name)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer files of one folder into another."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _json(path: Path, what: str) -> dict[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise missing(f"{what}: {path.name} is not JSON: {error}", "download it again") from None
    if not isinstance(value, dict):
        raise missing(f"{what}: {path.name} is not a JSON object", "download it again")
    return value
