"""The placement of a fine-tune (whole, sharded, offloaded), chosen for the GPUs at hand.

Nothing but rounding depends on it, so it is no setting: of what fits, the fastest is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro.machine.selftest.record import Record
from repro.machine.selftest.run import known
from repro.models.memory import WHOLE, Placement, finetune_main_bytes, finetune_peak_bytes
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
