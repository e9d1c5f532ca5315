"""Left-padded batches through a model, with or without a shared prefix; label scoring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import PreTrainedModel

from repro import clock
from repro.errors import EXIT_FAILED, ReproError
from repro.evaluate.attention import added
from repro.evaluate.batches import PADDING, Budget, in_batches
from repro.evaluate.prefix import PreallocatedLayer, SharedPrefix, cache_of, takes_positions
from repro.machine.transfer import to_device


@dataclass
class Batch:
    """A batch after its prompts have gone through the model."""

    logits: torch.Tensor  # [rows, vocabulary], behind the last token of each row
    cache: Any  # None if the model was not asked to keep it
    mask: torch.Tensor  # [rows, own tokens], False for padding; shared tokens are left out
    positions: torch.Tensor  # [rows, 1], of each row's next token
    prefix: SharedPrefix | None
    places: tuple[int, ...]  # `positions` on the host: nobody waits for the device to know them


def pad_id(tokenizer: Any, model: Any) -> int:
    """What fills a row; masked, so any id that the model's embedding has serves."""
    vocabulary = model.get_input_embeddings().num_embeddings  # a tokenizer can have more tokens
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None and token < vocabulary:
            return int(token)
    return 0


def prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    prefix: SharedPrefix | None,
    *,
    pad: int,
    room: int | None = None,
) -> Batch:
    """Send whole prompts through the model, left-padded, each with its own positions.

    Args:
        prefix: what the prompts begin with, which is taken off; None computes them whole.
        room: tokens to come; None when the cache is not needed any more.
    """
    shared = prefix.length if prefix else 0
    rests = [prompt[shared:] for prompt in prompts]
    longest = max(map(len, rests))
    ids = torch.tensor([[pad] * (longest - len(rest)) + list(rest) for rest in rests])
    lengths = torch.tensor([len(rest) for rest in rests])[:, None]
    mask = torch.arange(longest)[None] >= longest - lengths
    positions = (shared + torch.arange(longest)[None] - (longest - lengths)).clamp(min=0)
    device = model.device
    cache = prefix.cache(longest + room) if prefix and room is not None else None
    pairs = sum(len(rest) * (shared + (len(rest) + 1) / 2) for rest in rests)
    clock.count("prefill", tokens=sum(map(len, rests)), pairs=pairs, rows=len(rests))
    places = tuple(map(len, prompts))
    ids, mask, positions = (to_device(tensor, device) for tensor in (ids, mask, positions))
    begun = Batch(torch.empty(0), cache, mask, positions, prefix, places)
    return _run(model, ids, begun, keep=room is not None)


def step(model: PreTrainedModel, batch: Batch, tokens: torch.Tensor) -> Batch:
    """One token more for every row; `tokens` is [rows]."""
    mask = torch.cat([batch.mask, torch.ones_like(batch.mask[:, :1])], dim=1)
    count_step(batch)
    places = tuple(place + 1 for place in batch.places)
    return _run(model, tokens[:, None], replace(batch, mask=mask, places=places))


def count_step(batch: Batch) -> None:
    """Count what a step of decoding computes."""
    rows = len(batch.places)
    clock.count("decode", tokens=rows, pairs=sum(batch.places) + rows, rows=rows)


@torch.inference_mode()
def _run(model: PreTrainedModel, ids: torch.Tensor, batch: Batch, *, keep: bool = True) -> Batch:
    """The batch after `ids` [rows, tokens], whose positions it holds, and which its mask covers.

    `keep` tells whether more tokens will come.
    """
    prefix, tokens = batch.prefix, ids.shape[1]
    mask: torch.Tensor = batch.mask
    more: dict[str, Any] = {}
    if takes_positions(
        type(model).forward
    ):  # models without it count positions by the attention mask
        more["position_ids"] = batch.positions
    if prefix:
        more["shared_prefix"] = prefix.layers
        mask = mask[:, None, None]
        if tokens > 1:
            earlier = torch.ones((tokens, tokens), dtype=torch.bool, device=ids.device).tril()
            # Padding sees itself, since attention to nothing is not a number.
            mask = mask & earlier | torch.eye(tokens, dtype=torch.bool, device=ids.device)
            if mask.device.type == "cpu":
                mask = added(mask, prefix.length, model.dtype)
    output = model(
        input_ids=ids,
        attention_mask=mask if prefix else mask.long(),
        past_key_values=batch.cache,
        use_cache=keep,
        logits_to_keep=1,
        **more,
    )
    after = batch.positions[:, -1:] + 1
    return replace(
        batch, logits=output.logits[:, -1], cache=output.past_key_values, positions=after
    )


@torch.inference_mode()
def join(batches: Sequence[Batch], room: int) -> Batch:
    """The rows of batches with the same prefix in one, with room for tokens to come.

    Their own caches are emptied.
    """
    longest = max(batch.mask.shape[1] for batch in batches)
    layers = []
    caches = [batch.cache.layers for batch in batches]
    while caches[0]:  # so that only one layer is there twice
        layers.append(PreallocatedLayer.joined([cache.pop(0) for cache in caches], longest + room))
    return Batch(
        torch.cat([batch.logits for batch in batches]),
        cache_of(layers),
        torch.cat([F.pad(b.mask, (longest - b.mask.shape[1], 0)) for b in batches]),
        torch.cat([batch.positions for batch in batches]),
        batches[0].prefix,
        tuple(place for batch in batches for place in batch.places),
    )


@torch.inference_mode()
def keep(batch: Batch, rows: torch.Tensor, numbers: Sequence[int]) -> Batch:
    """The batch with these rows only, by number on the device and here; of `SharedPrefix`."""
    batch.cache.batch_select_indices(rows)
    return replace(
        batch,
        logits=batch.logits[rows],
        mask=batch.mask[rows],
        positions=batch.positions[rows],
        places=tuple(batch.places[number] for number in numbers),
    )


def require_finite(values: torch.Tensor) -> torch.Tensor:
    """The values; raises ReproError (exit code 1) if one is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise not_finite()
    return values


def not_finite() -> ReproError:
    """The error for logits that are NaN or infinite."""
    return ReproError(
        "the model's logits are not finite numbers",
        hint="its weights are damaged or too large for float16: fine-tune it again, "
        "or run with --set precision=uniform",
        exit_code=EXIT_FAILED,
    )


def label_logits(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    labels: Mapping[str, int],
    budget: Budget,
    *,
    pad: int,
    prefix: SharedPrefix | None = None,
) -> list[dict[str, float]]:
    """The logit of each label's token behind each prompt, as exact float32 values.

    One forward pass a prompt, never decoding (paper section 3; AUDIT A5).

    Args:
        labels: label -> token id.
        pad: id that fills short rows; masked.
        prefix: holds what all prompts begin with; None computes each prompt whole.

    Raises:
        ReproError: a logit is not finite, or a single prompt does not fit into memory.
    """
    ids = to_device(torch.tensor(list(labels.values())), model.device)

    def work(rows: list[int]) -> list[dict[str, float]]:
        with clock.part("prefill"):
            batch = prefill(model, [prompts[row] for row in rows], prefix, pad=pad)
            values = require_finite(batch.logits[:, ids]).float().tolist()
        return [dict(zip(labels, row, strict=True)) for row in values]

    costs = [prefix.cost(prompt) if prefix else len(prompt) for prompt in prompts]
    return in_batches(costs, budget, work, padding=PADDING)


def best_label(logits: Mapping[str, float]) -> str:
    """The label with the largest logit; of equal ones the first."""
    return max(logits, key=lambda label: logits[label])
