"""The self-test, whole: every check, in this order, and the record of them.

Run as a module, in a process of its own: `python -m repro.machine.selftest.run REQUEST` (JSON).
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repro.errors import ReproError, missing
from repro.extras import installed
from repro.machine.gpus import Cuda, check_compiler, check_gpus
from repro.machine.selftest import record as records
from repro.machine.selftest.record import Check, Record, Way
from repro.models.memory import Placement
from repro.models.spec import Architecture
from repro.tables import adapter

Say = Callable[[str], None]

VERSION = "3"
"""Grows when the checks change, so that every GPU is tested again."""

MEMORY = 1.05
"""Peak memory as a multiple of the planned one that is within what `placement.ROOM` leaves."""


@dataclass(frozen=True, kw_only=True)
class TestRequest:
    """What to test.

    Attributes:
        key: the kind, see `kind`.
        out: file that gets the record.
        device: "cpu" or "cuda".
        precisions: of fine-tuning, "bfloat16" or "float32".
        sizes: of the model that takes optimiser steps.
    """

    key: dict[str, str]
    out: str
    device: str
    gpus: int
    precisions: tuple[str, ...]
    sizes: Architecture


def kind(cuda: Cuda, precisions: Sequence[str]) -> dict[str, str]:
    """What a self-test holds for: GPU, driver and the packages that make its kernels.

    Each precision is a test of its own: a run asks for the one that it trains in.
    """
    packages = ("torch", "triton", "transformers")
    return {
        "gpu": cuda.names[0] if cuda.names else "none",
        "gpus": str(min(2, len(cuda.names))),
        "capability": ".".join(map(str, cuda.capability[0])) if cuda.capability else "",
        "driver": cuda.release or ".".join(map(str, cuda.driver or ())),
        "selftest": VERSION,
        **{package: installed(package) or "none" for package in packages},
        "precisions": ",".join(precisions),
    }


def known(store: Path, cuda: Cuda, precisions: Sequence[str]) -> Record | None:
    """The record for these GPUs that the store has, if any."""
    key = kind(cuda, precisions)
    return records.read(records.place(store, key), key)


def ensure(
    store: Path, cuda: Cuda, precisions: Sequence[str], *, say: Say, again: bool = False
) -> Record:
    """The record for these GPUs, measured now if the store has none.

    Raises:
        ReproError: the self-test itself did not come to an end (3).
    """
    from repro.machine.selftest.steps import WIDE

    if not again and (found := known(store, cuda, precisions)):
        return found
    key = kind(cuda, precisions)
    path = records.place(store, key)
    # An H100 took 94 s to the first two of five or six processes; other cards are slower.
    say(f"self-test of {key['gpu']}, 4 to 8 minutes; kept for this kind and driver")
    path.parent.mkdir(parents=True, exist_ok=True)
    request = TestRequest(
        key=key,
        out=str(path),
        device="cuda",
        gpus=len(cuda.memory),
        precisions=tuple(precisions),
        sizes=WIDE,
    )
    command = [sys.executable, "-m", "repro.machine.selftest.run", json.dumps(asdict(request))]
    done = subprocess.run(command, check=False)
    found = records.read(path, key)
    if done.returncode or found is None:
        raise missing(
            f"the self-test ended with code {done.returncode}",
            "see the messages above; repro doctor --gpu runs it alone",
        )
    return found


def test(request: TestRequest, say: Say) -> Record:
    """All checks; every one is said as it is done, and noted in case of an interruption."""
    checks: list[Check] = []
    told: dict[str, Any] = {"seconds": {}, "tokens": 0}
    begin = time.monotonic()
    for check in _checks(request, told):
        checks.append(check)
        say(f"{time.monotonic() - begin:4.0f} s {'ok  ' if check.right else 'FAIL'} {check}")
        if request.out:
            records.write_unfinished(Path(request.out), request.key, checks)
    return Record(
        key=request.key,
        checks=checks,
        memory_factor=max(1.0, told.get("memory", 1.0)),
        seconds=told["seconds"],
        tokens=told["tokens"],
        parameters=request.sizes.parameters,
        rates=told.get("rates", {}),
        **records.conclusions(checks, request.precisions),
    )


def _checks(request: TestRequest, told: dict[str, Any]) -> Iterator[Check]:
    import torch

    from repro.machine.selftest import checks

    device = torch.device(request.device)
    if request.device == "cuda":
        findings = check_gpus(1, 0, bfloat16="bfloat16" in request.precisions)
        for one in [*findings, check_compiler()]:
            # Without a compiler, FlexAttention's own check fails and grouped attention is taken.
            yield Check(one.what, one.level != "fail", one.found, one.needed, one.remedy)
        told["rates"] = rates(device)
    ways: dict[str, list[Way]] = {}
    for precision in request.precisions:
        grouped = checks.attention("grouped", precision, device)
        yield grouped
        ways[precision] = ["grouped"]
        if request.device == "cuda" and precision != "float32":
            flexed = checks.attention("flex", precision, device)
            yield flexed
            if flexed.right:
                ways[precision] = ["flex", "grouped"]
    yield from checks.evaluations(device)
    if request.device == "cuda":
        yield from checks.replays(request.sizes, device)
        torch.cuda.empty_cache()  # for the processes that follow
    for precision in request.precisions:
        for way in ways[precision]:
            wrong = False
            for check in _determinism(request, precision, way, told):
                wrong |= not check.right and check.what.startswith("determinism")
                yield check
            if not wrong:  # the other way is not needed
                break


def rates(device: Any) -> dict[str, float]:
    """FLOP/s of matrix products, and bytes a second copied on the device and from main memory."""
    import torch

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(6):
            torch.cuda.synchronize(device)
            begin = time.perf_counter()
            work()
            torch.cuda.synchronize(device)
            times.append(time.perf_counter() - begin)
        return min(times)

    size, count = 8192, 2**28
    one = torch.ones(size, size, dtype=torch.bfloat16, device=device)
    here = torch.ones(count, dtype=torch.uint8, device=device)
    there = torch.ones(count, dtype=torch.uint8).pin_memory()
    return {
        "matmul_flops": 2 * size**3 / best(lambda: one @ one),
        "copy_bytes": 2 * count / best(lambda: here.clone()),
        "from_main_bytes": count / best(lambda: here.copy_(there, non_blocking=True)),
        "to_main_bytes": count / best(lambda: there.copy_(here, non_blocking=True)),
    }


def _determinism(
    request: TestRequest, precision: str, way: Way, told: dict[str, Any]
) -> Iterator[Check]:
    """Optimiser steps in fresh processes: equal hashes, peaks within the plan, seconds."""
    from repro.machine.selftest import steps

    base = steps.StepRequest(
        sizes=request.sizes, device=request.device, precision=precision, way=way
    )
    name = f"determinism {way} {precision}"

    def equal(what: str, *runs: Mapping[str, Mapping[str, Any]]) -> Check:
        kinds = set.intersection(*map(set, runs))
        differing = sorted(k for k in kinds if len({run[k]["hash"] for run in runs}) > 1)
        found = f"{', '.join(differing)} differ" if differing else "equal hashes"
        return Check(f"{name}, {what}", not differing, found, "equal hashes")

    def timed(key: str, request: Any, **how: int) -> dict[str, dict[str, Any]]:
        outcome = _child(request, **how)
        told["seconds"][key] = outcome["FT"]["seconds"]
        return outcome

    try:
        one = timed("whole", base)
        told["tokens"] = one["FT"]["tokens"]
        yield from _memory(name, one, "whole", told)
        yield equal("two processes", one, _child(replace(base, kinds=tuple(reversed(base.kinds)))))
        last = replace(base, kinds=("FTICL",))
        _child(replace(last, stop_after=1), code=137)
        yield equal("after an interruption", one, _child(last))
        others = {"offloaded": (Placement(offloaded=True), "moments in main memory")}
        if precision == "bfloat16":
            others["recast"] = Placement(recast=True), "weights rounded for each use"
        for key, (placement, text) in others.items():
            other = timed(key, replace(base, placement=placement))
            yield from _memory(name, other, text, told)
            yield equal(text, one, other)
        if request.gpus > 1:
            sharded = replace(base, placement=Placement(sharded=True))
            runs = timed("sharded", sharded, processes=2), _child(sharded, processes=2)
            yield from _memory(name, runs[0], "sharded", told)
            yield equal("sharded", *runs)
    except ReproError as error:
        yield Check(name, False, "did not run", "runs", str(error))


def _memory(
    name: str, run: Mapping[str, Mapping[str, Any]], placement: str, told: dict[str, Any]
) -> Iterator[Check]:
    """Peaks against the formula; a larger one makes the plan more careful."""
    for kind, outcome in run.items():
        factor = outcome["peak"] / outcome["planned"]
        told["memory"] = max(told.get("memory", 1.0), factor)
        what = f"memory {name.removeprefix('determinism ')}, {kind} {placement}"
        found, where = f"{factor:.3f} of the plan", f"{outcome['peak'] / 1e9:.2f} GB"
        yield Check(what, factor <= MEMORY, found, f"{MEMORY:g}", where)


def _child(request: Any, *, processes: int = 1, code: int = 0) -> dict[str, dict[str, Any]]:
    """The outcome of steps in a process of its own.

    Raises:
        ReproError: it ended with another exit code than `code`.
    """
    command = [sys.executable]
    if processes > 1:
        among = f"--nproc-per-node={processes}"
        command += ["-m", "torch.distributed.run", "--standalone", among]
    command += ["-m", "repro.machine.selftest.steps", json.dumps(asdict(request))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != code:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ReproError(lines[-1][:300])
    told: dict[str, dict[str, Any]] = (
        {} if code else json.loads(done.stdout.strip().splitlines()[-1])
    )
    return told


def _main() -> None:
    from repro.machine import numerics as machine

    request: TestRequest = adapter(TestRequest).validate_json(sys.argv[1])
    machine.prepare(0, device=request.device)
    record = test(request, lambda text: print(text, flush=True))
    record.write(Path(request.out))
    records.unfinished(Path(request.out)).unlink()


if __name__ == "__main__":
    _main()
