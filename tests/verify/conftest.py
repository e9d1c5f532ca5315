"""Made-up results folders in the format of `repro run`, with known skills."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.spec.cells import Cell, Variant
from repro.studies.paper.figures import cells, points
from repro.studies.paper.study import study
from repro.studies.paper.tasks import TRAIN_SETS
from repro.verify.fingerprint import order_digest
from repro.verify.levels import compare_runs
from repro.verify.published import load_paper
from repro.verify.reading import read_results
from repro.verify.reference import load_reference, record
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
    cell: Cell, seed: int | None, n: int, skill: float, noise: object, luck: float = 0.6
) -> list[dict[str, object]]:
    """Rows with a difficulty of their own, shared by all models, plus noise of each model.

    Args:
        luck: share of the model's own noise, in standard deviations.
    """
    shared = rng("rows", cell.dataset).normal(size=n)
    own = rng("noise", cell.name, seed, noise).normal(size=n)
    z = math.sqrt(1 - luck**2) * shared + luck * own
    lines: list[dict[str, object]] = []
    for row in range(n):
        line: dict[str, object] = {"row": row, "prompt_sha256": "0" * 64, "prompt_tokens": 50}
        if study().task_of(cell).labels:
            labels = study().task_of(cell).labels
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


def facts(
    variant: Variant, seed: int, machine: object, noise: object, key: str
) -> dict[str, object]:
    """A line of finetunes.jsonl, with all facts that the embedded profile records.

    Rows, demonstrations and tokens depend on the variant, the order on seed and size as in the
    trainer, the first step on variant and seed, later steps on the run's luck. Another machine adds
    rounding.
    """
    size, shots, samples = variant.size, variant.train_shots, variant.size * 2 // 25
    steps = samples // 8
    luck = (noise,) if noise else ()
    curve = np.geomspace(4.0, 0.15, steps)
    curve[0] *= 1 + 0.05 * rng("first", variant.name, seed).normal()
    curve[1:] *= 1 + 0.03 * rng("loss", variant.name, seed, *luck).normal(size=steps - 1)
    rounding = 1 + 1e-7 * rng("rounding", variant.name, machine, noise).normal(size=steps)
    change = 9e-5 if variant.method == "ft" else 8e-5
    change *= 1 + 0.01 * rng(variant.name, seed, *luck).normal()
    recipe: dict[str, Any] = {
        "learning_rate": 0.0005, "epochs": 2, "micro_batch": 2, "accumulation": 8,
        "max_length": 256, "truncation_side": "right", "loss_weighting": "micro-batch",
        "clip_norm": 0.0, "label_boundary": "joint", "seed": seed, "dtype": "float32",
    }  # fmt: skip
    return {
        "variant": variant.name,
        "seed": seed,
        "key": key,
        "dropped": {},
        "rows_sha256": digest("rows", TRAIN_SETS[variant.train].task.name, size),
        "demonstrations_sha256": digest(
            "demonstrations", TRAIN_SETS[variant.train].task.name, shots
        ),
        "recipe": recipe,
        "task": TRAIN_SETS[variant.train].task.name,
        "demonstrations": shots,
        "order_sha256": order_digest(samples, recipe["epochs"], seed),
        "samples": samples,
        "steps": steps,
        "input_tokens": samples * 30 * (1 + shots),
        "label_tokens": samples * 2,
        "cut_targets": 0,
        "dead_samples": 0,
        "dead_micro_batches": [0, 0],
        "unused_samples": 0,
        "losses": [float(loss) for loss in curve * rounding],
        "gradient_norms": [float(norm) for norm in 3 * curve * rounding],
        "weight_change": {"all": float(change * rounding[-1]), "by_weight": {}},
        "versions": {"python": "3.11.7"},
        "machine": {"device": "cpu", "instructions": str(machine), "threads": 1},
    }


def stderr_of(cell: Cell, scores: Sequence[float]) -> float:
    """Binomial for accuracies; of the mean for ROUGE-L."""
    if study().task_of(cell).labels:
        return float(np.std(scores) / math.sqrt(len(scores)))
    return float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else 0.5


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
    luck: float = 0.6,
    asked: Iterable[Cell] | None = None,
) -> Path:
    """Write a results folder.

    Args:
        luck: of `samples`.
        asked: cells that run.json says were asked for, with these seeds; it does not by default.
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
            value = float(np.clip(moved, 0, 1))
            rows = samples(cell, seed, n, value, "" if base else noise, luck)
            suffix = "" if seed is None else f".seed{seed}"
            name = f"samples/{cell.name}{suffix}.jsonl"
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / name).write_text(text)
            scores = [float(row["score"]) for row in rows]
            model_key = base_key if base else digest(cell.variant.name, seed, machine, noise)
            if seed is not None:
                tuned[cell.variant.name, seed] = facts(
                    cell.variant, seed, machine, noise, model_key
                )
            lines.append(
                {
                    "cell": cell.name,
                    "variant": cell.variant.name,
                    "dataset": cell.dataset,
                    "prompt": cell.prompt,
                    "shots": cell.shots,
                    "seed": seed,
                    "metric": "accuracy" if study().task_of(cell).labels else "rougeL",
                    "value": math.fsum(scores) / n,
                    "n": n,
                    "stderr": stderr_of(cell, scores),
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
    record: dict[str, object] = {
        "format": 1,
        "identity": {
            "profile": profile, "profile_digest": "d", "protocol": protocol, "overrides": {},
            "test_limit": n, "model": base_key, "numerics": {"device": machine},
        },
        "switches": {"best_of": best_of, "max_length": 1024},
        "versions": {"python": "3.11"},
        "machine": {"cpu": machine},
    }  # fmt: skip
    if asked is not None:
        record["asked"] = {"cells": [cell.name for cell in asked], "seeds": [*seeds]}
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
                line["stderr"] = stderr_of(Cell.parse(cell), scores)
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
    held = compare_runs(run, load_reference(stored).run, **options)  # type: ignore[arg-type]
    return {number.cell.name: number for number in held.numbers}


@pytest.fixture(scope="session")
def judged() -> Callable[..., dict[str, NumberVerdict]]:
    return judge


Lines = list[dict]
Place = tuple[str, int | None]


class Forgery:
    """Edits a results folder and makes all of it agree again: values, row counts, hashes, keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = self._read("results.jsonl")
        self.tuned = self._read("finetunes.jsonl")
        self.record = json.loads((folder / "run.json").read_text())

    def _read(self, name: str) -> Lines:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def places(self, **wanted: object) -> list[Place]:
        """Cells, by the fields of their lines."""
        return [
            (line["cell"], line["seed"])
            for line in self.cells
            if all(line[name] == value for name, value in wanted.items())
        ]

    def line(self, place: Place) -> dict:
        return next(x for x in self.cells if (x["cell"], x["seed"]) == place)

    def facts(self, variant: str, seed: int | None = None) -> dict:
        """The line of a fine-tune; of its first seed by default."""
        return next(x for x in self.tuned if x["variant"] == variant and seed in (None, x["seed"]))

    def rows(self, place: Place) -> Lines:
        return self._read(self.line(place)["samples"])

    def write(self, place: Place, rows: Lines) -> None:
        """Other rows for a cell."""
        line = self.line(place)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / line["samples"]).write_text(text)
        scores = [float(row["score"]) for row in rows]
        line["n"], line["value"] = len(scores), math.fsum(scores) / len(scores)
        line["stderr"] = stderr_of(Cell.parse(line["cell"]), scores)
        line["samples_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        line["key"] = digest("forged", line["key"], line["samples_sha256"])

    def lower(self, place: Place, by: float) -> None:
        """Rows lose what they score until the mean is lower by this much, or is 0."""
        rows = self.rows(place)
        left = by * len(rows)
        for i in rng("lower", *place).permutation(len(rows)):
            loss = min(float(rows[i]["score"]), left)
            if loss > 1e-9:
                wrong(rows[i], loss)
                left -= loss
        self.write(place, rows)

    def copy(self, source: Place, target: Place, *, exact: bool = True) -> None:
        """The rows of one cell in place of another's.

        Args:
            exact: whether logits stay equal to the last bit.
        """
        rows = self.rows(source)
        for row in [] if exact else rows:
            for label in row.get("logits", {}):
                row["logits"][label] *= 1 + 1e-4
        self.write(target, rows)

    def save(self) -> None:
        dump = lambda table: "".join(json.dumps(line) + "\n" for line in table)  # noqa: E731
        (self.folder / "results.jsonl").write_text(dump(self.cells))
        (self.folder / "finetunes.jsonl").write_text(dump(self.tuned))
        (self.folder / "run.json").write_text(json.dumps(self.record))


def wrong(row: dict, loss: float = 1.0) -> None:
    """Turn the outcome of a row: a label that is right becomes wrong and the other way round."""
    if "logits" not in row:
        row["score"] = max(0.0, float(row["score"]) - loss)
        row["text"] += " forged"
        return
    label = row["prediction"]
    others = [x for x in row["logits"] if x not in (label, row["gold"])]
    other = row["gold"] if label != row["gold"] else others[0]
    logits = row["logits"]
    logits[label], logits[other] = logits[other], logits[label]
    row["prediction"], row["score"] = other, int(other == row["gold"])


@contextmanager
def forge(folder: Path) -> Iterator[Forgery]:
    forgery = Forgery(folder)
    yield forgery
    forgery.save()


@pytest.fixture(scope="session", name="forge")
def forge_fixture() -> Callable[[Path], AbstractContextManager[Forgery]]:
    return forge


@pytest.fixture(scope="session", name="turn")
def turn_fixture() -> Callable[..., None]:
    return wrong
