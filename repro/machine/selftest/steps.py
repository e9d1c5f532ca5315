"""Optimiser steps of a model of the real width, in a process of their own: hashes, peaks, seconds.

Run as a module: `python -m repro.machine.selftest.steps REQUEST`, which is JSON; it prints the
outcome as one line of JSON. Under torchrun this runs in every process, and the first prints.
"""

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from repro.finetune.attention import Way
from repro.finetune.encode import Sample
from repro.finetune.loop import Trainer
from repro.finetune.recipe import Recipe
from repro.finetune.schedule import weigh
from repro.finetune.shard import mesh, own, shard
from repro.machine.peak import peak_bytes
from repro.models.memory import WHOLE, Placement, finetune_peak_bytes
from repro.models.spec import Architecture
from repro.tables import adapter

WIDE = Architecture(
    layers=2, hidden=4096, intermediate=11008, heads=32, kv_heads=32, vocabulary=8192, context=4096
)
"""Two layers as wide as those of Llama-2-7b."""

KINDS = {"FT": 0, "FTICL": 300}
"""Tokens that all samples begin with."""

STEPS = 3
_PASSES = 2


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """Which steps to take.

    Attributes:
        device: "cpu" or "cuda"; precision: "bfloat16" or "float32".
        kinds: of `KINDS`, in the order in which they are done in this process.
        own: tokens of a sample behind the shared ones, at most.
        stop_after: steps after which the process ends as if it were killed; 0 for never.
    """

    sizes: Architecture
    device: str
    precision: str
    way: Way | None = None
    kinds: tuple[str, ...] = tuple(KINDS)
    own: int = 120
    placement: Placement = WHOLE
    stop_after: int = 0


def take(request: StepRequest) -> dict[str, dict[str, Any]]:
    """Steps of each kind: hash of weights and losses, peak bytes and those planned, seconds."""
    return {kind: _steps(request, kind) for kind in request.kinds}


def _steps(request: StepRequest, kind: str) -> dict[str, Any]:
    device, among = torch.device(request.device), None
    if request.placement.sharded:
        from accelerate import PartialState  # type: ignore[import-untyped]

        PartialState(cpu=request.device == "cpu")
        among = mesh(request.device)
    if request.device == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    sizes, bfloat16 = request.sizes, request.precision == "bfloat16"
    model = untrained(sizes, device if among is None else torch.device("cpu"))
    if among is not None:
        shard(model, among, device, bfloat16=bfloat16)
    model.train()
    samples = made_up(sizes.vocabulary, KINDS[kind], request.own)
    recipe = Recipe(
        learning_rate=1e-4,
        max_length=0,
        truncation_side="right",
        loss_weighting="micro-batch",
        clip_norm=0.0,
        label_boundary="joint",
        seed=0,
        dtype=request.precision,
    )
    pairs = [[i, i + 1] for i in range(0, len(samples), 2)]
    groups = weigh(pairs, samples, "micro-batch", recipe.accumulation)
    budget = KINDS[kind] + sum(len(s.ids) - KINDS[kind] for s in samples) // _PASSES
    seconds: list[float] = []
    placed = {"offloaded": request.placement.offloaded, "recast": request.placement.recast}
    with closing(Trainer(model, 0, recipe, STEPS, budget, way=request.way, **placed)) as trainer:
        for number in range(STEPS):
            begin, step = time.perf_counter(), partial(trainer.step, number, groups)
            if number < STEPS - 1:
                step()
            else:
                # Without the last step's gradients: held here, they would live beside this step's.
                held = [*model.parameters(), *model.buffers(), *trainer.held()]
                peak = peak_bytes(step, device, held)
                if device.type == "cuda":  # so that its seconds are all of it
                    torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - begin)
            if number + 1 == request.stop_after:
                os._exit(137)
        way = trainer.kernels().get("attention", "grouped")
        planned = finetune_peak_bytes(
            sizes,
            bfloat16=bfloat16,
            tokens=budget,
            placement=request.placement,
            gpus=int(os.environ.get("WORLD_SIZE", "1")),
            shared=KINDS[kind],
            copies=1 if way == "flex" else -(-len(samples) // _PASSES),
        )
        return {
            "hash": digest(model, trainer.losses),
            "peak": peak,
            "planned": planned,
            "seconds": min(seconds[1:]),
            "tokens": sum(len(sample.ids) for sample in samples),
            **trainer.kernels(),
        }


def untrained(sizes: Architecture, device: torch.device) -> Any:
    """A Llama with the same random weights every time, in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    with device:
        return LlamaForCausalLM(LlamaConfig(**sizes.llama))


def made_up(vocabulary: int, shared: int, own: int) -> list[Sample]:
    """The 16 samples of a step, of many lengths, that begin with `shared` tokens alike."""
    generator = random.Random(0)
    start = generator.choices(range(3, vocabulary), k=shared)
    lengths = [max(8, own * (number + 1) // 16) for number in range(16)]
    return [
        Sample((*start, *generator.choices(range(3, vocabulary), k=length)), shared + length - 5)
        for length in lengths
    ]


def digest(model: Any, losses: Sequence[float | None]) -> str:
    """A hash of all weights, of a sharded model this process's parts, and of the losses."""
    told = hashlib.sha256(json.dumps(losses).encode())
    for parameter in model.parameters():
        told.update(own(parameter).detach().cpu().numpy().tobytes())
    return told.hexdigest()


def _main() -> None:
    from repro.machine import numerics as machine

    request: StepRequest = adapter(StepRequest).validate_json(sys.argv[1])
    machine.prepare(0, device=request.device)
    told = take(request)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(told), flush=True)
    sys.stdout.flush()
    if request.placement.sharded:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
        os._exit(0)  # as `repro.execute.training` ends


if __name__ == "__main__":
    _main()
