"""Decoding whose steps a GPU replays as one graph, see README.md.

A graph knows no other shapes and places than those that it was captured with. So all tensors stay
where they are: keys and values have room for all tokens to come from the beginning, and where the
next one goes is a number on the device. What was not written yet is masked.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import PreTrainedModel

from repro.evaluate.forward import Batch, count_step
from repro.machine.transfer import to_device


class Replayed:
    """Steps of a batch, as `forward.step` takes them but for rounding; rows stay in the batch."""

    @torch.inference_mode()
    def __init__(self, model: PreTrainedModel, batch: Batch) -> None:
        """For a batch of `SharedPrefix`, whose cache has room for all tokens to come."""
        assert batch.prefix is not None
        self.batch = batch
        self._model = model
        self._layers = batch.cache.layers
        self._length = self._layers[0].length
        device = batch.mask.device
        self._mask = F.pad(batch.mask, (0, self._layers[0].room - self._length))
        self._place = to_device(torch.tensor([self._length]), device)
        self._positions = batch.positions.clone()
        self._tokens = torch.zeros_like(batch.positions)
        self._logits = batch.logits
        for layer in self._layers:
            layer.write_at(self._place)
        self._work: Callable[[], None] = self._once
        self._steps = 0

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> Batch:
        """One token more for every row; `tokens` is [rows]."""
        count_step(self.batch)
        self._tokens.copy_(tokens[:, None])
        if self._steps == 1:  # the first makes what libraries make once, which no graph may hold
            self._work = captured(self._once, tokens.device)
        self._work()
        self._steps += 1
        self._length += 1
        self.batch = replace(
            self.batch,
            logits=self._logits,
            mask=self._mask[:, : self._length],
            positions=self._positions,
            places=tuple(place + 1 for place in self.batch.places),
        )
        for layer in self._layers:
            layer.length = self._length
        return self.batch

    def _once(self) -> None:
        """A step, all of it on the device."""
        assert self.batch.prefix is not None
        self._mask.index_fill_(1, self._place, True)
        output = self._model(
            input_ids=self._tokens,
            attention_mask=self._mask[:, None, None],
            position_ids=self._positions,
            past_key_values=self.batch.cache,
            use_cache=True,
            logits_to_keep=1,
            shared_prefix=self.batch.prefix.layers,
        )
        self._logits = output.logits[:, -1]
        self._positions += 1
        self._place += 1


def captured(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The work as one graph of a GPU, without doing it yet; elsewhere the work itself."""
    if device.type != "cuda":
        return work
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
