"""Computed tables of the documentation; `python -m tools.tables` prints them.

The README says what the profile `auto` takes on common machines and how long fine-tuning takes
there, docs/memory.md how much memory each placement takes. Times are derived: a card's rated
dense bfloat16 arithmetic at the share that the profile assumes, and `pace` for what placements
move. None is measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from repro import profiles
from repro.audit.compare import load
from repro.finetune.recipe import EPOCHS
from repro.machine.gpus import Cuda
from repro.machine.kinds import kinds
from repro.models.memory import Placement, evaluation_bytes, finetune_peak_bytes
from repro.models.probes import Probes
from repro.models.spec import Architecture, ModelSpec, pins
from repro.plan import auto, placement
from repro.plan.layout import MAIN_GB, at
from repro.plan.placement import SAMPLES, pace
from repro.spec.cells import BASE, Variant
from repro.studies.paper.figures import cells

AUDIT = Path(__file__).parents[1] / "expected_results" / "audit"
GB = 10**9
EACH = "weights rounded for each use"

CUT = 1024
"""Tokens that samples are cut to (paper, section 4.1)."""


@dataclass(frozen=True)
class Machine:
    """GPUs of one kind.

    Attributes:
        name: as it is printed; kind: of `repro.machine.kinds`.
        part: of a GPU that one slice of it is.
    """

    name: str
    kind: str
    gpus: int = 1
    part: float = 1.0


MACHINES = (
    Machine("8 x H100 80 GB, NVLink", "h100", 8),
    Machine("1 x H200 141 GB", "h200"),
    Machine("1 x A100 80 GB", "a100-80"),
    Machine("4 x L40S 48 GB", "l40s", 4),
    Machine("8 x RTX 4090 24 GB", "rtx4090", 8),
    Machine("1 x A100 40 GB", "a100-40"),
    Machine("1 x RTX 4090 24 GB", "rtx4090"),
    Machine("MIG slice 3g.40gb of an H100", "h100", 1, 42 / 85),
    Machine("MIG slice 1g.10gb of an H100", "h100", 1, 10.5 / 85),
)


def step_tokens(variant: Variant, values: Mapping[str, float]) -> float:
    """Mean tokens of an optimiser step, from the lengths of the first 2,000 rows.

    Demonstrations, the same before every sample, are computed once a step.
    """
    mean, shown = values[f"{variant.train} 2000, 0 shots: mean"], 0.0
    if variant.train_shots:
        shown = values[f"{variant.train} 2000, {variant.train_shots} shots: context"]
    return SAMPLES * (min(CUT, mean + shown) - shown) + shown


class Taken(NamedTuple):
    """What `auto` takes on a machine.

    Attributes:
        profile: its name.
        fine_tuning: the placement, in words.
        why: gigabytes of a GPU that it takes, or that Llama-2-7b would take at least.
        hours: of the paper's fine-tunes; 0 where not the 7B.
    """

    profile: str
    fine_tuning: str
    why: str
    hours: float


def taken(machine: Machine, of_a_step: dict[Variant, float]) -> Taken:
    """What `auto` takes on a machine, and why, by the tokens of an optimiser step."""
    cuda = Cuda(
        "13.0",
        (13, 0),
        (int(kinds()[machine.kind].gb * machine.part * GB),) * machine.gpus,
        (machine.name,) * machine.gpus,
    )
    name, _ = auto.choose(gpu=lambda: True, probe=lambda: cuda, memory=lambda: MAIN_GB * GB)
    profile = profiles.load(name)
    spec = ModelSpec.from_table(profile.model, profile.origin)
    probes = Probes(cuda=lambda: cuda, memory=lambda: MAIN_GB * GB)
    choice = placement.here(spec, profile.compute, probes)
    assert choice is not None
    if name != "llama2-7b" or spec.architecture is None:
        least = least_bytes(Architecture(**pins()["architecture"]["llama2-7b"]), machine.gpus) / GB
        return Taken(name, str(choice), f"Llama-2-7b takes {_gb(least)} GB at least", 0.0)
    kind = kinds()[machine.kind]
    rate = at(profile.compute, kinds()[profile.compute.rated], kind, None).train_rate
    choice = replace(choice, link=kind.link * 1e9)
    seconds = 0.0
    for variant, tokens in of_a_step.items():
        steps = EPOCHS * variant.size / SAMPLES
        found = pace(spec.architecture, choice, bfloat16=True, step_tokens=tokens)
        seconds += found.seconds(tokens * steps, rate, steps)
    why = (
        f"takes {_gb(choice.peak_bytes / GB)} of {_gb(placement.ROOM * kind.gb * machine.part)} GB"
    )
    return Taken(name, str(choice), why, seconds / 3600)


def least_bytes(sizes: Architecture, gpus: int) -> int:
    """What fine-tuning with a shared prefix takes of each GPU by the smallest placement."""
    way = placement.BOTH if gpus > 1 else placement.OFFLOADED_RECAST
    return finetune_peak_bytes(
        sizes,
        bfloat16=True,
        tokens=placement.LONGEST if way.sharded else placement.SMALLEST,
        placement=way,
        gpus=gpus,
        shared=placement.SHARED,
    )


def gpu_table() -> str:
    """The machines as a Markdown table, with lengths from the audit's stored numbers."""
    variants = {cell.variant for cell in cells()} - {BASE}
    values = {
        one.what: one.value
        for one in load(AUDIT)
        if one.finding == "training-lengths" and not isinstance(one.value, str)
    }
    of_a_step = {variant: step_tokens(variant, values) for variant in sorted(variants, key=str)}
    lines = [
        "| machine | profile | fine-tuning | why, by a GPU's memory | hours for 25 fine-tunes |",
        "|---|---|---|---|---|",
    ]
    for machine in MACHINES:
        name, way, why, spent = taken(machine, of_a_step)
        shown = f"{spent:.2g}" if spent else "of another model"
        lines.append(f"| {machine.name} | `{name}` | {way} | {why} | {shown} |")
    return "\n".join(lines) + "\n"


def memory_table() -> str:
    """GB on each GPU for FT, FTICL and evaluation of Llama-2, by placement, as Markdown."""
    lines = [
        "| model | placement | GPUs | FT | FTICL | main memory | evaluation |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("llama2-7b", "llama2-13b", "llama2-70b"):
        sizes = Architecture(**pins()["architecture"][name])
        alone = evaluation_bytes(sizes, "bfloat16", tokens=placement.SMALLEST) / GB
        lines += [f"| {name} | {row} | {_gb(alone)} |" for row in _memory_rows(sizes, name)]
    return "\n".join(lines) + "\n"


def _memory_rows(sizes: Architecture, name: str) -> Iterator[str]:
    """Placement, GPUs, FT, FTICL and main memory."""
    compute = profiles.load(name).compute
    rank = profiles.load("llama2-7b-lora").compute.lora_rank
    for way, words, counts, low in (
        (Placement(), "whole", (1,), 0),
        (placement.RECAST, f"whole, {EACH}", (1,), 0),
        (placement.OFFLOADED, "moments in main memory", (1,), 0),
        (placement.OFFLOADED_RECAST, f"moments in main memory, {EACH}", (1,), 0),
        (placement.SHARDED, "sharded", (2, 4, 8), 0),
        (placement.BOTH, "sharded, moments in main memory", (2, 4, 8), 0),
        (Placement(), f"LoRA of rank {rank}, whole", (1,), rank),
        (placement.RECAST, f"LoRA of rank {rank}, {EACH}", (1,), rank),
    ):
        for gpus in counts:
            tokens = placement.LONGEST if way.sharded else placement.SMALLEST
            shared = (0, placement.SHARED)
            plain, behind = (
                finetune_peak_bytes(
                    sizes,
                    bfloat16=True,
                    tokens=tokens,
                    placement=way,
                    gpus=gpus,
                    shared=count,
                    lora_rank=low,
                )
                / GB
                for count in shared
            )
            main = compute.memory_gb + placement.finetune_main_bytes(sizes, way, gpus) / GB
            yield f"{words} | {gpus} | {_gb(plain)} | {_gb(behind)} | {_gb(main)}"


def _gb(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


if __name__ == "__main__":
    print(gpu_table())
    print(memory_table())
