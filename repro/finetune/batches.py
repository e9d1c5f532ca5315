"""The loss of an optimiser step in few forward passes, with the gradients of many small ones.

The step's objective is a weighted sum over label tokens, so its gradient does not depend on how
the samples are spread over passes. Three things are rearranged for speed, and tested to leave the
gradients equal: all micro-batches of a step go through the model together, sorted by length and
cut by a token budget; tokens that all samples of a pass begin with (BOS, demonstrations) go
through once, and their keys and values are shared; logits are made at label positions only. Dead
samples, whose gradient is zero, are left out. This assumes what holds for language models: no
layer mixes the samples of a batch.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from repro.finetune.encode import Sample
from repro.finetune.schedule import Step

MIN_SHARED = 16
"""Tokens that a pass's samples must begin with alike before a pass of their own is worth it."""

Weighted = tuple[Sample, float]
"""A living sample and the weight of each of its label tokens in the step's loss."""


def weigh(
    step: Step,
    samples: Sequence[Sample],
    weighting: Literal["micro-batch", "step-tokens"],
    accumulation: int,
) -> list[list[Weighted]]:
    """The living samples of each micro-batch of a step, with their weights.

    "micro-batch": 1 / (accumulation x label tokens of its micro-batch). A dead micro-batch adds
    nothing, and accumulation counts it all the same. "step-tokens": 1 / label tokens of the step.
    """
    groups = [[samples[position] for position in positions] for positions in step]
    counts = [sum(sample.labels for sample in group) for group in groups]
    total = sum(counts)
    scale = [accumulation * n if weighting == "micro-batch" else total for n in counts]
    return [
        [(sample, 1 / divisor) for sample in group if sample.labels]
        for group, divisor in zip(groups, scale, strict=True)
    ]


def passes(weighted: Sequence[Weighted], budget: int) -> Iterator[list[Weighted]]:
    """Cut samples into forward passes of at most `budget` padded tokens, longest first.

    A sample longer than the budget gets a pass of its own.
    """
    ordered = sorted(weighted, key=lambda pair: -len(pair[0].ids))
    while ordered:
        fit = max(1, budget // len(ordered[0][0].ids))
        yield ordered[:fit]
        ordered = ordered[fit:]


class Objective:
    """Computes weighted losses with one model.

    Args:
        model: a causal language model of transformers, in training mode.
        pad: id that fills the right end of shorter samples; masked, so any id will do.
        dtype: of the computation; "bfloat16" casts matrix products, "float32" and "float64" don't.
    """

    def __init__(self, model: Any, *, pad: int, dtype: str) -> None:
        self._model = model
        self._pad = pad
        self._device = model.device
        self._autocast = dtype == "bfloat16"
        arguments = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in arguments
        self._shares = _can_share(model) and "past_key_values" in arguments

    def __call__(self, chosen: Sequence[Weighted]) -> torch.Tensor:
        """The sum of weight x token loss over the label tokens of some samples, as a scalar."""
        shared = self._shared(chosen)
        rows, places, targets, weights = [], [], [], []
        for row, (sample, weight) in enumerate(chosen):
            labels = range(sample.masked, len(sample.ids))
            rows += [row] * len(labels)
            places += [place - 1 - shared for place in labels]
            targets += [sample.ids[place] for place in labels]
            weights += [weight] * len(labels)
        kept = sorted(set(places))
        index = {place: i for i, place in enumerate(kept)}
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._logits(chosen, shared, kept)
        picked = logits[self._tensor(rows), self._tensor([index[place] for place in places])]
        if picked.dtype != torch.float64:
            picked = picked.float()
        losses = cross_entropy(picked, self._tensor(targets), reduction="none")
        return (losses * torch.tensor(weights, dtype=losses.dtype, device=self._device)).sum()

    def _logits(self, chosen: Sequence[Weighted], shared: int, kept: list[int]) -> torch.Tensor:
        """Logits (samples, kept places, vocabulary); places count from behind the shared part."""
        longest = max(len(sample.ids) for sample, _ in chosen)
        ids = torch.full((len(chosen), longest), self._pad)
        mask = torch.zeros((len(chosen), longest), dtype=torch.long)
        for row, (sample, _) in enumerate(chosen):
            ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
            mask[row, : len(sample.ids)] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        more: dict[str, Any] = {"use_cache": False}
        if shared:
            more = {
                "use_cache": True,
                "past_key_values": self._expanded(ids[:1, :shared], len(ids)),
            }
        if self._keeps_logits:
            more["logits_to_keep"] = self._tensor(kept)
        logits = self._model(input_ids=ids[:, shared:], attention_mask=mask, **more).logits
        return logits if self._keeps_logits else logits[:, self._tensor(kept)]

    def _expanded(self, ids: torch.Tensor, count: int) -> DynamicCache:
        """Keys and values of the shared tokens (1, n), once computed, for `count` samples."""
        cache = DynamicCache(config=self._model.config)
        last = {"logits_to_keep": 1} if self._keeps_logits else {}
        self._model(input_ids=ids, past_key_values=cache, use_cache=True, **last)
        layers: list[Any] = list(cache.layers)
        for layer in layers:
            layer.keys = layer.keys.expand(count, -1, -1, -1)
            layer.values = layer.values.expand(count, -1, -1, -1)
        return cache

    def _shared(self, chosen: Sequence[Weighted]) -> int:
        """How many first tokens to compute once: common to all, before any label's predictor."""
        if not self._shares or len(chosen) == 1:
            return 0
        most = min(sample.masked for sample, _ in chosen) - 1
        columns = zip(*(sample.ids[:most] for sample, _ in chosen), strict=True)
        count = 0
        for column in columns:
            if len(set(column)) > 1:
                break
            count += 1
        return count if count >= MIN_SHARED else 0

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


def _can_share(model: Any) -> bool:
    """Whether keys and values of a prefix can be shared: plain attention, no dropout, no
    recomputation of activations (which switches the cache off)."""
    if model.is_gradient_checkpointing:
        return False
    settings = model.config.get_text_config(decoder=True).to_dict()
    if any(
        "drop" in name and isinstance(value, float) and value for name, value in settings.items()
    ):
        return False
    try:
        layers = DynamicCache(config=model.config).layers
    except (KeyError, NotImplementedError, ValueError):
        return False
    return all(type(layer) is DynamicLayer for layer in layers)
