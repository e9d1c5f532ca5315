"""What all prompts of a cell begin with, computed once: a key-value cache that rows share.

It is cut back or extended from one shot count to the next, always in the same segments (the
contexts of the smaller shot counts, then the rest of what is common): see README.md.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from repro import clock
from repro.evaluate.attention import NAME
from repro.evaluate.encode import Encoded, common_prefix
from repro.machine.transfer import to_device

Segments = tuple[tuple[int, ...], ...]


class PreallocatedLayer(DynamicLayer):
    """A cache layer with room for all tokens to come, so that none is copied twice.

    The layer it extends concatenates, that is, copies the whole cache for every new token.
    """

    def __init__(self, room: int) -> None:
        """A layer for `room` tokens."""
        super().__init__()
        self.room = room
        self.length = 0
        self._place: torch.Tensor | None = None

    @classmethod
    def joined(cls, layers: Sequence["PreallocatedLayer"], room: int) -> "PreallocatedLayer":
        """The rows of several layers in one, padded on the left to the longest."""
        longest = max(layer.length for layer in layers)
        # Zeros, since what is masked still takes part in products, in which nothing may be NaN.
        padded = [
            [F.pad(states, (0, 0, longest - layer.length, 0)) for states in layer.show()]
            for layer in layers
        ]
        keys, values = (torch.cat(states) for states in zip(*padded, strict=True))
        whole = cls(room)
        whole.update(keys, values)
        return whole

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._keys, self._values = (
            states.new_empty((*states.shape[:2], self.room, states.shape[3]))
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._place is not None:
            _put(self._keys, self._place, key_states)
            _put(self._values, self._place, value_states)
            return self._keys, self._values
        end = self.length + key_states.shape[2]
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        return self.show()

    def write_at(self, place: torch.Tensor) -> None:
        """From here on, put single tokens at a place on the device, and show all of the room.

        `length` is then the caller's to keep.
        """
        self._place = place
        # What is masked takes part in products all the same, in which nothing may be NaN.
        self._keys[:, :, self.length :] = 0
        self._values[:, :, self.length :] = 0

    def get_seq_length(self) -> int:
        return self.length

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._keys, self._values = self._keys[indices], self._values[indices]
        self.show()

    def show(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values so far, [rows, heads, tokens, head size]."""
        keys, values = self._keys[:, :, : self.length], self._values[:, :, : self.length]
        self.keys, self.values = keys, values
        return keys, values


def _put(cached: torch.Tensor, place: torch.Tensor, states: torch.Tensor) -> None:
    """Write a token's states in place.

    No order of writing could matter, since the place is one. Torch's deterministic kernel would
    sort it, and copy all of the cache.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        cached.index_copy_(2, place, states)
    finally:
        torch.use_deterministic_algorithms(deterministic)


@cache
def takes_positions(forward: Callable[..., Any]) -> bool:
    """Whether models with this `forward` can be told the position of each token."""
    return "position_ids" in inspect.signature(forward).parameters


def supports_sharing(model: Any) -> bool:
    """Whether the model's cache holds all keys and values of all its layers, row by row.

    Not so for sliding windows, recurrent states or compressed caches; these go the plain way, as
    do models that choose their attention themselves.
    """
    if not takes_positions(type(model).forward) or not model._supports_default_dynamic_cache():
        return False
    if not model._supports_attention_backend or model.config._attn_implementation != "sdpa":
        return False
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def segments(encoded: Encoded) -> Segments:
    """What a cell's prompts have in common, in the pieces in which it is computed.

    At least one token of each prompt stays outside.
    """
    first = encoded.prompts[0]
    shortest = min(map(len, encoded.prompts))
    shared = min(common_prefix(encoded.prompts), shortest - 1)
    ends = {common_prefix([list(first[:shared]), ids]) for ids in encoded.contexts} | {shared}
    bounds = [0, *sorted(ends - {0})]
    return tuple(tuple(first[a:b]) for a, b in pairwise(bounds))


@contextmanager
def sharing(model: PreTrainedModel) -> Iterator["SharedPrefix"]:
    """An empty prefix of a model that `supports_sharing`, which attends by `attend` meanwhile."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield SharedPrefix(model)
    finally:
        model.set_attn_implementation(before)


class SharedPrefix:
    """The keys and values of the tokens that a cell's prompts begin with.

    Attributes:
        layers: of each layer, [1, heads, shared tokens, head size]; empty while nothing is shared.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Empty; made by `sharing`."""
        assert model.config._attn_implementation == NAME, "any other attention would ignore it"
        self._model = model
        self._count = len(DynamicCache(config=model.config).layers)
        self._segments: Segments = ()
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def length(self) -> int:
        """Shared tokens."""
        return sum(map(len, self._segments))

    def cost(self, prompt: Sequence[int]) -> int:
        """What a row takes of a batch's memory, in tokens.

        Its own tokens, and for a layer at a time the shared ones, which prefill copies.
        """
        return len(prompt) - self.length + self.length // self._count

    def move_to(self, wanted: Segments) -> int:
        """Hold exactly these segments, keeping those that it begins with; the tokens it holds."""
        kept = 0
        while self._segments[kept : kept + 1] == wanted[kept : kept + 1] != ():
            kept += 1
        self._segments = wanted[:kept]
        self.layers = [
            (keys[:, :, : self.length], values[:, :, : self.length])
            for keys, values in self.layers
            if self.length
        ]
        for segment in wanted[kept:]:
            self._extend(segment)
        return self.length

    def cache(self, room: int) -> DynamicCache:
        """A cache for the own tokens of a batch's rows, `room` a row at most."""
        return cache_of([PreallocatedLayer(room) for _ in range(self._count)])

    @torch.inference_mode()
    def _extend(self, segment: Sequence[int]) -> None:
        start, tokens = self.length, len(segment)
        device = self._model.device
        pairs = tokens * (start + (tokens + 1) / 2)
        clock.count("prefill", tokens=tokens, pairs=pairs, rows=1)
        own = [PreallocatedLayer(tokens) for _ in range(self._count)]
        self._model(
            input_ids=to_device(torch.tensor([segment]), device),
            attention_mask=torch.ones((1, 1, tokens, tokens), device=device).tril().bool(),
            position_ids=torch.arange(start, start + tokens, device=device)[None],
            past_key_values=cache_of(own),
            use_cache=True,
            logits_to_keep=1,
            shared_prefix=self.layers,
        )
        added = [layer.show() for layer in own]
        self.layers = [
            (torch.cat([keys, more], dim=2), torch.cat([values, others], dim=2))
            for (keys, values), (more, others) in zip(self.layers, added, strict=False)
        ] or added
        self._segments = (*self._segments, tuple(segment))


def cache_of(layers: Sequence[PreallocatedLayer]) -> DynamicCache:
    """The layers as a model takes them."""
    found = DynamicCache()
    found.layers = list(layers)
    return found
