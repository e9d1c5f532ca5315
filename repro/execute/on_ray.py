"""The steps on a Ray cluster, an actor a device.

Nodes need no common file system: finished cells and facts come back to the driver's store, weights
stay where they were made, and whoever needs them gets them by their content key. Where a node sees
the driver's store, all is found there. A node with other code, torch or processors is refused,
since it would give other bytes.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from repro.bars import Watch
from repro.errors import EXIT_MISSING, ReproError
from repro.execute.cluster import require_same, room_for
from repro.execute.local import Place
from repro.execute.remote import RemoteWorker, put
from repro.execute.schedule import Ended
from repro.execute.worker import Done, Say, Worker, locks
from repro.plan.steps import Artefact, Work
from repro.plan.store import Store

START = 600
"""Seconds that actors may take to start, imports included."""

FAILURES = 3
"""Starts of actors that may fail before no more are started in their place."""

_GROUPS = {"said": 1, "files": 2}
_WEIGHTS = ("weights", "model")


class _Actor:
    """An actor, the step that it has in hand, and what is known of its store."""

    def __init__(self, handle: Any, facts: Mapping[str, Any], number: int) -> None:
        self.handle = handle
        self.where = f"{facts['host']}, worker {number}"
        self.host: str = facts["host"]
        self.shares: bool = facts["shares"]
        self.holds = {Artefact(*artefact) for artefact in facts["holds"]}
        self.step: Work | None = None
        self.answer: Any = None
        self.said = self.listen()

    def listen(self) -> Any:
        return self.handle.said.options(concurrency_group="said").remote()


class Actors:
    """Actors on the cluster that this process is connected to, one a place.

    Args:
        store: the driver's.
        numerics: what numbers depend on beside code and data, as the plan has it.

    Raises:
        ReproError: a node has another kit, torch or kind of machine (3).
    """

    def __init__(
        self,
        store: Store,
        places: Sequence[Place],
        say: Say,
        watch: Watch,
        numerics: Mapping[str, object],
    ) -> None:
        self._store, self._places, self._say, self._numerics = store, places, say, numerics
        self._watch = watch
        self._admitted = 0
        self._token = f"shared-{uuid.uuid4().hex}"
        self._actors: list[_Actor] = []
        self._starting: dict[Any, Any] = {}  # handles by what they will tell of themselves
        self._files: Any = None
        self._failed = 0  # starts, of which each beyond some takes a place with it
        self._refused = 0  # places on nodes that joined later and do not suit

    def __enter__(self) -> "Actors":
        (self._store.root / "tmp" / self._token).touch()
        self._grow()
        self._admit()
        return self

    def __exit__(self, *_: object) -> None:
        (self._store.root / "tmp" / self._token).unlink(missing_ok=True)
        handles = [*(actor.handle for actor in self._actors), *self._starting.values()]
        for handle in [*handles, *filter(None, [self._files])]:
            ray.kill(handle)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def busy(self) -> list[Work]:
        return [actor.step for actor in self._actors if actor.step is not None]

    def give(self, step: Work) -> bool:
        """Give a step to an idle actor, one that has the weights if there is one."""
        self._grow()
        if not self._actors:
            self._admit()
        idle = [actor for actor in self._actors if actor.step is None]
        if not idle:
            return False
        actor = min(idle, key=lambda actor: len(self._missing(actor, step)))
        sources = {tuple(a): self._source(a) for a in self._missing(actor, step)}
        known = {artefact: source for artefact, source in sources.items() if source is not None}
        actor.step, actor.answer = step, actor.handle.do.remote(step, known)
        self._watch.begun(actor.where, step.label)
        return True

    def _missing(self, actor: _Actor, step: Work) -> list[Artefact]:
        """Weights that a step needs, or would make, and that the actor's store lacks."""
        wanted = [a for a in (*step.inputs, *step.outputs) if a.kind in _WEIGHTS]
        there = self._store.has if actor.shares else lambda *_: False
        return [a for a in wanted if a not in actor.holds and not there(*a)]

    def _source(self, artefact: Artefact) -> Any:
        """An actor that has an artefact; None if nobody has."""
        if self._store.has(*artefact):
            self._files = self._files or self._beside_driver()
            return self._files
        holders = (actor.handle for actor in self._actors if artefact in actor.holds)
        return next(holders, None)

    def _beside_driver(self) -> Any:
        """An actor on this machine that hands out files of the driver's store."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        place = Place(device="cpu", threads=1)
        handle, facts = self._started(place, apart=False, num_cpus=0, scheduling_strategy=here)
        ray.get(facts)
        return handle

    def answers(self) -> list[tuple[Work, Any]]:
        """What actors have done meanwhile; waits for the first, or for an actor that starts."""
        found: list[tuple[Work, Any]] = []
        while not found:
            waited: dict[Any, _Actor] = {actor.said: actor for actor in self._actors}
            waited |= {actor.answer: actor for actor in self._actors if actor.step is not None}
            ready, _ = ray.wait([*waited, *self._starting])
            if started := [ref for ref in ready if ref in self._starting]:
                self._admit(started)
                return found
            for actor in {id(waited[ref]): waited[ref] for ref in ready}.values():
                if actor.step is not None and actor.answer in ready:
                    found.append((actor.step, self._take(actor)))
                elif actor.said in ready:
                    self._hear(actor)
        return found

    def _hear(self, actor: _Actor) -> None:
        try:
            said = ray.get(actor.said)
            if isinstance(said, str):
                self._say(f"{actor.host}: {said}")
            else:
                self._watch.told(actor.where, said)
            actor.said = actor.listen()
        except ray.exceptions.RayError:
            if actor.step is None:  # else its answer tells
                self._actors.remove(actor)
            else:
                actor.said = actor.answer

    def _take(self, actor: _Actor) -> Any:
        """The answer of an actor, whose records go into the driver's store."""
        step, actor.step = actor.step, None
        assert step is not None
        self._watch.ended(actor.where)
        try:
            came, records = ray.get(actor.answer)
        except ray.exceptions.RayTaskError as error:
            return str(error)
        except ray.exceptions.RayError as error:
            self._actors.remove(actor)
            ray.kill(actor.handle)
            return Ended(f"{type(error).__name__} on {actor.host}")
        told = f"{step.name}: waiting"
        with Worker(self._store, say=self._say).holding(locks(step), told):
            for (kind, key), files in records:
                put(self._store, kind, key, {name: [text] for name, text in files.items()})
        if isinstance(came, Done):
            actor.holds |= {a for a in (*step.inputs, *step.outputs) if a.kind in _WEIGHTS}
        return came

    def forget(self, artefact: Artefact) -> None:
        """Drop weights from the stores of nodes."""
        for actor in self._actors:
            if not actor.shares:
                actor.holds.discard(artefact)
                actor.handle.drop.options(concurrency_group="files").remote(*artefact)

    def _grow(self) -> None:
        """Have the actors started that are lacking and that there is room for."""
        lacking = min(len(self._places), room_for(self._places[0])) - self._refused
        lacking -= max(0, self._failed - FAILURES)
        for place in self._places[: max(0, lacking - len(self._actors) - len(self._starting))]:
            handle, facts = self._started(
                place,
                scheduling_strategy="SPREAD",
                num_cpus=place.cpus_on_ray,
                num_gpus=place.gpus_on_ray,
            )
            self._starting[facts] = handle

    def _admit(self, facts: Sequence[Any] = ()) -> None:
        """Take in actors that have started; all that are to start, where none is named.

        Raises:
            ReproError: a node does not suit, or nothing is left of the cluster (3).
        """
        until = time.monotonic() + START
        for ref in facts or list(self._starting):
            handle = self._starting.pop(ref)
            try:
                found = ray.get(ref, timeout=max(1, until - time.monotonic()))
            except ray.exceptions.RayError as error:
                ray.kill(handle)
                told = str(error).strip().splitlines()[-1] if str(error) else type(error).__name__
                self._say(f"a worker did not start: {told}")
                self._failed += 1
                continue
            try:
                require_same(found, self._numerics)
            except ReproError as error:
                ray.kill(handle)
                if not self._actors or not facts:
                    raise
                # It joined later: what others have in hand goes on.
                self._refused += 1
                self._say(f"refused: {error}")
                continue
            self._admitted += 1
            self._actors.append(_Actor(handle, found, self._admitted))
        if not self._actors and not facts:
            raise ReproError(
                "no node of the cluster does any work",
                hint="ray status says what is left of it; the same command goes on from here",
                exit_code=EXIT_MISSING,
            )

    def _started(self, place: Place, *, apart: bool = True, **options: Any) -> tuple[Any, Any]:
        """A new actor, and what it will tell of itself."""
        actor = ray.remote(concurrency_groups=_GROUPS)(RemoteWorker).options(**options).remote()
        root = str(self._store.root.resolve())
        start = actor.start.remote(root, self._token, place.threads, place.device, apart=apart)
        return actor, start
