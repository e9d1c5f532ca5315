"""What all prompts of a cell begin with, computed once: a key-value cache that rows share.

A cell's prompts begin with its demonstrations. The contexts of a set's shot counts begin one
another, so the cache of one is cut back or extended to the next. It grows in fixed segments (the
contexts of the smaller shot counts, then the rest of what is common), whichever cells are asked
for, so a cell's numbers do not depend, in any bit, on which cells ran before it.
"""

import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from repro.evaluate.encode import Encoded, common_prefix

Segments = tuple[tuple[int, ...], ...]


class RoomyLayer(DynamicLayer):
    """A cache layer with room for all tokens to come, so that none is copied twice.

    The layer it extends concatenates, that is, copies the whole cache for every new token.
    """

    def __init__(self, room: int) -> None:
        """A layer for `room` tokens."""
        super().__init__()
        self.room = room
        self.length = 0

    def start(self, keys: torch.Tensor, values: torch.Tensor, rows: int) -> None:
        """Begin every row with the same tokens, given with batch size 1."""
        self.lazy_initialization(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
        self._append(keys, values)

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
        return self._append(key_states, value_states)

    def get_seq_length(self) -> int:
        return self.length

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._keys, self._values = self._keys[indices], self._values[indices]
        self.show()

    def _append(
        self, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.length + keys.shape[2]
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self.show()

    def show(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values so far, [rows, heads, tokens, head size]."""
        keys, values = self._keys[:, :, : self.length], self._values[:, :, : self.length]
        self.keys, self.values = keys, values
        return keys, values


def takes_positions(model: Any) -> bool:
    """Whether the model can be told the position of each token."""
    return "position_ids" in inspect.signature(model.forward).parameters


def supports_sharing(model: Any) -> bool:
    """Whether the model's cache holds all keys and values of all its layers, row by row.

    Not so for sliding windows, recurrent states or compressed caches; these go the plain way.
    """
    if not takes_positions(model) or not model._supports_default_dynamic_cache():
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
    ends = {common_prefix([first[:shared], ids]) for ids in encoded.contexts} | {shared}
    bounds = [0, *sorted(ends - {0})]
    return tuple(tuple(first[a:b]) for a, b in pairwise(bounds))


class SharedPrefix:
    """The cache of the tokens that a cell's prompts begin with.

    Attributes:
        length: tokens that it holds now.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Empty, for a model that `supports_sharing`."""
        self._model = model
        self._count = len(DynamicCache(config=model.config).layers)
        self._segments: Segments = ()
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def length(self) -> int:
        return sum(map(len, self._segments))

    def move_to(self, wanted: Segments) -> int:
        """Hold exactly these segments, keeping those that it begins with already.

        Returns:
            The tokens it holds then.
        """
        kept = 0
        while self._segments[kept : kept + 1] == wanted[kept : kept + 1] != ():
            kept += 1
        self._segments = wanted[:kept]
        self._layers = [
            (keys[:, :, : self.length], values[:, :, : self.length])
            for keys, values in self._layers
        ]
        for segment in wanted[kept:]:
            self._extend(segment)
        return self.length

    def cache(self, rows: int, room: int) -> DynamicCache:
        """A cache for a batch: every row begins with the shared tokens.

        Args:
            room: tokens a row may come to hold, the shared ones included.
        """
        return _cache_of(self._new_layers(rows, room))

    def _new_layers(self, rows: int, room: int) -> list[RoomyLayer]:
        layers = [RoomyLayer(room) for _ in range(self._count)]
        if self.length:
            for layer, (keys, values) in zip(layers, self._layers, strict=True):
                layer.start(keys, values, rows)
        return layers

    @torch.inference_mode()
    def _extend(self, segment: Sequence[int]) -> None:
        start = self.length
        end = start + len(segment)
        layers = self._new_layers(1, end)
        device = self._model.device
        self._model(
            input_ids=torch.tensor([segment], device=device),
            attention_mask=torch.ones((1, end), dtype=torch.long, device=device),
            position_ids=torch.arange(start, end, device=device)[None],
            past_key_values=_cache_of(layers),
            use_cache=True,
            logits_to_keep=1,
        )
        self._layers = [layer.show() for layer in layers]
        self._segments = (*self._segments, tuple(segment))


def _cache_of(layers: list[RoomyLayer]) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache
