"""Which step is done when: locked work is put off, and no worker idles that need not."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.workers import WORKERS, Simulated, simulate
from repro import studies
from repro.cli.options import build_plan, parse
from repro.errors import ReproError
from repro.execute.schedule import Alone, Schedule
from repro.execute.worker import Done, LostError, Worker, locks
from repro.locks import BusyError
from repro.plan.cost import makespan
from repro.plan.estimate import by_characters, costs, seconds_of
from repro.plan.plan import Plan
from repro.plan.steps import (
    Artefact,
    Drop,
    Evaluate,
    FineTune,
    Keep,
    Step,
    steps_of,
    timed,
    with_drops,
)
from repro.plan.store import Store


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The whole embedded grid."""
    names = ["figures", "claims", "variants", "tests", "cells", "grid", "seeds", "data_dir", "rows"]
    request = parse(
        **dict.fromkeys([*names, "protocol_name", "checkpoints"]),
        study=studies.DEFAULT,
        profile="embedded",
        overrides=(),
        store=tmp_path_factory.mktemp("store"),
        skip_missing=False,
        engine="torch",
        model=(),
    )
    return build_plan(request, print)


def test_the_whole_grid_takes_little_more_than_any_schedule_must(grid: Plan) -> None:
    """The scheduler that runs have, on the plan's estimates; `repro plan` says about the same."""
    rows = costs(grid, by_characters, lambda kind, key: False)
    for workers in WORKERS:
        seconds, least, work = simulate(grid, workers)
        # Longest first takes 4/3 of the best schedule at most where steps are free (Graham 1969).
        assert least <= seconds * (1 + 1e-9) <= 4 / 3 * least
        assert work == pytest.approx(sum(row.cost.seconds for row in rows), rel=1e-6)
        assert makespan(rows, workers).seconds == pytest.approx(seconds, rel=0.15)


def test_cells_of_the_base_are_shared_out_among_idle_workers(grid: Plan, tmp_path: Path) -> None:
    """In parts, each with weights of its own to load: no more of them than keep all busy."""
    given: list[Step] = []

    class Seen(Simulated):
        def give(self, step: Step) -> bool:
            taken = super().give(step)
            given.extend([step] if taken else [])
            return taken

    seconds = seconds_of(grid, by_characters)

    def cost(step: Step) -> float:
        return sum(seconds[c.key] for c in step.cells) if isinstance(step, Evaluate) else 0.0

    class Nobody:
        def do(self, step: Step) -> Done:
            return Done()

    steps = [s for s in steps_of(grid, tmp_path) if not hasattr(s, "training")]
    nobody: Any = Nobody()
    base = next(step for step in steps if isinstance(step, Evaluate)).key
    only = [s for s in steps if getattr(s, "key", base) == base and not hasattr(s, "model")]
    for workers in (1, 4):
        given.clear()
        Schedule(only, Seen(workers, cost), nobody, lambda *_: None, seconds).finish()
        own = [step for step in given if isinstance(step, Evaluate)]
        assert workers <= len(own) <= 2 * 4 * workers
        assert sum(len(step.cells) for step in own) == 83


class Other(Worker):
    """Finds some steps in the hands of another process so many times, and says what it did."""

    def __init__(self, store: Store, held: dict[str, int]) -> None:
        super().__init__(store, say=print)
        self.held, self.did = held, list[tuple[str, bool]]()

    def do(self, step: Step) -> Done:
        if self.held.get(step.name, 0) and not self.waits:
            self.held[step.name] -= 1
            raise BusyError
        self.did.append((step.name, self.waits))
        return Done()


def test_one_process_puts_off_what_another_has_in_hand(plan: Plan, tmp_path: Path) -> None:
    steps = with_drops(steps_of(plan, tmp_path), "last")
    tuned = [step.name for step in steps if isinstance(step, FineTune)]
    worker = Other(Store(tmp_path / "store"), {tuned[0]: 100})
    Schedule(steps, Alone(worker), worker, lambda *_: None, {}).finish()
    names = [name for name, _ in worker.did]
    assert sorted(names) == sorted(step.name for step in steps)
    # All else that does not need it came first; then it waited.
    assert names.index(tuned[0]) > names.index(f"collect {tuned[1].removeprefix('finetune ')}")
    assert dict(worker.did)[tuned[0]] is True
    assert dict(worker.did)[tuned[1]] is False


def test_weights_are_not_dropped_that_a_step_put_off_still_needs(
    plan: Plan, tmp_path: Path
) -> None:
    steps = with_drops(steps_of(plan, tmp_path), "last")
    answers = [step.name for step in steps if isinstance(step, Evaluate)]
    worker = Other(Store(tmp_path / "store"), {answers[1]: 100})
    Schedule(steps, Alone(worker), worker, lambda *_: None, {}).finish()
    names = [name for name, _ in worker.did]
    drop = next(step for step in steps if step.name.startswith("drop"))
    assert names.index(drop.name) > names.index(answers[1])


def test_workers_put_off_what_another_process_has_in_hand(plan: Plan, tmp_path: Path) -> None:
    """Two tries find it held; whatever else is ready is done before the second."""
    steps = steps_of(plan, tmp_path)
    held = next(step for step in steps if isinstance(step, FineTune))
    seconds = seconds_of(plan, by_characters)
    order: list[str] = []

    class Pool(Simulated):
        tries = 0

        def answers(self) -> list[tuple[Step, Any]]:
            ((step, came),) = super().answers()
            if step is held and self.tries < 2:
                self.tries += 1
                return [(step, BusyError())]
            order.append(step.name)
            return [(step, came)]

    own = Other(Store(tmp_path / "store"), {})
    Schedule(steps, Pool(1, lambda _: 1.0), own, lambda *_: None, seconds).finish()
    assert order.index(held.name) == len(order) - 2  # only its own cells come after it


def test_a_lock_of_another_process_is_found_without_waiting(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = next(step for step in steps_of(plan, tmp_path) if isinstance(step, FineTune))
    ((kind, key),) = locks(step)
    worker = Worker(store, say=print, waits=False)
    with store.lock(kind, key, waiting=None), pytest.raises(BusyError):
        worker.do(step)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("keep", ["none", "last"])
def test_no_more_models_lie_in_the_store_than_there_are_workers(
    grid: Plan, tmp_path: Path, workers: int, keep: Keep
) -> None:
    """But for the last one, which stays; with all of them, all do."""
    seconds = seconds_of(grid, by_characters)
    lying: set[str] = set()
    most = []

    def cost(step: Step) -> float:
        return sum(seconds.get(key, 0.0) for key in timed(step))

    class Store:
        def do(self, step: Step) -> Done:
            if isinstance(step, Drop):
                lying.discard(step.artefact.key)
            return Done()

    def done(step: Step, _: Done) -> None:
        if isinstance(step, FineTune):
            lying.update(step.keys)
        most.append(len(lying))

    store: Any = Store()
    steps = with_drops(steps_of(grid, tmp_path), keep)
    Schedule(steps, Simulated(workers, cost), store, done, seconds).finish()
    assert max(most) <= workers + (keep == "last")
    assert lying == ({grid.models[-1].key} if keep == "last" else set())


def test_weights_that_another_process_dropped_are_named(plan: Plan, tmp_path: Path) -> None:
    """They were there when the run began, so that none of its steps makes them."""

    class Lost(Worker):
        def do(self, step: Step) -> Done:
            if isinstance(step, Evaluate) and isinstance(step.weights, Artefact):
                raise LostError(step.weights)
            return Done()

    (step, *_) = [s for s in steps_of(plan, tmp_path) if isinstance(s, Evaluate)]
    worker = Lost(Store(tmp_path / "store"), say=print)
    with pytest.raises(ReproError, match="another process dropped") as caught:
        Schedule([step], Alone(worker), worker, lambda *_: None, {}).finish()
    assert caught.value.hint == "run the same command again"
