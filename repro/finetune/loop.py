"""The fine-tuning loop: FT and FTICL of any causal language model that transformers loads."""

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import reduce  # type: ignore[import-untyped]
from torch.distributed.tensor import DTensor

from repro.bars import paced
from repro.errors import EXIT_MISSING, ReproError
from repro.finetune import flex, lora, outcome, schedule
from repro.finetune.attention import Way
from repro.finetune.curves import Track
from repro.finetune.encode import Row, encode
from repro.finetune.objective import Packed, objective
from repro.finetune.offload import OffloadedAdamW
from repro.finetune.recipe import Facts, Recipe
from repro.finetune.schedule import Weighted, weigh
from repro.finetune.shard import gather, is_sharded, own, total_norm
from repro.machine.exhausted import out_of_memory
from repro.spec.prompts import Template


def finetune(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    demonstrations: Sequence[Row],
    template: Template,
    recipe: Recipe,
    *,
    contexts: Sequence[str] = (),
    order: Sequence[Sequence[int]] | None = None,
    token_budget: int = 8192,
    offloaded: bool = False,
    recast: bool = False,
    way: Way | None = None,
    progress: Any = None,
    track: Track | None = None,
    passing: Mapping[int, Callable[[Facts], None]] | None = None,
) -> Facts:
    """Fine-tune a model, all weights or LoRA's changes of them, in place, on its own device.

    The optimiser steps are those of the authors' trainer (see `schedule`): AdamW
    (betas .9 and .999, eps 1e-8, no weight decay), linear decay. A dead step, without any label,
    still moves the weights by AdamW's momentum, as there. The model is left in evaluation mode, its
    weights in the dtype that they are saved in.

    Under `accelerate launch` or `torchrun` every process trains its own copy: each takes its equal
    part of a step's micro-batches, and gradients are summed before the step, so that the number of
    processes changes nothing but the speed.

    Args:
        model: a transformers causal language model; with several processes each on its own device,
            whole or sharded (see `shard`). A sharded one ends up whole in the main process's memory
            and can then be saved, no more.
        tokenizer: gets "[PAD]" where it has no pad token (and the model a row).
        rows: dicts with the task's fields and "output".
        demonstrations: put before every row; empty for plain FT.
        contexts: the text before each row instead, where rows have demonstrations of their own;
            the first one's are then given as `demonstrations`.
        order: positions of rows in the order they are trained on, one list an epoch; shuffled
            from the seed without.
        token_budget: of one forward pass; halved when memory runs out. Changes rounding only.
        offloaded: whether AdamW's moments lie in main memory. Changes no bit.
        recast: whether weights in bfloat16 are made for each use, see `casts`. Changes no bit.
        way: how packed samples attend; None for what suits the device. Changes rounding only.
        progress: a rich `Progress` to add a bar to; track: gets the numbers of every step.
        passing: by number of steps what is called after so many, with the weights as they are saved
            and the facts of a training that had ended there. Of whole models without LoRA only.

    Returns:
        The facts, which but for `timing` are the same whenever it is repeated.

    Raises:
        ReproError: no rows, no label left, a step that cannot be divided among the processes, no
            memory for a single sample, or training that diverged: the model is then of no use.
    """
    start = time.monotonic()
    state = PartialState()
    if not len(rows):
        raise ReproError("no training rows", hint="see which switches drop rows: repro protocols")
    if recipe.accumulation % state.num_processes:
        raise ReproError(
            f"{recipe.accumulation} micro-batches a step cannot be divided among "
            f"{state.num_processes} processes",
            hint=f"start a number of processes that divides {recipe.accumulation}",
        )
    samples = encode(rows, demonstrations, template, tokenizer, recipe, contexts)
    if not any(sample.labels for sample in samples):
        raise ReproError(
            f"no training sample has a label left within {recipe.max_length} tokens",
            hint="cut the input instead of the target: repro run --set truncation_side=source",
        )
    order = schedule.shuffled(len(samples), recipe.epochs, recipe.seed) if order is None else order
    steps = schedule.steps(order, recipe.micro_batch, recipe.accumulation)
    taken = steps[: recipe.checkpoint or None]

    vocabulary = model.get_input_embeddings().num_embeddings
    _add_pad_token(model, tokenizer)
    before = outcome.snapshot(model)
    master = torch.float64 if recipe.dtype == "float64" else torch.float32
    for parameter in model.parameters():
        parameter.data = parameter.data.to(master)
        parameter.requires_grad_(True)
    if recipe.lora_rank:
        if is_sharded(model):
            hint = "use one GPU, or train all weights"
            raise ReproError("LoRA trains on whole models only", hint=hint)
        lora.attach(model, recipe.lora_rank, recipe.seed)

    def facts(number: int, settings: Recipe) -> Facts:
        """Of the training up to a step, as if those settings had ended it there."""
        return Facts(
            recipe=settings.settings,
            task=template.task.name,
            demonstrations=len(demonstrations),
            order_sha256=schedule.digest(order),
            **outcome.counts(samples, steps[:number], order, recipe.micro_batch),
            losses=list(trainer.losses),
            gradient_norms=list(trainer.norms),
            weight_change=outcome.mean_absolute_change(model, before, vocabulary),
            versions={"python": platform.python_version(), **{n: version(n) for n in _PACKAGES}},
            machine={
                "device": device,
                "instructions": torch.backends.cpu.get_cpu_capability(),
                "threads": torch.get_num_threads(),
                "processes": state.num_processes,
                "token_budget": trainer.budget,
                "sharded": is_sharded(model),
                "offloaded": offloaded,
            }
            | ({"recast": True} if recast else {})
            | trainer.departures(token_budget)
            | trainer.kernels(),
            timing={
                "seconds": round(time.monotonic() - start, 3),
                "training_seconds": round(seconds, 3),
                "tokens_per_second": round(tokens / seconds, 1),
            },
        )

    device = model.device.type
    if device == "cuda":
        device = torch.cuda.get_device_name(model.device)
    torch.manual_seed(recipe.seed)  # only dropout draws from it
    model.train()
    begun, tokens = time.monotonic(), 0
    pad, whole = tokenizer.pad_token_id, len(steps)
    trainer = Trainer(
        model, pad, recipe, whole, token_budget, offloaded=offloaded, recast=recast, way=way
    )
    shown = progress if state.is_main_process else None
    with closing(trainer), paced(shown, "fine-tuning", len(taken), "tokens") as show:
        for number, step in enumerate(taken, 1):
            weighted = weigh(step, samples, recipe.loss_weighting, recipe.accumulation)
            trainer.step(number - 1, weighted)
            seconds = time.monotonic() - begun
            tokens += sum(len(samples[i].ids) for micro_batch in step for i in micro_batch)
            loss = trainer.losses[-1]
            show(number, tokens, f"loss {'none' if loss is None else f'{loss:.3f}'}, ")
            if track is not None:
                track(trainer.last(), number)
            if passing and number in passing:
                trainer.require_finite()
                with outcome.as_saved(model, recipe):
                    passing[number](facts(number, replace(recipe, checkpoint=number)))
    if recipe.lora_rank:
        lora.merge(model)
    model.eval()
    trainer.require_finite()
    if recipe.dtype == "bfloat16":
        outcome.round_weights(model)
    found = facts(len(taken), recipe)
    if is_sharded(model):
        gather(model, torch.bfloat16 if recipe.dtype == "bfloat16" else None)
    return found


_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers")
"""Those that compute the weights."""


class Trainer:
    """A model, its optimiser, and what was measured step by step."""

    def __init__(
        self,
        model: Any,
        pad: int,
        recipe: Recipe,
        steps: int,
        budget: int,
        *,
        offloaded: bool = False,
        recast: bool = False,
        way: Way | None = None,
    ) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._own = [own(parameter) for parameter in self._parameters]
        self._optimiser = (
            OffloadedAdamW(self._own, lr=recipe.learning_rate)
            if offloaded
            else torch.optim.AdamW(self._own, lr=recipe.learning_rate, weight_decay=0.0, fused=True)
        )
        self._model = model
        self._sharded = is_sharded(model)
        self._objective = objective(
            model, pad=pad, autocast=recipe.dtype == "bfloat16", way=way, kept_casts=not recast
        )
        self._graphs = flex.graphs()
        self._recipe = recipe
        self._steps = steps
        self._state = PartialState()
        self._recomputes = False
        self.budget = budget
        self.losses: list[float | None] = []
        self.norms: list[float] = []
        if self._sharded:
            if not isinstance(self._objective, Packed):
                raise ReproError(
                    f"fine-tuning a model of type {model.config.model_type} cannot be sharded",
                    hint="use a GPU that holds it whole: repro doctor",
                    exit_code=EXIT_MISSING,
                )
            self._recompute()

    def close(self) -> None:
        """Leave the model as it was found, but for its weights."""
        self._objective.close()
        if self._recomputes:
            self._model.gradient_checkpointing_disable()

    def departures(self, planned: int) -> dict[str, Any]:
        """What was done otherwise than planned for want of memory; weights differ by rounding."""
        told = {} if self.budget == planned else {"planned_token_budget": planned}
        return told | ({"recomputed": True} if self._recomputes and not self._sharded else {})

    def last(self) -> dict[str, float]:
        """Loss, where there was a label, gradient norm and learning rate of the last step."""
        rate = float(self._optimiser.param_groups[0]["lr"])
        loss = {} if self.losses[-1] is None else {"loss": self.losses[-1]}
        return loss | {"gradient_norm": self.norms[-1], "learning_rate": rate}

    def require_finite(self) -> None:
        """Raise the error of a training that diverged (1) where a weight is not finite."""
        if not outcome.finite_weights(self._model):
            told = self.last()
            loss, norm = told.get("loss", math.nan), told["gradient_norm"]
            raise outcome.diverged(len(self.losses), self._steps, loss, norm, told["learning_rate"])

    def held(self) -> list[torch.Tensor]:
        """What the optimiser keeps on the device."""
        if isinstance(self._optimiser, OffloadedAdamW):
            return list(self._optimiser.slots)
        return [value for state in self._optimiser.state.values() for value in state.values()]

    def kernels(self) -> dict[str, Any]:
        """How samples attend on a GPU, and the graphs that were compiled for that."""
        if self._model.device.type == "cpu" or not isinstance(self._objective, Packed):
            return {}
        return {"attention": self._objective.way, "graphs": flex.graphs() - self._graphs}

    def _recompute(self) -> None:
        """From here on, compute activations again in the backward pass."""
        self._recomputes = True
        self._model.gradient_checkpointing_enable({"use_reentrant": False})

    def step(self, number: int, groups: list[list[Weighted]]) -> None:
        """One optimiser step over micro-batches of weighted samples; records loss and norm."""
        rate = schedule.learning_rate(self._recipe.learning_rate, number, self._steps)
        count = self._state.num_processes
        shares = [[pair for group in groups[i::count] for pair in group] for i in range(count)]
        loss = self._backward(shares)
        if count > 1:
            loss = reduce(loss, "sum")
            for parameter in self._parameters:
                if not isinstance(parameter, DTensor):  # others were summed in the backward pass
                    parameter.grad = reduce(parameter.grad, "sum")
        norm = total_norm(self._parameters)
        for parameter, part in zip(self._parameters, self._own, strict=True):
            if isinstance(parameter.grad, DTensor):
                part.grad = parameter.grad.to_local()
        if self._recipe.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self._own, self._recipe.clip_norm, norm)
        # Together, since every transfer waits for the device.
        value, size = torch.stack([loss, norm.to(loss.dtype)]).tolist()
        if not math.isfinite(value) or not math.isfinite(size):
            raise outcome.diverged(number + 1, self._steps, value, size, rate)
        self._optimiser.param_groups[0]["lr"] = rate
        self._optimiser.step()
        self.losses.append(value if any(groups) else None)
        self.norms.append(size)

    def _backward(self, shares: list[list[Weighted]]) -> torch.Tensor:
        """Put the gradients of this process's share of the step in place.

        Where memory runs out, the whole step again, as an interrupted backward pass leaves
        gradients half added up: with half the token budget, or where a single sample is too much,
        with activations computed again in the backward pass. Not so with a sharded model: the
        others wait within a layer for what an interrupted process will not send.
        """
        weighted = shares[self._state.process_index]
        while True:
            self._optimiser.zero_grad()
            self._model.zero_grad()
            try:
                together = shares if self._sharded else ()
                loss = self._objective.backward(weighted, self.budget, together=together)
                for parameter in self._parameters:
                    if parameter.grad is None:
                        parameter.grad = torch.zeros_like(parameter)
                return loss
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self._sharded:
                    raise ReproError(
                        f"not enough memory on GPU {self._state.local_process_index} for a pass of "
                        f"{self.budget} tokens of the sharded model",
                        hint="give a profile of your own fewer train_tokens, or more gpus",
                        exit_code=EXIT_MISSING,
                    ) from error
                longest = max(len(sample.ids) for sample, _ in weighted)
                if self.budget > longest:
                    tokens = sum(len(sample.ids) for sample, _ in weighted)
                    self.budget = max(longest, min(self.budget, tokens)) // 2
                elif self._model.supports_gradient_checkpointing and not self._recomputes:
                    self._recompute()
                else:
                    raise ReproError(
                        f"not enough memory to train on one sample of {longest} tokens",
                        hint="use a device with more memory, or cut samples: "
                        "repro run --set max_length=VALUE",
                        exit_code=EXIT_MISSING,
                    ) from error
            if self._parameters[0].device.type == "cuda":
                torch.cuda.empty_cache()


def _add_pad_token(model: Any, tokenizer: Any) -> None:
    """Give a tokenizer without pad token "[PAD]", and the model a row for it (AUDIT A12).

    The row is the mean of all others, as the authors' helper intends (under their partitioned
    parameters it had no effect). No input ever shows the token, and no label names it.
    """
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    count = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > count:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            rows = layer.weight.data
            rows[count:] = rows[:count].mean(dim=0, keepdim=True)
