"""Llama-2-7b's shape on one GPU: ceilings, training, prefill, decoding, hours for all figures.

On a GPU of less than 140 GB, from 16 GB on, it is the same with fewer layers, so that what is
computed for a layer is the same; hours are then those of the smaller model.

Has not run on a GPU. Weights are random, since their values do not change how long a product takes,
and so are tokens. Lengths, and how many tokens samples and prompts have in common, are those of the
authors' rows (see `_lengths`), drawn with a fixed seed. Settings are those of profile `llama2-7b`.
Times are medians; the first ones, in which kernels are compiled, are not counted.

Ceilings are the bytes read and written by the copy of a large tensor, and `matmul_rate`, against
which `timings.jsonl` measures too. Training is whole optimiser steps of `repro.finetune`: bfloat16
autocast on float32 weights, fused AdamW. Its MFU counts what was computed, without padding: no dead
sample, a shared context once. "as if plain" counts every token of every sample, as `timings.jsonl`
does. Prefill and decoding are `repro.evaluate` over all rows of a cell, in batches by the profile's
budget. The floor of decoding is the time to read all weights but the input embeddings, and all keys
and values, once a step and batch, shared ones once for all rows, at the rate of the copy. Where a
row says so, its steps replay a graph (`repro.evaluate.generate`).

Hours are for the cells of all figures: each fine-tune's steps by the seconds of a step of its
training set's first 2,000 rows; prompt tokens (AUDIT E2) by the rate of XSum, Socialqa or MNLI-1,
without demonstrations or with most; and generations as long as allowed, which fine-tuned models do
not use up. Loading and writing models and scoring texts are not in them.
"""

import gc
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from benchmarks._gpu import (
    SEED,
    Evaluated,
    Mix,
    Trained,
    copy_rate,
    evaluate,
    mixes,
    train,
    untrained,
)
from benchmarks._lengths import Lengths, Prompts, audited, lengths, stored
from repro import profiles
from repro.clock import ModelSizes
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.timing import matmul_rate
from repro.finetune.recipe import ACCUMULATION, EPOCHS, MICRO_BATCH, recipe_from
from repro.machine import numerics as machine
from repro.models.memory import evaluation_bytes, finetune_peak_bytes
from repro.models.spec import Architecture, pins
from repro.plan.placement import ROOM, SHARED, SMALLEST
from repro.spec.cells import BASE
from repro.spec.tasks import Kind, Task
from repro.studies.paper.figures import cells
from repro.studies.paper.protocols import protocol
from repro.studies.paper.study import study
from repro.studies.paper.tasks import DATASETS, TRAIN_SETS

Row = dict[str, object]
Measured = dict[tuple[str, int], Evaluated]
"""By test set and number of demonstrations."""

DTYPE = "bfloat16"
SHORT = "socialqa"
"""The set whose rows decoding is compared over batch sizes with."""


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """How large everything is.

    Attributes:
        rows: of a cell.
        copied: bytes of the tensor that is copied.
        train_tokens, evaluate_tokens: budgets of a training pass and of a batch.
        new_tokens: of a generation.
        warm: first steps of a training mix, not counted.
        batches: rows of the batches that decoding is compared over.
        shrink: what all lengths are divided by.
    """

    architecture: Architecture
    rows: int
    copied: int
    train_tokens: int
    evaluate_tokens: int
    new_tokens: int
    warm: int
    batches: tuple[int, ...]
    shrink: int = 1


SMALL = Sizing(
    architecture=Architecture(
        layers=2, hidden=32, intermediate=64, heads=4, kv_heads=2, vocabulary=96, context=512
    ),
    rows=6,
    copied=2**20,
    train_tokens=256,
    evaluate_tokens=512,
    new_tokens=4,
    warm=1,
    batches=(1, 6),
    shrink=8,
)


def full() -> Sizing:
    """Llama-2-7b with the settings of its profile."""
    compute = profiles.load("llama2-7b").compute
    published = protocol("published-code")
    return Sizing(
        architecture=Architecture(**pins()["architecture"]["llama2-7b"]),
        rows=published.rows,
        copied=2**33,
        train_tokens=compute.train_tokens,
        evaluate_tokens=compute.evaluate_tokens,
        new_tokens=published.max_new_tokens,
        warm=3,
        batches=(1, 4, 16, 64, 250),
    )


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table.

    Args:
        small: a tiny model and short rows, on the CPU where there is no GPU.

    Raises:
        ReproError: no GPU, or too small a one (3).
    """
    sizing = SMALL if small else fitting()
    kind: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(kind)
    compute = replace(
        profiles.load("llama2-7b").compute,
        device=kind,
        dtype="protocol" if kind == "cuda" else "float32",
    )
    machine.prepare(compute.threads, device=kind)
    known = stored() if small else lengths()
    copied, product = copy_rate(sizing.copied, device, repeats), matmul_rate(compute)
    table = [
        _row(f"copy of {sizing.copied / 2**20:,.0f} MiB", copied / 1e12, "TB/s"),
        _row("matmul", product / 1e12, "TFLOP/s", "", f"lengths: {known.origin}"),
        _row("layers", sizing.architecture.layers, "of the model", "32"),
    ]
    measured, rows = evaluated(known, sizing, device, product, copied, repeats)
    table += rows
    trained, rows = finetuned(known, sizing, device, product, repeats)
    return table + rows + hours(trained, measured, sizing)


def fitting() -> Sizing:
    """The largest sizing that the GPU holds in training and in evaluation.

    Raises:
        ReproError: no GPU, or one of less than 16 GB (3).
    """
    hint = "look at it with --small"
    if not torch.cuda.is_available():
        raise ReproError(
            "not run: this benchmark needs a GPU, and there is none",
            hint=hint,
            exit_code=EXIT_MISSING,
        )
    found = torch.cuda.get_device_properties(0).total_memory
    sizing = cut(full(), found)
    if found < LEAST or sizing is None:
        raise ReproError(
            f"not run: this benchmark needs {LEAST / 1e9:.0f} GB of GPU memory, "
            f"there are {found / 1e9:.0f}",
            hint=hint,
            exit_code=EXIT_MISSING,
        )
    return sizing


LEAST = 16 * 10**9
"""Bytes of the smallest GPU that this runs on; those sold as 16 GB have a little more."""


def cut(sizing: Sizing, memory: int) -> Sizing | None:
    """The sizing with as many layers as fit into so many bytes, and batches that fit; or None."""
    room = ROOM * memory
    for layers in range(sizing.architecture.layers, 0, -1):
        sizes = replace(sizing.architecture, layers=layers)
        trained = finetune_peak_bytes(
            sizes, bfloat16=True, tokens=sizing.train_tokens, shared=SHARED
        )
        if trained > room:
            continue
        tokens = sizing.evaluate_tokens
        while tokens > SMALLEST and evaluation_bytes(sizes, DTYPE, tokens=tokens) > room:
            tokens //= 2
        return replace(sizing, architecture=sizes, evaluate_tokens=tokens)
    return None


def evaluated(
    known: Lengths,
    sizing: Sizing,
    device: torch.device,
    product: float,
    copied: float,
    repeats: int,
) -> tuple[Measured, list[Row]]:
    """Cells with the fewest and most demonstrations of a set of each kind, and their rows.

    Args:
        product: FLOP/s of matrix products.
        copied: bytes a second of a copy.
    """
    sizes = sizing.architecture
    _forget(device)
    model = untrained(sizes, getattr(torch, DTYPE), device)
    prefill: list[Row] = []
    decode: list[Row] = []
    measured: Measured = {}
    for name in dict.fromkeys(stands_for(dataset.task) for dataset in DATASETS.values()):
        task = DATASETS[name].task
        new = sizing.new_tokens if task.kind is Kind.GENERATION else 0
        for shots in (task.shots[0], task.shots[-1]):
            prompts = short(known.prompts(name, shots), sizing)
            one = evaluate(
                model, sizes, prompts, new=new, budget=sizing.evaluate_tokens, repeats=repeats
            )
            measured[name, shots] = one
            where = f"{DATASETS[name].printed}, {shots} shots"
            share = 100 * one.flops / one.prefill / product
            rate = f"{one.tokens / one.prefill:,.0f} tokens/s, largest batch {one.batch}"
            prefill.append(_row(f"prefill, {where}", share, "% of matmul", "70 %", rate))
            if new:
                decode.append(_decoding(where, one, copied))
    bound = evaluation_bytes(sizes, DTYPE, tokens=sizing.evaluate_tokens)
    batches = f"batches of at most {sizing.evaluate_tokens:,} tokens"
    table = prefill + decode + _peak("evaluation", bound, device, batches)
    prompts = short(known.prompts(SHORT, 0), sizing)
    for rows in sizing.batches:
        some = Prompts(prompts.lengths[:rows], prompts.common)
        budget = rows * (max(some.lengths) + sizing.new_tokens)
        for replayed in (False, True):
            where = f"{DATASETS[SHORT].printed}, batch of {len(some.lengths)}"
            where += ", replayed" * replayed
            try:
                one = evaluate(
                    model,
                    sizes,
                    some,
                    new=sizing.new_tokens,
                    budget=budget,
                    repeats=repeats,
                    replayed=replayed,
                )
            except RuntimeError as error:
                if not replayed:
                    raise
                reason = str(error).strip().partition("\n")[0]  # a GPU that captures no graph
                table.append({"what": where, "measured": "did not run", "target": "", "": reason})
            else:
                table.append(_decoding(where, one, copied))
    return measured, table


def short(prompts: Prompts, sizing: Sizing) -> Prompts:
    """As many prompts as a cell has here, drawn with a fixed seed, and as long."""
    common = max(1, prompts.common // sizing.shrink)
    chosen = random.Random(SEED).sample(prompts.lengths, min(sizing.rows, len(prompts.lengths)))
    return Prompts([max(common + 1, n // sizing.shrink) for n in chosen], common)


def _decoding(where: str, one: Evaluated, copied: float) -> Row:
    rate = f"{one.new / one.decode:,.0f} new tokens/s, largest batch {one.batch}"
    times = one.decode * copied / one.floor
    return _row(f"decoding, {where}", times, "times the floor", "1.5", rate)


def finetuned(
    known: Lengths, sizing: Sizing, device: torch.device, product: float, repeats: int
) -> tuple[dict[Mix, Trained], list[Row]]:
    """Optimiser steps of every training set, without and with demonstrations, and their rows."""
    recipe = recipe_from(
        protocol("published-code"), seed=0, dtype=DTYPE, length_factor=1 / sizing.shrink
    )
    sizes = sizing.architecture
    made = mixes(
        known,
        recipe,
        count=(sizing.warm + repeats) * recipe.micro_batch * recipe.accumulation,
        vocabulary=sizes.vocabulary,
        shrink=sizing.shrink,
    )
    _forget(device)
    model = untrained(sizes, torch.float32, device)
    flops = ModelSizes.of(model)
    trained, budget = train(
        model, made, recipe, token_budget=sizing.train_tokens, warm=sizing.warm, repeats=repeats
    )
    table: list[Row] = []
    for (name, shots), one in trained.items():
        mfu, plain = (
            100 * work.flops(flops, "train") / one.seconds / product
            for work in (one.computed, one.plain)
        )
        more = (
            f"{one.samples / one.seconds:.1f} samples/s, {one.plain.tokens / one.seconds:,.0f} "
            f"tokens/s, as if plain {plain:.1f} %"
        )
        target = "50 %" if name == "xsum" else ""
        printed = DATASETS[TRAIN_SETS[name].dataset].printed
        table.append(_row(f"training, {printed}, {shots} shots", mfu, "% MFU", target, more))
    bound = finetune_peak_bytes(sizes, bfloat16=True, tokens=budget, shared=SHARED)
    passes = f"passes of at most {budget:,} tokens"
    return trained, table + _peak("training", bound, device, passes)


def hours(trained: Mapping[Mix, Trained], measured: Measured, sizing: Sizing) -> list[Row]:
    """Hours for the cells of all figures, by part.

    A cell without demonstrations goes by the measured one without, all others by that with most.
    """
    totals = audited()
    grid = cells()
    variants = {cell.variant for cell in grid} - {BASE}
    training = sum(
        variant.size
        * EPOCHS
        / (MICRO_BATCH * ACCUMULATION)
        * trained[variant.train, variant.train_shots].seconds
        for variant in variants
    )
    prefill = decode = 0.0
    for cell in grid:
        name = stands_for(study().task_of(cell))
        like = measured[name, DATASETS[name].task.shots[-1] if cell.shots else 0]
        where = f"{cell.dataset}, {cell.prompt}, {cell.shots} shots"
        prompt_tokens = totals["prompt-lengths", f"{where}: all, shared prefix once"]
        prefill += prompt_tokens * like.prefill / like.tokens
        if like.new:
            rows = protocol("published-code").rows
            decode += rows * (sizing.new_tokens - 1) * like.decode / like.new
    parts = {f"training, {len(variants)} fine-tunes": training}
    parts |= {f"prefill, {len(grid)} cells": prefill, "decoding, to the limit": decode}
    table = [_row(f"hours: {name}", seconds / 3600, "h") for name, seconds in parts.items()]
    return [*table, _row("hours: all", sum(parts.values()) / 3600, "h", "1.0 h")]


def stands_for(task: Task) -> str:
    """The test set whose measured rates stand for a task."""
    return {"summary": "xsum", "question": "socialqa"}.get(task.name, "mnli1")


def _forget(device: torch.device) -> None:
    """Free what earlier models leave behind, and count peak memory anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(what: str, bound: float, device: torch.device, more: str) -> list[Row]:
    if device.type != "cuda":
        return []
    found = torch.cuda.max_memory_allocated(device) / 1e9
    return [_row(f"{what}, peak memory", found, "GB", f"{bound / 1e9:.0f}, estimated", more)]


def _row(what: str, value: float, unit: str, target: str = "", more: str = "") -> Row:
    return {"what": what, "measured": f"{value:.3g} {unit}", "target": target, "": more}
