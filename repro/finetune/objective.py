"""Gradients of an optimiser step's loss: packed, see README.md, or padded.

Padded are samples side by side, filled up at the right end, with nothing shared. This assumes what
holds for language models: no layer mixes the samples of a batch.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from repro.finetune import attention
from repro.finetune.attention import KeysValues, Packing, Way
from repro.finetune.casts import Casts
from repro.finetune.schedule import Weighted, passes, shared_tokens
from repro.finetune.shard import is_sharded
from repro.machine.transfer import to_device

PACKED = ("llama", "mistral", "qwen2")
"""Model types whose attention goes through transformers' interface, whose every other layer takes
tokens one by one, and whose logits are their output embeddings' alone."""

Share = Sequence[Weighted]
"""What a process computes of a step."""

LOGITS = 2**25
"""Logits that are held at once, at most."""


def objective(
    model: Any, *, pad: int, autocast: bool, way: Way | None = None, kept_casts: bool = True
) -> "Packed | Padded":
    """The way to compute with a model: packed where attention is full and without dropout.

    Args:
        model: a causal language model of transformers, in training mode.
        pad: an id to fill up with; masked, so any will do.
        autocast: whether matrix products are computed in bfloat16.
        way: how packed samples attend; None for what suits the device: FlexAttention's kernels for
            float32 use no matrix units and spill.
        kept_casts: whether weights in bfloat16 are kept for a step, see `casts`. Changes no bit.
    """
    config = model.config
    if (
        config.model_type in PACKED
        and getattr(config, "sliding_window", None) is None
        and not config.attention_dropout
    ):
        return Packed(model, autocast=autocast, way=way, kept_casts=kept_casts)
    return Padded(model, pad=pad, autocast=autocast)


class Packed:
    """Computes with packed samples; changes the model's attention until `close`."""

    def __init__(self, model: Any, *, autocast: bool, way: Way | None, kept_casts: bool) -> None:
        self._model = model
        self._device = model.device
        self.way = way or ("flex" if self._device.type == "cuda" and autocast else "grouped")
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        self._sharded = is_sharded(model)
        # A sharded model's weights come in bfloat16.
        self._casts = Casts(model, kept=kept_casts) if autocast and not self._sharded else None
        context = partial(torch.autocast, self._device.type)
        # Autocast itself is to keep no weights in bfloat16.
        self._mixed = partial(context, torch.bfloat16, enabled=autocast, cache_enabled=False)
        # Inside the context above: backward passes choose no dtype of their own.
        self._as_forward = partial(context, enabled=False)
        self._before = model.config._attn_implementation
        model.set_attn_implementation(attention.NAME)

    def close(self) -> None:
        """Give the model its own attention and its own linear layers back."""
        self._model.set_attn_implementation(self._before)
        if self._casts:
            self._casts.close()

    def backward(
        self, weighted: Share, budget: int, *, together: Sequence[Share] = ()
    ) -> torch.Tensor:
        """Add the gradients of the sum of weight x token loss over label tokens; that sum.

        Weights in bfloat16 are kept for all passes, if at all.

        Args:
            budget: largest number of tokens in a pass.
            together: for a sharded model, what every process computes at the same time: layers are
                put together in passes of all, so that all take equally many.
        """
        try:
            with self._mixed():
                return self._passes(weighted, budget, together)
        finally:
            if self._casts:
                self._casts.forget()

    def _passes(self, weighted: Share, budget: int, together: Sequence[Share]) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        count, idle = shared_tokens(weighted), 0
        if together:
            counts = [shared_tokens(share) for share in together]
            if not all(counts):  # nobody shares unless everybody does
                count, counts = 0, [0] * len(counts)
            pairs = zip(together, counts, strict=True)
            most = max(len(list(passes(share, own, budget))) for share, own in pairs)
            idle = most - len(list(passes(weighted, count, budget)))
        computed, last = self._shared(weighted[0][0].ids[:count]) if count else ({}, None)
        # Cut off from the pass they come from, so that no pass's gradients go through it yet.
        shared = {
            layer: (key.detach().requires_grad_(), value.detach().requires_grad_())
            for layer, (key, value) in computed.items()
        }
        for chosen in passes(weighted, count, budget):
            loss = self._loss(chosen, count, shared)
            with self._as_forward():
                loss.backward()
            total += loss.detach()
        for _ in range(idle):
            self._idle()
        if count:
            ends = [states for pair in computed.values() for states in pair]
            gradients = [states.grad for pair in shared.values() for states in pair]
            if last is not None:  # a layer is put together when a gradient reaches its output
                ends.append(last)
                gradients.append(torch.zeros_like(last))
            with self._as_forward():
                torch.autograd.backward(ends, gradients)
        return total

    def _idle(self) -> None:
        """A dummy pass with zero gradients: keeps ranks in step when another has one pass more."""
        hidden = self._hidden([0], [0], self._packing([1], {}))
        with self._as_forward():
            (hidden.sum() * 0).backward()

    def _loss(self, chosen: Sequence[Weighted], count: int, shared: KeysValues) -> torch.Tensor:
        """The loss of a pass, whose samples go on behind `count` shared tokens."""
        ids: list[int] = []
        positions: list[int] = []
        predictors: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        for sample, weight in chosen:
            begin = len(ids) - count  # where the sample's first token would be, were it there
            predictors += range(begin + sample.masked - 1, begin + len(sample.ids) - 1)
            targets += sample.ids[sample.masked :]
            weights += [weight] * sample.labels
            ids += sample.ids[count:]
            positions += range(count, len(sample.ids))
        lengths = [len(sample.ids) - count for sample, _ in chosen]
        hidden = self._hidden(ids, positions, self._packing(lengths, shared))
        labelled = hidden.index_select(0, self._tensor(predictors))
        dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        scale = to_device(torch.tensor(weights, dtype=dtype), self._device)
        size = max(1, LOGITS // self._head.weight.shape[0])
        pieces = (labelled, self._tensor(targets), scale)
        if len(targets) <= size:
            return self._part(*pieces)
        parts = zip(*(piece.split(size) for piece in pieces), strict=True)
        losses = [checkpoint(self._part, *part, use_reentrant=False) for part in parts]
        return torch.stack(losses).sum()

    def _part(
        self, hidden: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """The weighted sum over label tokens, from the states (labels, width) that predict them."""
        losses = cross_entropy(self._head(hidden).to(scale.dtype), targets, reduction="none")
        return losses.dot(scale)

    def _shared(self, ids: Sequence[int]) -> tuple[KeysValues, torch.Tensor | None]:
        """Keys and values of tokens; of a sharded model, the decoder's last states too."""
        packing = self._packing([len(ids)], {}, keep=True)
        hidden = self._hidden(ids, range(len(ids)), packing)
        return packing.kept, hidden if self._sharded else None

    def _packing(
        self, lengths: Sequence[int], shared: KeysValues, *, keep: bool = False
    ) -> Packing:
        return Packing(lengths, self._device, shared, keep=keep, way=self.way)

    def _hidden(
        self, ids: Sequence[int], positions: Sequence[int], packing: Packing
    ) -> torch.Tensor:
        """The decoder's last states (tokens, width)."""
        output = self._decoder(
            input_ids=self._tensor(ids)[None],
            position_ids=self._tensor(positions)[None],
            use_cache=False,
            packing=packing,
        )
        states: torch.Tensor = output.last_hidden_state[0]
        return states

    def _tensor(self, values: Sequence[int]) -> torch.Tensor:
        return to_device(torch.tensor(values), self._device)


class Padded:
    """Computes with samples side by side."""

    def __init__(self, model: Any, *, pad: int, autocast: bool) -> None:
        self._model = model
        self._pad = pad
        self._device = model.device
        self._autocast = autocast
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def close(self) -> None:
        """Leave the model as it is."""

    def backward(
        self, weighted: Share, budget: int, *, together: Sequence[Share] = ()
    ) -> torch.Tensor:
        """As of `Packed`; of whole models only."""
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        ordered = sorted(weighted, key=lambda pair: -len(pair[0].ids))
        while ordered:
            fit = max(1, budget // len(ordered[0][0].ids))  # with what they are filled up with
            loss = self._loss(ordered[:fit])
            loss.backward()
            total += loss.detach()
            ordered = ordered[fit:]
        return total

    def _loss(self, chosen: Sequence[Weighted]) -> torch.Tensor:
        longest = max(len(sample.ids) for sample, _ in chosen)
        kept = longest - min(sample.masked for sample, _ in chosen) + 1
        shape = (len(chosen), longest)
        ids, targets = torch.full(shape, self._pad), torch.full(shape, -100)  # -100: no label
        mask, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
        for row, (sample, weight) in enumerate(chosen):
            length = len(sample.ids)
            ids[row, :length] = torch.tensor(sample.ids)
            mask[row, :length] = 1
            targets[row, sample.masked - 1 : length - 1] = ids[row, sample.masked : length]
            weights[row] = weight
        more = {"logits_to_keep": kept} if self._keeps_logits else {}
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._model(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                use_cache=False,
                **more,
            ).logits[:, -kept:]
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        wanted = targets[:, -kept:].flatten().to(self._device)
        losses = cross_entropy(logits.flatten(0, 1).to(dtype), wanted, reduction="none")
        return losses.dot(weights[:, -kept:].flatten().to(self._device, dtype))
