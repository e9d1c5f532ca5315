"""Made-up results folders in the format of `repro run`, with known skills."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from repro.paper.cells import Cell
from repro.paper.figures import cells, points
from repro.verify.levels import hold_against
from repro.verify.published import load_paper
from repro.verify.reference import load_reference, record
from repro.verify.results import read_results
from repro.verify.verdicts import NumberVerdict


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


def rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int(digest(*parts)[:12], 16))


def paper_skill() -> dict[Cell, float]:
    """The published value of each cell; of a best-of bar for all cells behind it."""
    paper, found = load_paper(), {}
    for point in points():
        for cell in point.cells:
            found.setdefault(cell, paper.of(point).value)
    return found


SKILL = paper_skill()


def samples(
    cell: Cell, seed: int | None, n: int, skill: float, noise: object
) -> list[dict[str, object]]:
    """Rows with a difficulty of their own, shared by all models, plus noise of each model."""
    shared = rng("rows", cell.dataset).normal(size=n)
    own = rng("noise", cell.name, seed, noise).normal(size=n)
    z = 0.8 * shared + 0.6 * own
    lines: list[dict[str, object]] = []
    for row in range(n):
        line: dict[str, object] = {"row": row, "prompt_sha256": "0" * 64, "prompt_tokens": 50}
        if cell.task.labels:
            labels = cell.task.labels
            gold = labels[row % len(labels)]
            # Standard normal z falls below the quantile of the skill with that probability.
            share = 0.5 * (1 + math.erf(z[row] / math.sqrt(2)))
            right = share < skill
            prediction = gold if right else labels[(row + 1) % len(labels)]
            gap = abs(share - skill) * 10
            logits = {label: (gap if label == prediction else 0.0) for label in labels}
            line |= {"gold": gold, "prediction": prediction, "logits": logits, "score": int(right)}
        else:
            score = float(np.clip(skill * (1 + 0.4 * z[row]), 0, 1))
            text = f"{cell.dataset} {score:.6f}"
            line |= {"gold": "x", "text": text, "new_tokens": 3, "stopped": "eos", "score": score}
        lines.append(line)
    return lines


def write_results(
    folder: Path,
    wanted: Iterable[Cell] | None = None,
    *,
    seeds: Iterable[int] = (42,),
    n: int = 60,
    noise: object = "",
    jitter: float = 0.01,
    profile: str = "embedded",
    protocol: str = "published-code",
    machine: str = "cpu A",
    skill: Mapping[Cell, float] = SKILL,
    best_of: str = "smallest",
) -> Path:
    """Write a results folder.

    Args:
        noise: names the luck of the run: equal names give equal bits.
        jitter: spread of the skill over seeds.
        machine: enters all keys, as the numerics of a machine do.
    """
    (folder / "samples").mkdir(parents=True)
    base_key = digest("base", profile)
    lines, tuned = [], {}
    for cell in cells() if wanted is None else wanted:
        base = cell.variant.name == "base"
        for seed in [None] if base else seeds:
            moved = skill[cell] + (
                0 if base else jitter * rng(cell.variant.name, cell.dataset, seed, noise).normal()
            )
            rows = samples(cell, seed, n, float(np.clip(moved, 0, 1)), "" if base else noise)
            suffix = "" if seed is None else f".seed{seed}"
            name = f"samples/{cell.name}{suffix}.jsonl"
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / name).write_text(text)
            scores = [float(row["score"]) for row in rows]
            model_key = base_key if base else digest(cell.variant.name, seed, machine, noise)
            if seed is not None:
                change = 9e-5 if cell.variant.method == "ft" else 8e-5
                change *= 1 + 0.01 * rng(cell.variant.name, seed).normal()
                losses = list(
                    rng("loss", cell.variant.name, seed, machine, noise).uniform(0.1, 0.2, 20)
                )
                tuned[cell.variant.name, seed] = {
                    "variant": cell.variant.name, "seed": seed, "key": model_key, "losses": losses,
                    "weight_change": {"all": change, "by_weight": {}},
                }  # fmt: skip
            lines.append(
                {
                    "cell": cell.name,
                    "variant": cell.variant.name,
                    "dataset": cell.dataset,
                    "prompt": cell.prompt,
                    "shots": cell.shots,
                    "seed": seed,
                    "metric": "accuracy" if cell.task.labels else "rougeL",
                    "value": math.fsum(scores) / n,
                    "n": n,
                    "stderr": float(np.std(scores, ddof=1) / math.sqrt(n)),
                    "profile": profile,
                    "protocol": protocol,
                    "overrides": {},
                    "key": digest(model_key, cell.name, machine, protocol),
                    "model_key": model_key,
                    "samples": name,
                    "samples_sha256": hashlib.sha256(text.encode()).hexdigest(),
                }
            )
    dump = lambda table: "".join(json.dumps(line) + "\n" for line in table)  # noqa: E731
    (folder / "results.jsonl").write_text(dump(lines))
    (folder / "finetunes.jsonl").write_text(dump(tuned.values()))
    record = {
        "format": 1,
        "identity": {
            "profile": profile, "profile_digest": "d", "protocol": protocol, "overrides": {},
            "test_limit": n, "model": base_key, "numerics": {"device": machine},
        },
        "switches": {"best_of": best_of},
        "versions": {"python": "3.11"},
        "machine": {"cpu": machine},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    return write_results


def edit_lines(path: Path, change: Callable[[list[dict]], object]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def edit() -> Callable[..., None]:
    return edit_lines


def reseal(folder: Path, cell: str, seed: int | None) -> None:
    """Make a line agree with its changed samples again, as a careful forger would."""
    suffix = "" if seed is None else f".seed{seed}"
    path = folder / f"samples/{cell}{suffix}.jsonl"
    scores = [json.loads(line)["score"] for line in path.read_text().splitlines()]

    def change(lines: list[dict]) -> None:
        for line in lines:
            if (line["cell"], line["seed"]) == (cell, seed):
                line["value"] = math.fsum(scores) / len(scores)
                line["n"] = len(scores)
                line["samples_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit_lines(folder / "results.jsonl", change)


@pytest.fixture(scope="session", name="reseal")
def reseal_fixture() -> Callable[..., None]:
    return reseal


@pytest.fixture(scope="session", name="published")
def published_fixture() -> Mapping[Cell, float]:
    """The paper's value of each cell, which is the skill of made-up models by default."""
    return SKILL


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figure 4 of five seeds, recorded from two folders, as two machines of one kind deliver them.

    The folders `a` and `b` stand beside it.
    """
    home = tmp_path_factory.mktemp("stored")
    parts = [
        write_results(home / "a", cells(["4"]), seeds=(1, 2, 3)),
        write_results(home / "b", cells(["4"]), seeds=(4, 5)),
    ]
    return record(parts, home / "reference")


@pytest.fixture
def same(tmp_path: Path) -> Path:
    """The first seed of `stored` once more, to the last bit."""
    return write_results(tmp_path / "same", cells(["4"]), seeds=(1,))


def judge(folder: Path, stored: Path, **options: object) -> dict[str, NumberVerdict]:
    """The verdicts on a results folder against a reference, by the cell's name."""
    (run,) = read_results(folder).runs
    found = hold_against(run, load_reference(stored).run, **options)  # type: ignore[arg-type]
    return {number.cell.name: number for number in found}


@pytest.fixture(scope="session")
def judged() -> Callable[..., dict[str, NumberVerdict]]:
    return judge
