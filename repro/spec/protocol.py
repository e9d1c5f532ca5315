"""Protocols: how exactly the paper is followed, as named switches (AUDIT A1 to A13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from repro.spec.keys import enters

ProtocolName = Literal["published-code", "paper-text", "corrected"]
PROTOCOLS: tuple[str, ...] = get_args(ProtocolName)

KeepDrop = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The value of every switch. What each is for stands in `protocols.toml`, with its reason.

    Beside each stands which content keys it enters, see `repro.spec.keys`.

    Lengths and the learning rate are those for Llama-2; a profile scales them for its model.
    """

    learning_rate: float = enters("model")
    max_length: int = enters("model")
    truncation_side: Literal["right", "source"] = enters("model")
    loss_weighting: Literal["micro-batch", "step-tokens"] = enters("model")
    clip_norm: float = enters("model")
    replicas: int = enters("model")
    label_boundary: Literal["joint", "separate"] = enters("model")
    demonstrations_in_train: KeepDrop = enters("model rows")
    bos_zero_shot_generation: int = enters("cell")
    bos_few_shot_classification: int = enters("cell")
    zero_shot_blank: bool = enters("cell")
    query_tokens: Literal["joint", "separate"] = enters("cell")
    label_tokens: Literal["prompt-1", "in-context"] = enters("cell")
    trailing_blank: Literal["keep", "strip"] = enters("cell")
    prompt2_spacing: Literal["code", "paper"] = enters("cell")
    rte_labels: Literal["all", "occurring"] = enters("cell")
    gold_dash: Literal["wrong", "drop"] = enters("cell rows")
    rows: int = enters("cell rows")
    repeated_inputs: KeepDrop = enters("cell rows")
    empty_inputs: KeepDrop = enters("cell rows", "model rows")
    demonstrations_in_test: KeepDrop = enters("cell rows")
    leaked_rows: KeepDrop = enters("cell rows")
    cut_at_blank_line: bool = enters("cell")
    max_new_tokens: int = enters("cell")
    rouge_stemmer: bool = enters("cell")
    precision: Literal["mixed", "uniform"] = enters("cell precision")
    rotary_precision: Literal["float32", "rounded"] = enters("model", "cell")
    best_of: Literal["smallest", "all", "split-half"] = enters()


def typed(value: object) -> str:
    """A switch's value as `--set` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Switch:
    """A departure between paper, code and repair."""

    name: str
    audit: str
    reason: str
    kind: type
    allowed: tuple[str, ...]  # the values it can take; empty for numbers and booleans
    values: Mapping[str, object]  # under each protocol of PROTOCOLS

    def parse(self, text: str) -> object:
        """A value typed by a user; raises ValueError that says what is allowed."""
        if self.allowed:
            if text not in self.allowed:
                raise ValueError(f"{self.name} is one of {', '.join(self.allowed)}, not '{text}'")
            return text
        if self.kind is bool:
            if text not in ("true", "false"):
                raise ValueError(f"{self.name} is true or false, not '{text}'")
            return text == "true"
        try:
            value = self.kind(text)
        except ValueError:
            raise ValueError(
                f"{self.name} is a number ({self.kind.__name__}), not '{text}'"
            ) from None
        if not 0 <= value < float("inf") or (
            value == 0 and self.name in ("replicas", "learning_rate", "rows", "max_new_tokens")
        ):
            raise ValueError(f"{self.name} cannot be {text}")
        if self.name.startswith("bos_") and value > 2:
            raise ValueError(f"{self.name} is a number of BOS tokens, 0, 1 or 2, not {text}")
        return value
