"""Model folders on disk: which files belong to one, their hashes, and what is refused.

A model folder is what transformers reads: config, safetensors, tokenizer files; nothing else is
copied, downloaded or hashed. Imports neither torch nor transformers.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError
from repro.files import require_utf8

CONFIG_FILES = ("config.json", "generation_config.json")
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
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
PATTERNS = (
    *CONFIG_FILES,
    *TOKENIZER_FILES,
    INDEX,
    "model.safetensors",
    "model-?????-of-?????.safetensors",
)
"""Shell patterns of the files that belong to a model folder, for downloads; see `wanted`."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def wanted(name: str) -> bool:
    """Whether a file of this name (no folder in it) belongs to a model folder."""
    return name in (*CONFIG_FILES, *TOKENIZER_FILES, INDEX) or bool(_WEIGHTS.fullmatch(name))


def is_weights(name: str) -> bool:
    """Whether a file name is that of a safetensors file with a causal LM's weights."""
    return bool(_WEIGHTS.fullmatch(name))


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(path: Path) -> str:
    """The id under which git stores the file's content, in hex (sha1)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every model file in a folder, by name; other files are passed over."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and wanted(path.name))
    return {name: sha256(folder / name) for name in names}


def combined(found: dict[str, str]) -> str:
    """One sha256 over names and hashes."""
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def model_digest(folder: Path) -> str:
    """A sha256 over the weights, config and tokenizer files of a folder.

    Changes if and only if the bytes or the name of one of them do; the folder's own path and
    files that do not belong to a model have no part in it.
    """
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
        raise _refused(f"{what}: no such folder", "give a folder with config.json and safetensors")
    names = {path.name for path in folder.iterdir() if path.is_file()}
    for needed in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if needed not in names and not (needed == "tokenizer.json" and "tokenizer.model" in names):
            raise _refused(
                f"{what}: {needed} is missing", "save model and tokenizer with save_pretrained"
            )
    config = _json(folder / "config.json", what)
    if "auto_map" in config:
        raise _refused(
            f"{what}: config.json asks for code of the model's own (auto_map)",
            "remote code is never run; use an architecture that transformers has itself",
        )
    shards = [name for name in names if is_weights(name)]
    if not shards:
        pickles = sorted(name for name in names if name.endswith(_PICKLES))
        if pickles:
            raise _refused(
                f"{what}: only pickled weights ({', '.join(pickles[:3])}), which can run code",
                "load them where you trust them and save with "
                "save_pretrained(folder, safe_serialization=True)",
            )
        raise _refused(f"{what}: no weights (model.safetensors) in it", "check the folder")
    if INDEX in names:
        listed = _json(folder / INDEX, what).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise _refused(f"{what}: {INDEX} has no weight_map", "download it again")
        for shard in sorted({str(value) for value in listed.values()}):
            if shard not in shards:  # also refuses paths that leave the folder
                raise _refused(f"{what}: {shard} is missing, {INDEX} lists it", "download it again")
    elif "model.safetensors" not in names:
        raise _refused(f"{what}: weights in parts, but no {INDEX}", "download it again")
    for name in sorted(shards):
        _check_header(folder / name, what)


def copy_model(source: Path, folder: Path) -> None:
    """Copy the model files of one folder into another; nothing else is taken along."""
    for path in sorted(source.iterdir()):
        if path.is_file() and wanted(path.name):
            shutil.copyfile(path, folder / path.name)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer files of one folder into another."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _check_header(path: Path, what: str) -> None:
    """Refuse a safetensors file that is cut short or damaged in its header."""
    from safetensors import SafetensorError, safe_open  # part of the full install only

    try:
        with safe_open(path, framework="np") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise _refused(
            f"{what}: {path.name} is not a whole safetensors file ({error})",
            "download or save it again",
        ) from None


def _json(path: Path, what: str) -> dict[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"{what}: {path.name} is not JSON: {error}", "download it again") from None
    if not isinstance(value, dict):
        raise _refused(f"{what}: {path.name} is not a JSON object", "download it again")
    return value


def _refused(message: str, hint: str) -> ReproError:
    return ReproError(message, hint=hint, exit_code=EXIT_MISSING)
