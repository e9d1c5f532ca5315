"""Loading a model folder, the same way for every model of the kit."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import ReproError, missing
from repro.models.files import check_folder

if TYPE_CHECKING:
    from torch import nn

_DTYPES = ("float32", "bfloat16", "float16")
_ROTARY = ("float32", "rounded")


def load(
    folder: Path, *, dtype: str = "float32", device: str = "cpu", rotary: str = "float32"
) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, ready for evaluation.

    The weights are read as `dtype`, never cast afterwards: a cast would also round the rotary
    frequencies, which loading leaves in float32 (AUDIT A12). Reads safetensors only, runs no code
    from the folder, and asks no server.

    Args:
        folder: as written by `materialise` or by a fine-tune.
        dtype: "float32", "bfloat16" or "float16".
        device: "cpu", "cuda" or "cuda:N".
        rotary: "float32", or "rounded" for frequencies as a cast to bfloat16 leaves them.

    Returns:
        The model (a transformers PreTrainedModel in evaluation mode) and the tokenizer.

    Raises:
        ReproError: exit code 3, when the folder is no complete model; 2 for a wrong argument.
    """
    asked = (("dtype", dtype, _DTYPES), ("rotary_precision", rotary, _ROTARY))
    for name, value, allowed in asked:
        if value not in allowed:
            raise ReproError(f"{name} is '{value}'", hint=f"allowed: {', '.join(allowed)}")
    check_folder(folder, what=f"model folder {folder}")
    import torch  # slow, and not part of the light install
    from transformers import AutoModelForCausalLM

    with quiet(), _named(folder):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            output_loading_info=True,
            dtype=getattr(torch, dtype),
            attn_implementation="sdpa",  # the same bits on every run on a CPU: tested
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    model, report = loaded
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:  # transformers would go on with random weights in their place
        kind, names = next(iter(wrong.items()))
        raise missing(
            f"model folder {folder}: weights and config.json do not fit: {kind.replace('_', ' ')} "
            f"{', '.join(names[:3])}",
            "take both from the same model",
        )
    if rotary == "rounded":
        round_rotary(model)
    return model.to(device).eval(), load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, without its model."""
    from transformers import AutoTokenizer  # slow, and not part of the light install

    with quiet(), _named(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Whatever transformers raises of a model folder's content, in words (exit code 3)."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not the model
            raise
        said = next(filter(None, (line.strip() for line in str(error).splitlines())), "")
        raise missing(
            f"model folder {folder}: config.json, weights and tokenizer cannot be loaded together: "
            f"{said or type(error).__name__}",
            "take all files from the same model, as save_pretrained wrote them",
        ) from None


def round_rotary(model: "nn.Module") -> None:
    """Round the rotary frequencies to bfloat16, in place; they stay float32 tensors (AUDIT A12).

    That is what casting a loaded model to bfloat16 does to them, since the model computes angles
    in float32 from whatever the frequencies are.
    """
    import torch  # slow, and not part of the light install

    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in ("inv_freq", "original_inv_freq"):
            buffer.copy_(buffer.to(torch.bfloat16).float())


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and chatter; its errors still come through."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
