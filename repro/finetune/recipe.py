"""What decides the weights that come out, besides base and rows, and what happened. No torch."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from repro.errors import ReproError
from repro.spec.protocol import Protocol

EPOCHS = 2
MICRO_BATCH = 2
ACCUMULATION = 8
DTYPES = ("float32", "bfloat16", "float64")
FACTS = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one fine-tune (section 3 of the paper; AUDIT A1, A2, A10, A11)."""

    learning_rate: float  # of the first step; it decays linearly to 0, without warm-up
    epochs: int = EPOCHS
    micro_batch: int = MICRO_BATCH  # samples whose label tokens are averaged together
    accumulation: int = ACCUMULATION  # micro-batches of one optimiser step, over all replicas
    max_length: int  # tokens a sample is cut to, BOS and EOS included; 0 for no cut
    # Cuts the end of the sample, the target first, or of its input text; see `encode`.
    truncation_side: Literal["right", "source"]
    # The mean of micro-batch means, one without labels counting as zero; or over all label tokens.
    loss_weighting: Literal["micro-batch", "step-tokens"]
    clip_norm: float  # gradient norm limit; 0 for none
    # Whether prompt and target are tokenised together, or the target cannot fuse with the prompt.
    label_boundary: Literal["joint", "separate"]
    seed: int  # of the sample order, and of dropout where a model has any
    # "bfloat16" computes in it on float32 master weights, and saves in it; "float64" is for proofs.
    dtype: str
    checkpoint: int = 0  # steps after which training ends, on the schedule of all; 0: at its end
    lora_rank: int = 0  # of the changes that alone are trained, see `lora`; 0: all weights

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ReproError(f"a fine-tune's dtype is one of {', '.join(DTYPES)}: '{self.dtype}'")
        for name in ("epochs", "micro_batch", "accumulation"):
            if getattr(self, name) < 1:
                raise ReproError(f"{name} of a fine-tune must be at least 1")

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, for content keys and records; without those that are not used."""
        unused = ("checkpoint", "lora_rank")
        return {name: value for name, value in asdict(self).items() if value or name not in unused}

    def steps(self, rows: int, epochs: int = 0) -> int:
        """Optimiser steps of training on so many rows, or of its first epochs, see `schedule`."""
        micro_batches = -(-rows // self.micro_batch)
        return (epochs or self.epochs) * max(1, micro_batches // self.accumulation)

    def until(self, checkpoint: str, rows: int, name: str) -> "Recipe":
        """The recipe that ends at a checkpoint, such as "8" steps or "epoch2"; at its end without.

        Raises ReproError (2) if training on so many rows is over before.
        """
        if not checkpoint:
            return self
        number = int(checkpoint.removeprefix("epoch"))
        after = self.steps(rows, number) if checkpoint.startswith("epoch") else number
        most = self.steps(rows)
        if after > most:
            raise ReproError(
                f"{name}: its checkpoint is after {after} steps, and {self.epochs} epochs of "
                f"{rows} rows are {most}",
                hint=f"name a checkpoint of at most {most}, or more epochs",
            )
        return replace(self, checkpoint=after)


def recipe_from(
    protocol: Protocol,
    *,
    seed: int,
    dtype: str,
    learning_rate_factor: float = 1.0,
    length_factor: float = 1.0,
    epochs: int = 0,
    lora_rank: int = 0,
) -> Recipe:
    """The recipe that a protocol means, scaled for a profile's model.

    Args:
        learning_rate_factor: the protocol's rate is one for Llama-2; a small model needs more.
        length_factor: for tokenizers or texts that are shorter or longer than the paper's.
        epochs: of the variant; 0 for the paper's two.
    """
    return Recipe(
        learning_rate=protocol.learning_rate * learning_rate_factor,
        epochs=epochs or EPOCHS,
        accumulation=ACCUMULATION * protocol.replicas,
        max_length=round(protocol.max_length * length_factor),
        truncation_side=protocol.truncation_side,
        loss_weighting=protocol.loss_weighting,
        clip_norm=protocol.clip_norm,
        label_boundary=protocol.label_boundary,
        seed=seed,
        dtype=dtype,
        lora_rank=lora_rank,
    )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What happened in a fine-tune, as its model's folder tells it.

    `timing` alone differs between equal runs.
    """

    recipe: dict[str, Any]
    task: str
    demonstrations: int  # before every row
    order_sha256: str
    samples: int
    steps: int
    input_tokens: int  # of one epoch, after cutting
    label_tokens: int  # of these
    cut_targets: int  # samples that lost a part of their target
    dead_samples: int  # those that lost all of it
    dead_micro_batches: list[int]  # without any label, for each epoch
    unused_samples: int  # at the very end of the order, which fill no whole step
    # The objective of each step whose gradient was taken (under "micro-batch" dead micro-batches
    # count as 0); null where the step had no label.
    losses: list[float | None]
    gradient_norms: list[float]  # before clipping
    weight_change: dict[str, Any]  # see `outcome.mean_absolute_change`
    versions: dict[str, str]
    machine: dict[str, Any]  # and where the memory lay; the token budget at the end, and as planned
    timing: dict[str, float]
