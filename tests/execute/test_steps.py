"""Steps: values that can be pickled, done anywhere, twice and in any order that they allow."""

import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from repro.execute.schedule import Alone, Schedule
from repro.execute.worker import Done, LostError, Worker, trainings
from repro.models.memory import Placement
from repro.plan.placement import Choice
from repro.plan.plan import Plan
from repro.plan.steps import (
    Artefact,
    Collect,
    Drop,
    Evaluate,
    FineTune,
    Step,
    Weights,
    needed,
    ready,
    steps_of,
    with_drops,
)
from repro.plan.store import Store


def steps_to(plan: Plan, folder: Path) -> list[Step]:
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    return steps_of(plan, folder)


def kinds(steps: Sequence[Step]) -> list[str]:
    return [type(step).__name__ for step in steps]


def nothing(kind: str, key: str) -> bool:
    return False


def test_every_step_can_be_pickled(plan: Plan, tmp_path: Path) -> None:
    for step in with_drops(steps_to(plan, tmp_path), "none"):
        again = pickle.loads(pickle.dumps(step))
        assert type(again) is type(step)
        assert (again.inputs, again.outputs, again.name) == (step.inputs, step.outputs, step.name)


def test_inputs_are_outputs_of_steps_before(plan: Plan, tmp_path: Path) -> None:
    made: set[Artefact] = set()
    for step in with_drops(steps_to(plan, tmp_path), "last"):
        assert set(step.inputs) <= made, step.name
        made |= set(step.outputs)


def test_only_what_is_not_there_is_needed(plan: Plan, tmp_path: Path) -> None:
    steps = steps_to(plan, tmp_path)
    assert needed(steps, nothing) == steps
    assert needed(steps, lambda kind, key: True) == []
    trained = next(step for step in steps if isinstance(step, FineTune))
    cells = [s.outputs for s in steps if isinstance(s, Evaluate) and s.key == trained.key]
    # Its cells are there: neither its weights nor the base's are asked for.
    kept = {*trained.outputs, *cells[0]} - {Artefact("model", trained.key)}
    found = needed(steps, lambda kind, key: (kind, key) in kept)
    assert trained not in found
    # A cell is missing: the weights are made again, though the facts are there.
    facts = {Artefact("facts", trained.key)}
    assert trained in needed(steps, lambda kind, key: (kind, key) in facts)
    # The facts are missing: it is trained for them, and nothing is evaluated again.
    found = needed(steps, lambda kind, key: (kind, key) in {*cells[0]} or kind == "weights")
    own = [step for step in found if getattr(step, "key", "") == trained.key]
    assert kinds(own) == ["FineTune"]


def test_checkpoints_of_a_training_come_from_one_step(plan: Plan, tmp_path: Path) -> None:
    """And only those that are asked for and not there are made again."""
    tuned = next(model for model in plan.models if model.training)
    training = tuned.training
    assert training is not None
    models = [
        replace(
            tuned,
            variant=replace(tuned.variant, checkpoint=str(n)),
            training=replace(training, recipe=replace(training.recipe, checkpoint=n)),
            key=f"key{n}",
            cells=tuple(replace(cell, key=f"{cell.key}-{n}") for cell in tuned.cells),
        )
        for n in (4, 2)
    ]
    steps = steps_to(replace(plan, models=(tuned, *models)), tmp_path)
    (step,) = [step for step in steps if isinstance(step, FineTune)]
    assert step.keys == ("key2", "key4", tuned.key)
    assert step.passing == ((2, "key2"), (4, "key4"))
    assert len(step.outputs) == 6

    def trained(*lost: str) -> FineTune:
        again = needed(steps, lambda kind, key: key.split("-")[-1] not in lost)
        return next(step for step in again if isinstance(step, FineTune))

    assert trained("key2", "key4", "2", "4").passing == ((2, "key2"),)
    assert trained("key2", "key4", "2", "4").training.recipe.checkpoint == 4
    assert trained("key2", "2").keys == ("key2",)
    assert trained("key2", "2").training.recipe.checkpoint == 2
    own = trained("key2", "2", tuned.key)
    assert own.keys == ("key2", tuned.key)
    assert own.training.recipe == training.recipe


@pytest.mark.parametrize(
    ("rank", "sharded", "number"), [(0, False, 1), (4, False, 3), (0, True, 3)]
)
def test_models_that_cannot_be_saved_midway_are_trained_one_by_one(
    plan: Plan, tmp_path: Path, rank: int, sharded: bool, number: int
) -> None:
    step = next(step for step in steps_to(plan, tmp_path) if isinstance(step, FineTune))
    training = replace(step.training, recipe=replace(step.training.recipe, lora_rank=rank))
    step = replace(step, training=training, passing=((2, "two"), (4, "four")))
    choice = Choice(placement=Placement(sharded=sharded), gpus=1, tokens=8192)
    found = list(trainings(step, step.keys, choice))
    assert len(found) == number
    assert [key for one in found for key in one.keys] == list(step.keys)
    assert list(trainings(step, [], choice)) == []


def test_what_is_ready_waits_for_nothing_else(plan: Plan, tmp_path: Path) -> None:
    steps = with_drops(steps_to(plan, tmp_path), "none")
    assert kinds(ready(steps)) == ["Weights"]
    behind = ready(steps[1:])
    assert {"Evaluate", "FineTune"} == set(kinds(behind))
    assert sum(isinstance(step, FineTune) for step in behind) == 2, "they wait not for each other"


@pytest.mark.parametrize(
    ("keep", "dropped"), [("none", [0, 1]), ("last", [0, None]), ("all", [None, None])]
)
def test_weights_are_dropped_behind_results(
    plan: Plan, tmp_path: Path, keep: str, dropped: list[int | None]
) -> None:
    steps = with_drops(steps_to(plan, tmp_path), keep)  # type: ignore[arg-type]
    keys = [step.key for step in steps if isinstance(step, FineTune)]
    drops = [step for step in steps if isinstance(step, Drop)]
    wanted = [(keys[d], keys[i]) for i, d in enumerate(dropped) if d is not None]
    assert [(d.artefact.key, d.after.key) for d in drops] == wanted


def finish(steps: Sequence[Step], store: Store) -> list[Step]:
    order: list[Step] = []
    worker = Worker(store, say=lambda line: None)
    Schedule(steps, Alone(worker), worker, lambda step, took: order.append(step), {}).finish()
    return order


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.jsonl")}


@pytest.fixture(scope="module")
def reference(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference")
    finish(steps_to(plan, folder), Store(folder / "store"))
    found = results(folder)
    assert len([name for name in found if name.count(".") > 2]) == 4
    return {name: text for name, text in found.items() if "store" not in name}


def test_any_order_that_inputs_allow_gives_the_same_bytes(
    plan: Plan, tmp_path: Path, reference: dict[str, bytes]
) -> None:
    """Each step by a worker of its own, which has nothing but the store."""
    store, waiting = Store(tmp_path / "store"), steps_to(plan, tmp_path / "out")
    rng = random.Random(5)
    while waiting:
        step = rng.choice(ready(waiting))
        Worker(store, say=lambda line: None).do(pickle.loads(pickle.dumps(step)))
        waiting.remove(step)
    assert results(tmp_path / "out") == {
        name: text for name, text in reference.items() if name in results(tmp_path / "out")
    }
    assert len(results(tmp_path / "out")) == 6


@pytest.mark.usefixtures("warm")
def test_a_step_can_be_done_in_another_process(
    plan: Plan, tmp_path: Path, reference: dict[str, bytes]
) -> None:
    """Its pickle and the store are all that it needs."""
    steps = steps_to(plan, tmp_path / "out")
    store = Store(tmp_path / "store")
    code = """
import pickle, sys
from pathlib import Path
from repro.machine import numerics as machine
machine.prepare(1, device="cpu")
from repro.execute.worker import Worker
from repro.plan.store import Store
step = pickle.loads(Path(sys.argv[2]).read_bytes())
Worker(Store(Path(sys.argv[1])), say=print).do(step)
"""
    trained = next(step.key for step in steps if isinstance(step, FineTune))
    for step in steps:
        if isinstance(step, FineTune | Evaluate) and step.key == trained:
            (tmp_path / "step").write_bytes(pickle.dumps(step))
            words = [sys.executable, "-c", code, str(store.root), str(tmp_path / "step")]
            subprocess.run(words, check=True)
        else:
            Worker(store, say=lambda line: None).do(step)
    found = results(tmp_path / "out")
    assert {name: reference[name] for name in found} == found


def test_doing_a_step_again_changes_nothing(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    steps = steps_to(plan, tmp_path / "out")
    finish(steps, store)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*") if p.is_file()}
    for step in reversed(steps):
        took = Worker(store, say=lambda line: None).do(step)
        assert took.lines == []
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*") if p.is_file()}
    assert after == before


def test_weights_that_were_dropped_meanwhile_are_made_again(plan: Plan, tmp_path: Path) -> None:
    """Another process may drop what it made between two steps of this one."""
    store = Store(tmp_path / "store")
    steps = steps_to(plan, tmp_path / "out")
    dropped: list[str] = []

    class Meddled(Worker):
        def do(self, step: Step) -> Done:
            if isinstance(step, Evaluate) and isinstance(step.weights, Artefact) and not dropped:
                dropped.append(step.key)
                store.drop(*step.weights)
                with pytest.raises(LostError):
                    super().do(step)
            return super().do(step)

    names: list[str] = []
    worker = Meddled(store, say=lambda line: None)
    Schedule(steps, Alone(worker), worker, lambda step, _: names.append(step.name), {}).finish()
    assert dropped
    assert len(names) == len(steps) + 1
    assert all(store.find(*a) for s in steps if not isinstance(s, Collect) for a in s.outputs)


def test_a_step_measures_itself(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    took: dict[str, Done] = {}

    def note(step: Step, done: Done) -> None:
        took[type(step).__name__] = done

    steps = steps_to(plan, tmp_path / "out")
    worker = Worker(store, say=lambda line: None)
    Schedule(steps, Alone(worker), worker, note, {}).finish()
    assert took[FineTune.__name__].measured.flops("train") == 0, (
        "no model was loaded by this process"
    )
    assert took[Evaluate.__name__].measured.flops("prefill") > 0
    assert took[Weights.__name__].measured.seconds.keys() == {"load"}
    assert pickle.loads(pickle.dumps(took[Evaluate.__name__])).measured.seconds
