"""The placement of a fine-tune (whole, sharded, offloaded) on the GPUs at hand, and its pace.

Nothing but rounding depends on it, so it is no setting: of what fits, the fastest is taken. The
pace is reasoned from bytes and links, unless the self-test of the GPU has measured it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro.finetune.recipe import ACCUMULATION, MICRO_BATCH
from repro.machine.selftest.record import Record
from repro.machine.selftest.run import known
from repro.models.memory import (
    BYTES,
    MOMENTS_BYTES,
    WHOLE,
    Placement,
    finetune_main_bytes,
    finetune_peak_bytes,
)
from repro.models.probes import Probes
from repro.models.spec import Architecture, ModelSpec
from repro.printable import counted
from repro.profiles.profile import Compute

SMALLEST = 1024
"""Tokens of a pass that must fit: samples are cut to them (paper, section 4.1). Where a protocol
cuts later, activations of longer ones are computed twice if memory runs out."""

SHARED = 1024
"""Tokens that the samples of a step begin with alike, at most: a sample whose cut reaches into its
demonstrations is dead."""

LONGEST = 2121
"""Tokens of the longest sample of all (AUDIT A2): where memory runs out, a sharded step cannot be
tried again."""

ROOM = 0.95
"""Share of a GPU's memory that is planned with. The rest is for what no formula has: a CUDA context
a process, workspaces of libraries, gaps between blocks. Not measured."""

LINK = 20e9
"""Bytes a second between GPUs without NVLink, which is 10 to 20 times as fast: PCIe 4.0 x16 at 80 %
of its bandwidth."""

COUNTS = (8, 4, 2)
"""GPUs that the 8 micro-batches of a step can be divided among."""

MAIN = 20e9
"""Bytes a second each way between a GPU and main memory: PCIe 4.0 x16 at 80 % of its bandwidth."""

MEMORY = 1.5e12
"""Bytes a second in a GPU's own memory: an A100 of 40 GB at its rated bandwidth."""

RECOMPUTED = 4 / 3
"""Arithmetic of a step whose activations are computed twice."""

SAMPLES = MICRO_BATCH * ACCUMULATION
"""Samples of an optimiser step."""

STEP_TOKENS = 4096
"""Tokens of a step that placements are compared by: 16 samples of 256."""


SHARDED, OFFLOADED = Placement(sharded=True), Placement(offloaded=True)
BOTH = Placement(sharded=True, offloaded=True)
RECAST, OFFLOADED_RECAST = Placement(recast=True), Placement(offloaded=True, recast=True)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A placement on so many GPUs, the first that there are.

    Attributes:
        tokens: most tokens of a pass.
        peak_bytes: most bytes held at once on each GPU; 0 where the model's sizes are not known.
        more_bytes: of main memory, beside what the profile asks for.
        record: of the GPU's self-test, if it was measured.
        link: bytes a second between GPUs.
    """

    placement: Placement
    gpus: int
    tokens: int
    peak_bytes: int = 0
    more_bytes: int = 0
    record: Record | None = None
    link: float = LINK

    def __str__(self) -> str:
        many = counted(self.gpus, "GPU")
        where = self.placement
        parts = [f"sharded over {many}"] if where.sharded else []
        parts += ["AdamW's moments in main memory"] if where.offloaded else []
        parts = parts or [f"whole on {many}"]
        parts += ["weights rounded for each use"] if where.recast else []
        return ", ".join(parts)


def choose(
    sizes: Architecture | None,
    compute: Compute,
    gpus: Sequence[int],
    main: int,
    factor: float = 1.0,
) -> Choice | None:
    """The first that fits: whole, sharded, with moments in main memory, both; None if none does.

    Whole and with moments in main memory, all passes are tried with weights kept in bfloat16, then
    with weights rounded for each use.

    Args:
        sizes: of the model; without them it is taken to fit, as it is on a CPU.
        gpus: bytes of each GPU, in torch's order.
        main: bytes of main memory.
        factor: measured peak memory as a multiple of the planned one.
    """
    count = max(1, compute.gpus)
    if sizes is None or compute.device == "cpu":
        return Choice(placement=WHOLE, gpus=count, tokens=compute.train_tokens)
    fastest_first = [(WHOLE, count), (RECAST, count), *((SHARDED, number) for number in COUNTS)]
    fastest_first += [(OFFLOADED, 1), (OFFLOADED_RECAST, 1), *((BOTH, number) for number in COUNTS)]
    for placement, number in fastest_first:
        if number > len(gpus) or (placement.recast and compute.precision == "float32"):
            continue
        if placement.sharded and compute.lora_rank:
            continue
        room = ROOM * min(gpus[:number]) / factor
        for tokens in _passes(compute.train_tokens, placement):
            found = _choice(sizes, compute, placement, number, tokens)
            total = compute.memory_gb * 1e9 + found.more_bytes
            # Whether the profile's own need is met is another check's business.
            if found.peak_bytes <= room and (total <= main or not found.more_bytes):
                return found
    return None


def here(
    spec: ModelSpec,
    compute: Compute,
    probes: Probes | None = None,
    *,
    record: Record | None = None,
) -> Choice | None:
    """`choose` for this machine, by what its self-test has measured where there is a record."""
    probes = probes or Probes()
    if compute.device == "cpu":
        return choose(spec.architecture, compute, (), 0)
    factor = record.memory_factor if record else 1.0
    found = choose(spec.architecture, compute, probes.cuda().memory, probes.memory(), factor)
    return found and replace(found, record=record)


def measured(store: Path, compute: Compute, probes: Probes) -> Record | None:
    """What the self-test of this machine's GPUs has measured, if a store has its record."""
    return known(store, probes.cuda(), [compute.precision])


def ways(sizes: Architecture, compute: Compute) -> str:
    """What fine-tuning takes of a GPU at least, by each placement, in words."""

    def taken(placement: Placement, gpus: int) -> tuple[str, str]:
        (least,) = _passes(SMALLEST, placement)
        found = _choice(sizes, compute, placement, gpus, least)
        main = compute.memory_gb + found.more_bytes / 1e9
        return _gb(found.peak_bytes / 1e9), _gb(main)

    rounds = compute.precision == "bfloat16"
    if compute.lora_rank:
        rounded = taken(RECAST if rounds else WHOLE, 1)[0]
        return f"{taken(WHOLE, 1)[0]} GB on one GPU, {rounded} GB with weights rounded for each use"
    counts = [*reversed(COUNTS)]
    among = "/".join(map(str, counts))
    sharded, both = ([taken(way, n) for n in counts] for way in (SHARDED, BOTH))
    one, main = taken(OFFLOADED_RECAST if rounds else OFFLOADED, 1)
    return (
        f"{taken(WHOLE, 1)[0]} GB on one GPU; sharded {'/'.join(gb for gb, _ in sharded)} GB on "
        f"each of {among}; with AdamW's moments in main memory {one} GB on one ({main} GB there), "
        f"{'/'.join(gb for gb, _ in both)} GB on each of {among} ({both[-1][1]} GB there)"
    )


def _gb(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _passes(tokens: int, placement: Placement) -> Iterator[int]:
    """Budgets of a pass, halved down to what must fit."""
    tokens = max(tokens, LONGEST) if placement.sharded else tokens
    yield tokens
    while tokens > SMALLEST and not placement.sharded:
        tokens = max(SMALLEST, tokens // 2)
        yield tokens


def _choice(
    sizes: Architecture, compute: Compute, placement: Placement, gpus: int, tokens: int
) -> Choice:
    peak = finetune_peak_bytes(
        sizes,
        bfloat16=compute.precision == "bfloat16",
        tokens=tokens,
        placement=placement,
        gpus=gpus,
        shared=min(tokens, SHARED),
        lora_rank=compute.lora_rank,
    )
    more = finetune_main_bytes(sizes, placement, gpus)
    return Choice(placement=placement, gpus=gpus, tokens=tokens, peak_bytes=peak, more_bytes=more)


@dataclass(frozen=True)
class Pace:
    """Seconds of a fine-tune: `factor` times those that its tokens take, and `fixed` a step."""

    factor: float = 1.0
    fixed: float = 0.0

    def seconds(self, tokens: float, rate: float, steps: float) -> float:
        """Of so many tokens in so many steps, with a profile's rate in tokens a second."""
        return self.factor * tokens / rate + self.fixed * steps


def pace(sizes: Architecture, choice: Choice, *, bfloat16: bool, step_tokens: float = 0.0) -> Pace:
    """The pace of a placement; what the GPU's self-test has measured replaces what is reasoned.

    Args:
        step_tokens: of an optimiser step, from which the passes of a sharded model follow.
    """
    where, gpus, weights = choice.placement, choice.gpus, sizes.parameters
    passes = max(1, math.ceil(step_tokens / gpus / max(1, choice.tokens)))
    number = 2 * BYTES["float32"]
    if where.sharded:
        # Gathered for the forward and the backward part, gradients summed in float32.
        number = passes * (2 * BYTES["bfloat16" if bfloat16 else "float32"] + BYTES["float32"])
    fixed = number * weights * (gpus - 1) / gpus / choice.link
    if where.offloaded:
        fixed += _moved(weights / (gpus if where.sharded else 1), choice.record)
    if where.recast:
        rate = choice.record.rates.get("copy_bytes", MEMORY) if choice.record else MEMORY
        # Read and rounded in the forward and in the backward part.
        fixed += passes * 2 * weights * (BYTES["float32"] + BYTES["bfloat16"]) / rate
    return Pace((RECOMPUTED if where.sharded else 1.0) / gpus, fixed)


def training_seconds(
    compute: Compute,
    sizes: Architecture | None,
    choice: Choice | None,
    *,
    tokens: float,
    steps: float,
) -> float:
    """Seconds of so many tokens in so many steps, by a profile's rate and the pace of a placement.

    Args:
        sizes, choice: without either, of one device that holds everything.
    """
    if not tokens or not steps or sizes is None or choice is None:
        return tokens / compute.train_rate
    bfloat16 = compute.precision == "bfloat16"
    found = pace(sizes, choice, bfloat16=bfloat16, step_tokens=tokens / steps)
    return found.seconds(tokens, compute.train_rate, steps)


def _moved(weights: float, record: Record | None) -> float:
    """Seconds in which the moments of so many weights come and, at the same time, go."""
    if record and {"whole", "offloaded"} <= set(record.seconds):
        extra = max(0.0, record.seconds["offloaded"] - record.seconds["whole"])
        return extra * weights / record.parameters
    return MOMENTS_BYTES * weights / MAIN
