"""Where a run's time went, and how much of the machine's matmul rate its models used."""

import time
from collections.abc import Mapping
from typing import Any

from repro.clock import Clock, count
from repro.lines import Line
from repro.printable import counted
from repro.profiles.profile import Compute

PARTS = ("load", "prompts", "prefill", "decode", "train", "metrics", "results", "wait")
ARITHMETIC = ("prefill", "decode", "train")


def epochs_taken(facts: Mapping[str, Any]) -> float:
    """Epochs until training ended, which a checkpoint may do early; steps are of whole samples."""
    recipe = facts["recipe"]
    samples: int = facts["steps"] * recipe["micro_batch"] * recipe["accumulation"]
    epochs: float = samples / facts["samples"]
    return min(epochs, len(facts["dead_micro_batches"]))


def count_training(facts: Mapping[str, Any]) -> None:
    """Count a fine-tune's arithmetic: every token trained on once, nothing shared or padded."""
    epochs = epochs_taken(facts)
    tokens = epochs * facts["input_tokens"]
    middle = facts["input_tokens"] / facts["samples"] / 2
    rows = epochs * facts["label_tokens"]
    count("train", tokens=tokens, pairs=tokens * middle, rows=rows)


def matmul_rate(compute: Compute) -> float:
    """FLOP/s of a large square matrix product, the best of several within about a second."""
    import torch  # slow to import

    dtype = torch.float32 if compute.dtype == "float32" else torch.bfloat16
    size = 8192 if compute.device == "cuda" else 1024
    one = torch.ones((size, size), dtype=dtype, device=compute.device)
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < 0.5:
        start = time.perf_counter()
        (one @ one)[0, 0].item()  # waits for the device
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def time_line(clock: Clock, compute: Compute, workers: int = 1) -> Line:
    """The line of `timings.jsonl` about the whole run, as its clock has it.

    Its `seconds` are those of the run, `parts` those of its parts ("other" is what none of them
    holds), and `mfu` the model's FLOPs by second over `matmul_flops`, for each part with arithmetic
    and the whole run. In training, FLOPs are those of the plain computation, so that sharing
    prefixes raises the fraction; elsewhere they are those of the tokens that were computed. With
    several workers, parts are the seconds of all together.
    """
    total = clock.total
    parts = {name: round(clock.seconds[name], 3) for name in PARTS if clock.seconds[name]}
    parts["other"] = round(total * workers - sum(clock.seconds.values()), 3)
    line: Line = {"step": "run", "seconds": round(total, 3), "parts": parts}
    if workers > 1:
        line["workers"] = workers
    flops = {name: clock.flops(name) for name in ARITHMETIC if clock.flops(name)}
    if not flops:
        return line
    rate = matmul_rate(compute) * max(1, compute.gpus)
    mfu = {name: done / (clock.seconds[name] * rate) for name, done in flops.items()}
    mfu["run"] = sum(flops.values()) / (total * workers * rate)
    return line | {
        "matmul_flops": float(f"{rate:.3g}"),
        "mfu": {name: round(value, 4) for name, value in mfu.items()},
    }


def in_words(line: Line) -> str:
    """The same in a sentence or two, for the user."""
    workers = line.get("workers", 1)
    total = line["seconds"] * workers
    parts = sorted(line["parts"].items(), key=lambda part: -part[1])
    shares = ", ".join(
        f"{name} {seconds / total:.0%}" for name, seconds in parts if seconds >= 0.005 * total
    )
    each_of = f" of {counted(workers, 'worker')}" if workers > 1 else ""
    text = f"{line['seconds']:.0f} s{each_of}: {shares}"
    if "mfu" not in line:
        return text
    each = ", ".join(f"{name} {share:.0%}" for name, share in line["mfu"].items() if name != "run")
    rate = line["matmul_flops"] / 1e9
    return (
        f"{text}\n{line['mfu']['run']:.0%} of the measured {rate:,.0f} GFLOP/s were used ({each})"
    )
