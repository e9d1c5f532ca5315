"""How the GPUs of a machine are shared out among workers, here or on a machine that is not here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from repro.errors import ReproError
from repro.machine.kinds import GpuKind
from repro.machine.selftest.record import Record
from repro.models.memory import evaluation_bytes
from repro.models.spec import ModelSpec
from repro.plan import placement
from repro.plan.placement import LINK, STEP_TOKENS, Choice, training_seconds
from repro.profiles import Profile
from repro.profiles.profile import Compute

AUTO = "auto"
NODE = 8
"""GPUs of a machine; more are several machines."""

MAIN_GB = 256
EACH_GB = 128
"""Main memory of machines that are not here: so much a GPU, and no less than the other."""


@dataclass(frozen=True)
class Layout:
    """Workers on GPUs.

    Attributes:
        choice: where the memory of a worker's fine-tune lies; None where none fits or is made.
        groups: workers with GPUs of their own; size: how many each has.
        together: workers that one GPU has memory for.
    """

    choice: Choice | None
    groups: int
    size: int = 1
    together: int = 1


def layout(
    profile: Profile,
    spec: ModelSpec,
    memory: Sequence[int],
    main: int,
    *,
    tuned: bool = True,
    factor: float = 1.0,
    link: float = LINK,
) -> Layout:
    """The layout that fine-tunes fastest; of those that are as fast the one with most workers.

    It depends on the machine and the profile, not on how many workers are asked for. Few GPUs a
    worker are faster where they fit: they exchange less, and evaluation is done by one GPU of each.

    Args:
        memory: bytes of each GPU; main: bytes of main memory of the machine that they are in.
        tuned: whether anything is fine-tuned.
        factor, link: as of `choose` and `Choice`.
    """
    compute, sizes = profile.compute, spec.architecture
    count = len(memory)
    found: list[tuple[float, int, Layout]] = []
    for size in sorted({1, *placement.COUNTS, max(1, compute.gpus)}):
        choice = placement.choose(sizes, compute, list(memory[:size]), main, factor)
        if not tuned or choice is None or choice.gpus != size or size > count:
            continue
        choice = replace(choice, link=link)
        room = int(
            main / max(1, compute.memory_gb * 1e9 + choice.more_bytes) * max(1, count / NODE)
        )
        groups = max(1, min(count // size, room))
        step = training_seconds(compute, sizes, choice, tokens=STEP_TOKENS, steps=1)
        found.append((step / groups, -groups, Layout(choice, groups, size)))
    best = min(found, key=lambda each: each[:2])[2] if found else Layout(None, max(1, count))
    if best.size > 1 or sizes is None or not memory:
        return best
    # Small models leave most of a GPU idle: several workers share it as far as memory goes.
    tokens = compute.evaluate_tokens
    need = evaluation_bytes(sizes, compute.precision, tokens=tokens)
    need = max(best.choice.peak_bytes if best.choice else 0, need)
    return replace(best, together=max(1, int(placement.ROOM * min(memory) / need)))


def elsewhere(
    profile: Profile,
    spec: ModelSpec,
    kind: GpuKind,
    count: int,
    *,
    tuned: bool,
    record: Record | None = None,
) -> Layout:
    """The layout on so many GPUs of a kind, in machines of `NODE` or less."""
    found = layout(
        profile,
        spec,
        [int(kind.gb * 1e9)] * count,
        main_gb(count) * 10**9,
        tuned=tuned,
        factor=record.memory_factor if record else 1.0,
        link=kind.link * 1e9,
    )
    return replace(found, choice=found.choice and replace(found.choice, record=record))


def main_gb(count: int) -> int:
    """Main memory of a machine with so many GPUs, or of each machine where they are several."""
    return max(MAIN_GB, EACH_GB * min(count, NODE))


def at(compute: Compute, reference: GpuKind, kind: GpuKind, record: Record | None) -> Compute:
    """A profile's rates on another kind of GPU than its own.

    Training and reading prompts go as matrix products do, writing as weights are read.

    Args:
        reference: the kind that the profile's rates are of.
        record: of a self-test on the other kind, whose matrix products then count.
    """
    flops = record.rates.get("matmul_flops", 0.0) if record else 0.0
    products = (flops / 1e12 or kind.tflops) / reference.tflops
    return replace(
        compute,
        train_rate=compute.train_rate * products,
        evaluate_rate=compute.evaluate_rate * products,
        generate_rate=compute.generate_rate * min(products, kind.memory / reference.memory),
    )


def number_of(workers: str, auto: int, most: int, told: str, where: str = "this machine") -> int:
    """A number of workers, `auto` of them where none is named, and `most` at most.

    Raises:
        ReproError: it is no such number, or more than there is room for (2).
    """
    if workers != AUTO and not (workers.isascii() and workers.isdigit() and int(workers)):
        raise ReproError(f"--workers is a number or '{AUTO}', not '{workers}'")
    number = auto if workers == AUTO else int(workers)
    if number > most:
        raise ReproError(
            f"{number} workers are more than {where} has room for: {told}",
            hint=f"--workers {most}, or {AUTO}",
        )
    return number
