"""What comes out of training: finite weights in the dtype they are saved in, facts, a folder."""

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import reduce  # type: ignore[import-untyped]
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.finetune import schedule
from repro.finetune.encode import Sample
from repro.finetune.recipe import FACTS, Facts, Recipe
from repro.finetune.shard import is_sharded, own
from repro.models.load import quiet


def diverged(step: int, steps: int, loss: float, norm: float, rate: float) -> ReproError:
    """The error for a loss, gradient or weight that is not finite."""
    return ReproError(
        f"training diverged at step {step} of {steps}: loss {loss:g}, gradient norm {norm:g}, "
        f"learning rate {rate:g}",
        hint="try a tenth of the protocol's learning rate (repro protocols shows it): "
        "repro run --set learning_rate=VALUE",
        exit_code=EXIT_FAILED,
    )


def finite_weights(model: Any) -> bool:
    """Whether all weights are; they can overflow in the very last step, which no loss shows."""
    finite = all(bool(own(parameter).isfinite().all()) for parameter in model.parameters())
    if is_sharded(model):
        finite = not reduce(torch.tensor(float(not finite), device=model.device), "sum").item()
    return finite


def round_weights(model: Any) -> None:
    """Round weights to bfloat16; parts of a sharded parameter keep their dtype until `gather`."""
    for parameter in model.parameters():
        if isinstance(parameter, DTensor):
            part = own(parameter).data
            part.copy_(part.to(torch.bfloat16))
        else:
            parameter.data = parameter.data.to(torch.bfloat16)


@contextmanager
def as_saved(model: Any, recipe: Recipe) -> Iterator[None]:
    """A whole model with its weights as they are saved, in the middle of training."""
    held = [parameter.data for parameter in model.parameters()]
    if recipe.dtype == "bfloat16":
        round_weights(model)
    try:
        yield
    finally:
        for parameter, data in zip(model.parameters(), held, strict=True):
            parameter.data = data


def counts(
    samples: Sequence[Sample],
    steps: Sequence[schedule.Step],
    order: Sequence[Sequence[int]],
    micro_batch: int,
) -> dict[str, Any]:
    """Sizes of the training set after cutting, and how many micro-batches are dead."""

    def dead(seen: Sequence[int], start: int) -> bool:
        return not any(samples[i].labels for i in seen[start : start + micro_batch])

    used = sum(len(positions) for step in steps for positions in step)
    starts = range(0, len(order[0]), micro_batch)
    return {
        "samples": len(samples),
        "steps": len(steps),
        "input_tokens": sum(len(sample.ids) for sample in samples),
        "label_tokens": sum(sample.labels for sample in samples),
        "cut_targets": sum(bool(sample.cut and sample.labels) for sample in samples),
        "dead_samples": sum(not sample.labels for sample in samples),
        "dead_micro_batches": [sum(dead(seen, i) for i in starts) for seen in order],
        "unused_samples": sum(map(len, order)) - used,
    }


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights in main memory; of a sharded model this process's part."""
    return {n: own(p).detach().to("cpu", copy=True) for n, p in model.named_parameters()}


def mean_absolute_change(
    model: Any, before: dict[str, torch.Tensor], vocabulary: int
) -> dict[str, Any]:
    """Mean over all weights of |fine-tuned - base| (section 5.3), in all and by kind of weight.

    Rows of the embedding beyond `vocabulary`, added for a pad token, are left out: the base has
    none. Tied weights count once. For a sharded model, all processes add up their parts.

    Returns:
        {"all": mean, "by_weight": {"model.layers.*.mlp.up_proj.weight": mean, ...}}.
    """
    embedding = model.get_input_embeddings().num_embeddings
    sharded, main = is_sharded(model), PartialState().is_main_process
    moved: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        kind = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        after, old = own(parameter).detach(), before[name]
        if not isinstance(parameter, DTensor) and len(old) == embedding:
            after, old = after[:vocabulary], old[:vocabulary]
        difference = after.double() - old.to(after.device).double()
        counted = not sharded or main or isinstance(parameter, DTensor)
        moved[kind] += difference.abs().sum().item() * counted
        count[kind] += difference.numel() * counted
    if sharded:
        own_sums = torch.tensor([list(moved.values()), list(count.values())], dtype=torch.float64)
        sums = reduce(own_sums.to(model.device), "sum").tolist()
        for kind, total, weights in zip(moved, *sums, strict=True):
            moved[kind], count[kind] = total, int(weights)
    return {
        "all": sum(moved.values()) / sum(count.values()),
        "by_weight": {kind: moved[kind] / count[kind] for kind in sorted(moved)},
    }


def save(model: Any, tokenizer: Any, facts: Facts, folder: Path) -> None:
    """Write weights (safetensors), tokenizer and `facts.json` into an existing folder.

    Only the main process writes. Not atomic: give a temporary folder and rename it afterwards.
    """
    if not PartialState().is_main_process:
        return
    with quiet():  # a bar would fill a piped log
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    text = json.dumps(asdict(facts), indent=1, allow_nan=False) + "\n"
    (folder / FACTS).write_text(text, encoding="utf-8")


def require_saveable(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save all but the weights once, before they are trained, so that they can be saved afterwards.

    Settings of sampling that transformers refuses to save are reset: the kit never samples, and
    says so in the saved model too.

    Raises:
        ReproError: the model's settings or its tokenizer cannot be saved (3).
    """
    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        special = ("bos_token_id", "eos_token_id", "pad_token_id")
        kept = {name: getattr(own, name, None) for name in special}
        model.generation_config = GenerationConfig(**kept)
    try:
        with quiet(), tempfile.TemporaryDirectory(dir=folder) as trial:
            for one in (model.config, model.generation_config, tokenizer):
                one.save_pretrained(trial)
    except (ValueError, TypeError, AttributeError) as error:
        raise ReproError(
            f"the settings of the base model cannot be saved: {str(error).splitlines()[0]}",
            hint="mend config.json, generation_config.json or tokenizer_config.json of the base",
            exit_code=EXIT_MISSING,
        ) from None
