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
    """The settings of one fine-tune (section 3 of the paper; AUDIT A1, A2, A10, A11).

    Attributes:
        learning_rate: of the first step; it decays linearly to 0, without warm-up.
        micro_batch: samples whose label tokens are averaged together.
        accumulation: micro-batches of one optimiser step, over all replicas.
        max_length: tokens a sample is cut to, BOS and EOS included; 0 for no cut.
        truncation_side: "right" cuts the end of the sample (the target first), "source" the end
            of its input text.
        loss_weighting: "micro-batch" for the mean of micro-batch means, one without labels
            counting as zero; "step-tokens" for the mean over all label tokens of the step.
        clip_norm: gradient norm limit; 0 for none.
        label_boundary: "joint" tokenises prompt and target together; "separate" keeps a target
            from fusing with the prompt's last character.
        seed: of the sample order, and of dropout where a model has any.
        lora_rank: of the changes that alone are trained, see `lora`; 0 trains all weights, as the
            paper does.
        dtype: "float32"; "bfloat16" for bfloat16 compute on float32 master weights, saved in
            bfloat16; "float64" for proofs.
        checkpoint: optimiser steps after which training ends, on the schedule of all steps; 0 for
            no such end.
    """

    learning_rate: float
    epochs: int = EPOCHS
    micro_batch: int = MICRO_BATCH
    accumulation: int = ACCUMULATION
    max_length: int
    truncation_side: Literal["right", "source"]
    loss_weighting: Literal["micro-batch", "step-tokens"]
    clip_norm: float
    label_boundary: Literal["joint", "separate"]
    seed: int
    dtype: str
    checkpoint: int = 0
    lora_rank: int = 0

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

        Raises:
            ReproError: training on so many rows is over before (2).
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

    Attributes:
        demonstrations: how many stood before every row.
        samples: rows; steps: optimiser steps taken.
        input_tokens: of one epoch, after cutting; label_tokens: those that carry a label.
        cut_targets: samples that lost a part of their target; dead_samples: all of it.
        dead_micro_batches: micro-batches without any label, for each epoch.
        unused_samples: samples at the very end of the order that fill no whole step.
        losses: of each step, the objective whose gradient was taken (under "micro-batch" dead
            micro-batches count as 0); null where the step had no label.
        gradient_norms: of each step, before clipping.
        weight_change: mean |fine-tuned - base| over all weights as saved, see `weight_change`.
        versions: of the packages; machine: device, threads, processes, token budget at the end
            (and the planned one, where memory ran out), and where the memory lay.
        timing: seconds and tokens a second; the only part that differs between equal runs.
    """

    recipe: dict[str, Any]
    task: str
    demonstrations: int
    order_sha256: str
    samples: int
    steps: int
    input_tokens: int
    label_tokens: int
    cut_targets: int
    dead_samples: int
    dead_micro_batches: list[int]
    unused_samples: int
    losses: list[float | None]
    gradient_norms: list[float]
    weight_change: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    timing: dict[str, float]
