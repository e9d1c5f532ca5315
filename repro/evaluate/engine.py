"""What answers a cell's prompts: the interface, and the kit's own engine."""

from contextlib import ExitStack
from typing import Protocol, Self

from transformers import PreTrainedModel

from repro import clock
from repro.evaluate.batches import Budget, in_batches
from repro.evaluate.encode import Encoded, Settings, Tokenizer
from repro.evaluate.forward import label_logits, pad_id
from repro.evaluate.generate import Generation, generate
from repro.evaluate.prefix import SharedPrefix, segments, sharing, supports_sharing


class Engine(Protocol):
    """Answers the prompts of cells with one model, until its `with` block ends.

    Attributes:
        positions: tokens that the model was made for; None where nothing says it.
        score_tokens: positions behind its prompt that scoring labels takes.
        reduced_budget: tokens of a batch, where memory ran out and made them fewer; else None.
    """

    tokenizer: Tokenizer
    positions: int | None
    score_tokens: int

    @property
    def reduced_budget(self) -> int | None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...

    def label_logits(self, encoded: Encoded) -> list[dict[str, float]]:
        """The logit of each label's token behind each prompt.

        Raises:
            ReproError: a logit is not finite (1), or a prompt does not fit into memory (3).
        """
        ...

    def generate(
        self, encoded: Encoded, *, max_new_tokens: int, cut_at_blank_line: bool
    ) -> list[Generation]:
        """Each prompt continued as `repro.evaluate.generate` says; raises as `label_logits`."""
        ...


class TorchEngine:
    """The kit's own engine: a model of transformers, in batches by a token budget."""

    score_tokens = 0

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        settings: Settings,
        *,
        replayed: bool = False,
    ) -> None:
        """An engine for a loaded model; `replayed` as of `generate`."""
        self._model, self.tokenizer, self._replayed = model.eval(), tokenizer, replayed
        self.positions = getattr(model.config, "max_position_embeddings", None)
        self._budget = Budget(settings.token_budget)
        self._share = settings.share_prefix and supports_sharing(model)
        self._prefix: SharedPrefix | None = None
        self._opened = ExitStack()

    @property
    def reduced_budget(self) -> int | None:
        budget = self._budget
        return budget.tokens if budget.tokens < budget.first else None

    def __enter__(self) -> Self:
        clock.computes(self._model)
        if self._share:
            self._prefix = self._opened.enter_context(sharing(self._model))
        return self

    def __exit__(self, *raised: object) -> None:
        self._prefix = None
        self._opened.close()

    def label_logits(self, encoded: Encoded) -> list[dict[str, float]]:
        self._move(encoded)
        prompts, labels, pad = encoded.prompts, encoded.labels, pad_id(self.tokenizer, self._model)
        return label_logits(
            self._model, prompts, labels, self._budget, pad=pad, prefix=self._prefix
        )

    def generate(
        self, encoded: Encoded, *, max_new_tokens: int, cut_at_blank_line: bool
    ) -> list[Generation]:
        self._move(encoded)
        return generate(
            self._model,
            self.tokenizer,
            encoded.prompts,
            self._budget,
            max_new_tokens=max_new_tokens,
            cut_at_blank_line=cut_at_blank_line,
            prefix=self._prefix,
            replayed=self._replayed,
        )

    def _move(self, encoded: Encoded) -> None:
        """Compute what the prompts begin with, as one batch of one row."""
        if prefix := self._prefix:
            common = segments(encoded)
            length = max(1, sum(map(len, common)))
            with clock.part("prefill"):
                in_batches([length], self._budget, lambda rows: [prefix.move_to(common)])
