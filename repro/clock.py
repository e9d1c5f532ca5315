"""Where time goes, and how much arithmetic models do in it.

`part` and `count` speak to the innermost `measuring` block of this process, and to nobody outside
of one: whoever wants to know opens a block, so that a step measures itself wherever it is done.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelSizes:
    """What a model's FLOPs follow from: two for each weight that a token meets, and attention.

    Attributes:
        weights: of all layers, without embeddings and output head.
        attention: summed over layers, heads times head size.
        head: weights of the output head.
    """

    weights: int
    attention: int
    head: int

    @classmethod
    def of(cls, model: Any) -> "ModelSizes":
        """The sizes of a causal language model of transformers."""
        config = model.config
        ends = {id(w): w for w in (model.get_input_embeddings().weight, _head(model))}
        weights = sum(parameter.numel() for parameter in model.parameters())
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            weights - sum(weight.numel() for weight in ends.values()),
            config.num_hidden_layers * heads * size,
            _head(model).numel(),
        )


def _head(model: Any) -> Any:
    return model.get_output_embeddings().weight


class Clock:
    """Seconds and arithmetic by part of a run; a part inside another is not counted twice.

    Attributes:
        seconds: by part.
        sizes: of the models, all alike; None before the first.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.sizes: ModelSizes | None = None
        self._work: dict[str, tuple[float, float, float]] = {}
        self._open: list[str] = []
        self._begin = self._since = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the block's time to a part, and that of parts inside it to them."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def absorb(self, other: "Clock") -> None:
        """Add what another clock measured, of this process or of another."""
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        for name, (tokens, pairs, rows) in other._work.items():
            self.count(name, tokens=tokens, pairs=pairs, rows=rows)
        self.sizes = other.sizes or self.sizes

    def count(self, part: str, *, tokens: float, pairs: float, rows: float) -> None:
        """Add arithmetic to a part, padding left out.

        Args:
            tokens: that went through the layers.
            pairs: of a token and one that it attends to, itself included.
            rows: positions whose logits were computed.
        """
        before = self._work.get(part, (0.0, 0.0, 0.0))
        self._work[part] = before[0] + tokens, before[1] + pairs, before[2] + rows

    def flops(self, part: str) -> float:
        """FLOPs of the model in a part; in training, a backward pass counts twice a forward one."""
        sizes = self.sizes
        if part not in self._work or sizes is None:
            return 0.0
        tokens, pairs, rows = self._work[part]
        forward = 2 * tokens * sizes.weights + 4 * pairs * sizes.attention + 2 * rows * sizes.head
        return forward * (3 if part == "train" else 1)


_current: ContextVar[Clock | None] = ContextVar("clock", default=None)


@contextmanager
def measuring() -> Iterator[Clock]:
    """A new clock that the block's parts and arithmetic go to."""
    clock = Clock()
    token = _current.set(clock)
    try:
        yield clock
    finally:
        _current.reset(token)


def part(name: str) -> AbstractContextManager[None]:
    """Give the block's time to a part, see `Clock.part`."""
    clock = _current.get()
    return nullcontext() if clock is None else clock.part(name)


def count(part: str, *, tokens: float, pairs: float, rows: float) -> None:
    """Add arithmetic to a part, see `Clock.count`."""
    if (clock := _current.get()) is not None:
        clock.count(part, tokens=tokens, pairs=pairs, rows=rows)


def computes(model: Any) -> None:
    """Say which model the arithmetic to come is of."""
    if (clock := _current.get()) is not None:
        clock.sizes = ModelSizes.of(model)
