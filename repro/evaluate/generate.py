"""Greedy generation in left-padded batches, up to EOS, the first blank line, or a length.

A GPU may replay the steps of decoding as one graph, see README.md. A graph knows no other shapes
and places than those that it was captured with. So all tensors stay where they are: keys and values
have room for all tokens to come from the beginning, and where the next one goes is a number on the
device. What was not written yet is masked.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import PreTrainedModel

from repro import clock
from repro.evaluate.batches import PADDING, Budget, alike, in_batches
from repro.evaluate.forward import Batch, count_step, join, keep, not_finite, pad_id, prefill, step
from repro.evaluate.prefix import SharedPrefix
from repro.machine.transfer import to_device
from repro.spec.prompts import SEPARATOR

Stopped = Literal["eos", "blank-line", "length"]


@dataclass(frozen=True)
class Generation:
    """What a model wrote."""

    text: str  # without special tokens; cut at the first blank line where that is asked for
    tokens: tuple[int, ...]  # ids generated, an EOS included
    stopped: Stopped


def stop_ids(config: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end a generation: the tokenizer's EOS and those of the generation config."""
    configured = getattr(config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(id_ for id_ in (*ids, tokenizer.eos_token_id) if id_ is not None)


@dataclass(frozen=True)
class Ending:
    """Tells when a growing generation is done: at EOS, at a blank line, or at its length.

    Looks for a blank line only where the last token holds a line break.
    """

    tokenizer: Any
    stops: Container[int]
    max_new_tokens: int
    cut_at_blank_line: bool
    _breaks: dict[int, bool] = field(default_factory=dict)

    def __call__(self, tokens: Sequence[int]) -> Generation | None:
        """The generation, if its last token ends it; None while it goes on."""
        if tokens[-1] in self.stops:
            stopped: Stopped = "eos"
        elif self.cut_at_blank_line and self._blank_line(tokens):
            stopped = "blank-line"
        elif len(tokens) == self.max_new_tokens:
            stopped = "length"
        else:
            return None
        text = self._decode(tokens)
        if self.cut_at_blank_line:
            text = text.split(SEPARATOR, 1)[0]
        return Generation(text, tuple(tokens), stopped)

    def _blank_line(self, tokens: Sequence[int]) -> bool:
        last = tokens[-1]
        if last not in self._breaks:
            self._breaks[last] = "\n" in self._decode([last])
        return self._breaks[last] and SEPARATOR in self._decode(tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens, blanks left as they are."""
        text: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def generate(
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    budget: Budget,
    *,
    max_new_tokens: int,
    cut_at_blank_line: bool,
    prefix: SharedPrefix | None = None,
    replayed: bool = False,
) -> list[Generation]:
    """Continue each prompt with its most likely tokens.

    A row is done at EOS, at `max_new_tokens`, and, where text counts only up to the first blank
    line, as soon as one is there: what would follow could not change the text.

    Args:
        prefix: holds what all prompts begin with; None computes each prompt whole.
        replayed: whether steps are replayed as a graph; with a prefix only. Changes rounding.

    Raises:
        ReproError: the model's logits are not finite.
    """
    pad = pad_id(tokenizer, model)
    stops = stop_ids(model.generation_config, tokenizer)
    finish = Ending(tokenizer, stops, max_new_tokens, cut_at_blank_line)

    def begin(batch: list[Sequence[int]]) -> Batch:
        """Prompts, longest first, through the model; in parts of like lengths, which join."""
        parts: list[Batch] = []
        while batch:
            size = alike([len(prompt) for prompt in batch], PADDING) if prefix else len(batch)
            whole = not parts and size == len(batch)
            room = max_new_tokens if whole else 0
            parts.append(prefill(model, batch[:size], prefix, pad=pad, room=room))
            batch = batch[size:]
        return join(parts, max_new_tokens) if len(parts) > 1 else parts[0]

    def work(rows: list[int]) -> list[Generation]:
        with clock.part("prefill"):
            batch = begin([prompts[row] for row in rows])
            if batch.logits.is_cuda:
                torch.cuda.synchronize()  # so that decoding is not charged with it
        written: list[list[int]] = [[] for _ in rows]
        done: dict[int, Generation] = {}
        running = list(range(len(rows)))  # which row each line of the batch belongs to
        replay: Replayed | None = None
        while True:
            # argmax gives the first of equal maxima; float16 logits do tie.
            chosen = batch.logits.argmax(-1)
            finite = batch.logits.gather(1, chosen[:, None]).isfinite()[:, 0]
            # Together, since every transfer waits for the device.
            tokens, right = torch.stack([chosen, finite.to(chosen.dtype)]).tolist()
            if not all(right):
                raise not_finite()
            for row, token in zip(running, tokens, strict=True):
                if row not in done:
                    written[row].append(token)
                    if end := finish(written[row]):
                        done[row] = end
            if len(done) == len(rows):
                return [done[row] for row in range(len(rows))]
            left = [line for line, row in enumerate(running) if row not in done]
            # Half of a graph's rows leave together, since what is left is captured again.
            least = len(running) / 2 if replay else 1
            if prefix and len(running) - len(left) >= least:
                replay = None
                rows_left = to_device(torch.tensor(left), chosen.device)
                batch, chosen = keep(batch, rows_left, left), chosen[rows_left]
                running = [running[line] for line in left]
            if replayed and prefix:
                replay = replay or Replayed(model, batch)
                batch = replay.step(chosen)
            else:
                batch = step(model, batch, chosen)

    costs = [
        (prefix.cost(prompt) if prefix else len(prompt)) + max_new_tokens for prompt in prompts
    ]
    with clock.part("decode"):
        return in_batches(costs, budget, work)


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
