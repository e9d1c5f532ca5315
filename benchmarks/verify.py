"""`repro --help`, `repro verify` on the whole grid, and its bootstrap against a plain loop.

The target is under 10 s for 574 cells of 250 rows with 10,000 draws against a reference of five
seeds. Time is that of a whole process, start included; where it is much more than that of the CPU,
the machine was busy with other work. The plain loop is the same bootstrap of a
mean, one draw after the other, on a few cells; what it would take for all is extrapolated.
"""

import hashlib
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks._small import REPRO
from repro.spec.cells import BASE, Cell
from repro.studies.paper.figures import cells, points
from repro.studies.paper.study import study
from repro.verify.published import load_paper
from repro.verify.reference import record
from repro.verify.statistics import (
    DRAWS,
    Floats,
    Interval,
    percentile_interval,
    resampling_weights,
    rng_for,
)

PROFILE, PROTOCOL = "embedded", "published-code"
Row = dict[str, object]


def _skill() -> dict[Cell, float]:
    """The published value of each cell, so that outcomes are plausible."""
    paper = load_paper()
    return {cell: paper.of(point).value for point in points() for cell in point.cells}


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


def _samples(cell: Cell, seed: int | None, rows: int, skill: float) -> list[Row]:
    rng = np.random.default_rng(int(_digest(cell.name, seed)[:12], 16))
    hard = np.random.default_rng(int(_digest(cell.dataset)[:12], 16)).uniform(size=rows)
    luck = 0.7 * hard + 0.3 * rng.uniform(size=rows)
    found: list[Row] = []
    for row in range(rows):
        sample: Row = {"row": row, "prompt_sha256": _digest(cell.dataset, row), "prompt_tokens": 99}
        labels = study().task_of(cell).labels
        if labels:
            gold, right = labels[row % len(labels)], bool(luck[row] < skill)
            label = gold if right else labels[(row + 1) % len(labels)]
            logits = {name: float(rng.uniform()) + 2.0 * (name == label) for name in labels}
            sample |= {"gold": gold, "prediction": label, "logits": logits, "score": int(right)}
        else:
            score = float(np.clip(skill + 0.3 * (luck[row] - 0.5), 0, 1))
            text = f"a generated text of some twenty words {seed} {score} " * 3
            sample |= {"gold": "its reference", "text": text, "score": score}
        found.append(sample)
    return found


def write_results(folder: Path, wanted: Iterable[Cell], seeds: Iterable[int], rows: int) -> Path:
    """A generated results folder in the form of `repro run`."""
    (folder / "samples").mkdir(parents=True)
    lines: list[Row] = []
    skill, base_key = _skill(), _digest("base")
    tuned: dict[tuple[str, int], Row] = {}
    for cell in wanted:
        task = study().task_of(cell)
        for seed in [None] if cell.variant == BASE else list(seeds):
            samples = _samples(cell, seed, rows, skill[cell])
            name = f"samples/{cell.name}{'' if seed is None else f'.seed{seed}'}.jsonl"
            content = "".join(json.dumps(sample) + "\n" for sample in samples).encode()
            (folder / name).write_bytes(content)
            scores = [float(str(sample["score"])) for sample in samples]
            key = base_key if seed is None else _digest(cell.variant.name, seed)
            if seed is not None:
                losses = [1 / (step + seed) for step in range(1, 251)]
                tuned[cell.variant.name, seed] = {
                    "variant": cell.variant.name,
                    "seed": seed,
                    "key": key,
                    "losses": losses,
                    "weight_change": {"all": 1e-4 / seed},
                }
            lines.append(
                {
                    "cell": cell.name,
                    "seed": seed,
                    "metric": task.metric,
                    "value": statistics.fmean(scores),
                    "n": rows,
                    "stderr": float(np.std(scores, ddof=0 if task.labels else 1) / rows**0.5),
                    "profile": PROFILE,
                    "protocol": PROTOCOL,
                    "overrides": {},
                    "key": _digest(key, cell.name),
                    "model_key": key,
                    "samples": name,
                    "samples_sha256": hashlib.sha256(content).hexdigest(),
                }
            )
    for name, table in (("results.jsonl", lines), ("finetunes.jsonl", list(tuned.values()))):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in table))
    identity = {"profile": PROFILE, "protocol": PROTOCOL, "overrides": {}, "model": base_key}
    (folder / "run.json").write_text(json.dumps({"format": 1, "identity": identity}))
    return folder


def plain_interval(scores: Floats, name: str, draws: int = DRAWS) -> Interval:
    """The interval of a mean by a plain loop: draw rows, average them, note it, again."""
    rng, n, means = rng_for(name), len(scores), []
    for picks in rng.integers(0, n, size=(draws, n)):
        total = 0.0
        for row in picks:
            total += scores[row]
        means.append(total / n)
    means.sort()

    def quantile(share: float) -> float:
        place = share * (draws - 1)
        below = int(place)
        above = min(below + 1, draws - 1)
        return means[below] + (place - below) * (means[above] - means[below])

    return Interval(quantile(0.025), quantile(0.975))


def vectorised_intervals(scores: Floats, name: str, draws: int = DRAWS) -> list[Interval]:
    """The same for many cells [rows, cells] at once, as `repro verify` does it."""
    weights = resampling_weights(len(scores), name, draws)
    return [percentile_interval(column) for column in (weights @ scores / len(scores)).T]


def _help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run([*REPRO, "--help"], check=True, capture_output=True)
    return time.perf_counter() - start


def _verify_seconds(results: Path, expected: Path) -> tuple[float, float]:
    """By the clock, and of the CPU."""
    command = [*REPRO, "verify"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [*command, str(results), "--expected", str(expected)], capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Verdicts on made-up numbers may be anything, but there must be some.
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(f"repro verify ended with {done.returncode}: {done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table: what, how long, and how that compares."""
    rows, repeats, draws, looped = (20, 1, 200, 1) if small else (250, repeats, DRAWS, 2)
    wanted = cells(["4"])[:12] if small else cells()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        stored = write_results(home / "stored", wanted, range(1, 6), rows)
        record([stored], home / "expected" / "reference")
        results = write_results(home / "results", wanted, [9], rows)
        both = [_verify_seconds(results, home / "expected") for _ in range(repeats)]
    times, cpu = zip(*both, strict=True)
    median, busy = statistics.median(times), statistics.median(cpu)
    scores = np.random.default_rng(0).uniform(size=(rows, len(wanted)))
    start = time.perf_counter()
    fast = vectorised_intervals(scores, "benchmark", draws)
    vectorised = time.perf_counter() - start
    start = time.perf_counter()
    plain = [plain_interval(scores[:, i], "benchmark", draws) for i in range(looped)]
    loop = (time.perf_counter() - start) / looped * len(wanted)
    apart = max(
        abs(a - b)
        for one, two in zip(plain, fast, strict=False)
        for a, b in zip(one, two, strict=True)
    )
    grid = f"{len(wanted)} cells x {rows} rows"
    helps = [_help_seconds() for _ in range(repeats)]
    return [
        {
            "what": "repro --help",
            "seconds": f"{statistics.median(helps):.2f}",
            "": f"median of {repeats}, {min(helps):.2f} to {max(helps):.2f}; target 0.5",
        },
        {
            "what": f"repro verify, {grid}, 5 stored seeds",
            "seconds": f"{median:.2f}",
            "": f"median of {repeats}, {min(times):.2f} to {max(times):.2f}, CPU {busy:.2f}; "
            "target 10",
        },
        {
            "what": f"bootstrap of {grid}, {draws} draws",
            "seconds": f"{vectorised:.2f}",
            "": "vectorised",
        },
        {
            "what": f"the same in a plain loop ({looped} of {len(wanted)} cells run)",
            "seconds": f"{loop:.0f}",
            "": f"{loop / vectorised:.0f} times as long; intervals differ by {apart:.0e}",
        },
    ]
