"""Left-padded batches through a model, with or without a shared prefix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from repro.errors import EXIT_FAILED, ReproError
from repro.evaluate.prefix import SharedPrefix, takes_positions


@dataclass
class Batch:
    """A batch after its prompts have gone through the model.

    Attributes:
        logits: [rows, vocabulary], behind the last token of each row.
        cache: what the model returned; None if it was not asked to keep it.
        mask: [rows, seen tokens], 1 for tokens and 0 for padding.
        positions: [rows, 1], the position of each row's next token.
    """

    logits: torch.Tensor
    cache: Any
    mask: torch.Tensor
    positions: torch.Tensor


def pad_id(tokenizer: Any) -> int:
    """What fills a row; masked, so any id of the vocabulary serves."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


@torch.inference_mode()
def prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    prefix: SharedPrefix | None,
    *,
    pad: int,
    room: int = 0,
) -> Batch:
    """Send prompts through the model, left-padded, each with its own positions.

    Args:
        prompts: whole prompts; what the prefix holds is taken off.
        prefix: the shared beginning of the prompts; None computes them whole.
        room: tokens to come; 0 when the cache is not needed any more.
    """
    shared = prefix.length if prefix else 0
    rests = [prompt[shared:] for prompt in prompts]
    longest = max(map(len, rests))
    device = model.device
    ids = torch.tensor([[pad] * (longest - len(rest)) + list(rest) for rest in rests])
    lengths = torch.tensor([len(rest) for rest in rests])[:, None]
    own = torch.arange(longest)[None] >= longest - lengths
    before = torch.ones((len(rests), shared), dtype=torch.bool)
    mask = torch.cat([before, own], dim=1).long().to(device)
    positions = (shared + torch.arange(longest)[None] - (longest - lengths)).clamp(min=0)
    cache = prefix.cache(len(rests), shared + longest + room) if prefix else None
    output = model(
        input_ids=ids.to(device),
        attention_mask=mask,
        **_placed(model, positions.to(device)),
        past_key_values=cache,
        use_cache=bool(prefix or room),
        logits_to_keep=1,
    )
    return Batch(output.logits[:, -1], output.past_key_values, mask, (shared + lengths).to(device))


@torch.inference_mode()
def step(model: PreTrainedModel, batch: Batch, tokens: torch.Tensor) -> Batch:
    """One token more for every row; `tokens` is [rows]."""
    mask = torch.cat([batch.mask, torch.ones_like(batch.positions)], dim=1)
    output = model(
        input_ids=tokens[:, None],
        attention_mask=mask,
        **_placed(model, batch.positions),
        past_key_values=batch.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return Batch(output.logits[:, -1], output.past_key_values, mask, batch.positions + 1)


@torch.inference_mode()
def keep(batch: Batch, rows: torch.Tensor) -> Batch:
    """The batch with these rows only; for caches of `SharedPrefix`."""
    batch.cache.batch_select_indices(rows)
    return Batch(batch.logits[rows], batch.cache, batch.mask[rows], batch.positions[rows])


def _placed(model: Any, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """The positions as an argument; models without it count them by the attention mask."""
    return {"position_ids": positions} if takes_positions(model) else {}


def require_finite(values: torch.Tensor) -> torch.Tensor:
    """The values; raises ReproError (exit code 1) if one is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise ReproError(
            "the model's logits are not finite numbers",
            hint="its weights are damaged or too large for float16: fine-tune it again, "
            "or run with --set precision=uniform",
            exit_code=EXIT_FAILED,
        )
    return values
