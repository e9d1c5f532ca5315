"""What a process that does steps has, and how each kind of step is done."""

import json
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.progress import Progress

from repro import clock
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate import Job
from repro.evaluate.encode import Encoded, encode
from repro.execute.collect import collect, note_budget
from repro.execute.timing import count_training
from repro.execute.training import launch, train
from repro.files import write_atomically
from repro.finetune import FACTS
from repro.lines import Line, to_line
from repro.machine.exhausted import explained
from repro.models.load import load
from repro.models.memory import WHOLE
from repro.models.sources import materialise
from repro.models.spec import ModelSpec
from repro.plan import placement
from repro.plan.plan import TORCH, PlannedCell, weights_key
from repro.plan.steps import Artefact, Collect, Drop, Evaluate, FineTune, Step, Weights
from repro.plan.store import Store
from repro.printable import counted
from repro.spec.protocol import Protocol

if TYPE_CHECKING:
    from repro.evaluate import Engine

Say = Callable[[str], None]
"""Prints a line for the user."""


class LostError(Exception):
    """An input of a step is gone, such as weights that another process dropped."""

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(str(artefact))
        self.artefact = artefact


def locks(step: Step) -> list[tuple[str, str]]:
    """By kind and key what a process holds that does a step."""
    if isinstance(step, Weights):
        return [("weights", step.key)]
    if isinstance(step, FineTune):
        return [("job", key) for key in step.keys]
    if isinstance(step, Evaluate):
        # Cells by test set and prompt, since several processes may share a model's cells.
        return [("cells", f"{step.key}-{c.cell.dataset}-{c.cell.prompt}") for c in step.cells]
    return []


@dataclass
class Done:
    """What a step took: lines for timings.jsonl, seconds and arithmetic by part."""

    lines: list[Line] = field(default_factory=list)
    measured: clock.Clock = field(default_factory=clock.Clock)


class Worker:
    """A process that does steps, one at a time.

    Attributes:
        progress: gets the bars of fine-tuning and evaluation, as a rich Progress does, or None.
        waits: whether it waits for another process that has a step in hand; BusyError otherwise.
    """

    def __init__(self, store: Store, *, say: Say, progress: Any = None, waits: bool = True) -> None:
        self.store = store
        self.waits = waits
        self.say = say
        self.progress = progress
        self._lines: list[Line] = []
        # Prompts of the models that this worker evaluated; another worker makes its own.
        self._encoded: dict[tuple[str, str, int], Encoded] = {}

    def do(self, step: Step) -> Done:
        """Do a step, or find that it is done; safe beside other processes on the same store.

        Raises:
            ReproError: what the user can mend.
            LostError: an input is not in the store.
            BusyError: another process has it in hand, and this one does not wait.
        """
        with clock.measuring() as measured, explained():
            self._lines = []
            self._do(step)
            return Done(self._lines, measured)

    @singledispatchmethod
    def _do(self, step: Step) -> None:
        raise TypeError(type(step))

    @contextmanager
    def _timed(self, name: str) -> Iterator[dict[str, object]]:
        facts: dict[str, object] = {"step": name}
        start = time.monotonic()
        yield facts
        facts["seconds"] = round(time.monotonic() - start, 3)
        self._lines.append(facts)

    def _found(self, artefact: Artefact) -> Path:
        folder = self.store.find(*artefact)
        if folder is None:
            raise LostError(artefact)
        return folder

    @contextmanager
    def holding(self, names: Iterable[tuple[str, str]], told: str) -> Iterator[None]:
        """Locks by kind and key, always taken in the same order."""
        with ExitStack() as stack:
            for kind, key in sorted(set(names)):
                waiting = (lambda: self.say(told)) if self.waits else None
                stack.enter_context(self.store.lock(kind, key, waiting=waiting))
            yield

    @_do.register
    def _weights(self, step: Weights) -> None:
        with self.holding(locks(step), "waiting for the base weights"):
            if self.store.find("weights", step.key):
                return
            self.say(f"base weights: {step.spec.describe()}")
            with (
                self._timed(step.name),
                clock.part("load"),
                self.store.create("weights", step.key) as folder,
            ):
                facts = materialise(step.spec, folder, progress=self.progress)
                write_atomically(folder / "origin.json", json.dumps(facts, indent=1) + "\n")

    @_do.register
    def _finetune(self, step: FineTune) -> None:
        with self.holding(locks(step), f"{step.label}: waiting for another process"):
            lacking = [
                key
                for key in step.keys
                if not (self.store.find("model", key) and self.store.find("facts", key))
            ]
            if not lacking:
                return
            setup, training = step.setup, step.training
            base = self._found(Artefact("weights", setup.base))
            choice = placement.here(setup.spec, setup.compute, record=setup.tested)
            if choice is None:  # preflight may have looked before anything was measured
                factor = setup.tested.memory_factor if setup.tested else 1.0
                raise ReproError(
                    f"the self-test measured {factor:.2f} times the planned memory, "
                    "and nothing fits",
                    hint="take a GPU with more memory, or fewer train_tokens in a profile of your "
                    "own",
                    exit_code=EXIT_MISSING,
                )
            how = "" if choice.placement == WHOLE else f", {choice}"
            if rank := training.recipe.lora_rank:
                how += f", LoRA of rank {rank} instead of all weights"
            if step.passing:
                how += f", with {counted(len(step.passing), 'checkpoint')} on the way"
            self.say(f"{step.label}: fine-tuning on {counted(len(training.rows), 'row')}{how}")
            with self._timed(step.name), clock.part("train"):
                untrained = [key for key in lacking if not self.store.find("model", key)]
                for part in trainings(step, untrained, choice):
                    self._train(part, base, choice)
                for key in lacking:
                    # They are there already where only the weights had been dropped.
                    if not self.store.find("facts", key):
                        with self.store.create("facts", key) as facts:
                            shutil.copy(self.store.path("model", key) / FACTS, facts / FACTS)

    def _train(self, step: FineTune, base: Path, choice: placement.Choice) -> None:
        torch.cuda.empty_cache()  # of models evaluated before, on the first GPU
        with ExitStack() as stack:
            folders = {
                key: stack.enter_context(self.store.create("model", key)) for key in step.keys
            }
            if choice.gpus > 1:
                launch(step, base, folders, choice)
            else:
                train(step, base, folders, choice, progress=self.progress)
            count_training(json.loads((folders[step.key] / FACTS).read_text(encoding="utf-8")))

    @_do.register
    def _evaluate(self, step: Evaluate) -> None:
        with self.holding(locks(step), f"{step.label}: waiting for another process"):
            pending = [cell for cell in step.cells if not self.store.find("cell", cell.key)]
            if not pending:
                return
            own = step.weights
            folder = own if isinstance(own, Path) else self._found(own)
            self.say(f"{step.label}: evaluating {counted(len(pending), 'cell')}")
            with self._timed(step.name) as facts:
                self._answer(step, pending, folder)
                facts["cells"] = len(pending)

    def _answer(self, step: Evaluate, pending: list[PlannedCell], folder: Path) -> None:
        from repro.evaluate import evaluate  # slow to import

        by_cell = {cell.cell: cell for cell in pending}
        try:
            with clock.part("load"):
                engine = _engine(step, folder)
        except (ReproError, OSError):
            if isinstance(step.weights, Artefact) and not self.store.has(*step.weights):
                raise LostError(step.weights) from None  # dropped by another process meanwhile
            raise
        jobs = [Job(cell.asked, cell.rows, cell.demonstrations) for cell in pending]

        # A model that was given has a tokenizer of its own.
        whose = step.key if isinstance(step.weights, Path) else step.setup.base

        def encoded(job: Job, tokenizer: Any, protocol: Protocol) -> Encoded:
            """A cell's prompts, made once for all models of this worker."""
            # A fine-tune's tokenizer may hold one token more, for padding.
            place = (whose, by_cell[job.cell].prompts, len(tokenizer))
            if place not in self._encoded:
                made = encode(job, tokenizer, protocol)
                # As lists, the prompts of a whole grid would take half a gigabyte.
                small = [array("i", prompt) for prompt in made.prompts]
                self._encoded[place] = replace(made, prompts=small)
            return self._encoded[place]

        with engine:
            for cell, samples in evaluate(
                engine,
                jobs,
                step.setup.protocol,
                step.setup.settings,
                encoder=encoded,
                progress=self.progress,
            ):
                key = by_cell[cell].key
                with clock.part("results"), self.store.create("cell", key) as temporary:
                    text = "".join(map(to_line, samples))
                    (temporary / "samples.jsonl").write_text(text, encoding="utf-8")
                    note_budget(temporary, engine.reduced_budget)

    @_do.register
    def _collect(self, step: Collect) -> None:
        with clock.part("results"):
            collect(step.out, step.plan, [step.model], self.store)

    @_do.register
    def _drop(self, step: Drop) -> None:
        self.store.drop(*step.artefact)


def base_weights(spec: ModelSpec, store: Store, say: Say, progress: Progress | None) -> Path:
    """The folder of the base weights in the store, made if it is not there."""
    step = Weights(key=weights_key(spec), spec=spec)
    Worker(store, say=say, progress=progress).do(step)
    return store.path(*step.outputs[0])


def trainings(step: FineTune, keys: Sequence[str], choice: placement.Choice) -> Iterable[FineTune]:
    """The trainings that make models of a step: one, or one each where none can be saved midway."""
    if not keys:
        return []
    if choice.placement.sharded or step.training.recipe.lora_rank:
        return [step.only([key]) for key in keys]
    return [step.only(keys)]


def _engine(step: Evaluate, folder: Path) -> "Engine":
    """What answers a step's prompts."""
    from repro.evaluate import TorchEngine  # slow to import

    setup = step.setup
    if setup.engine != TORCH:
        from repro.evaluate.vllm import VllmEngine  # only where it is asked for

        return VllmEngine(folder, dtype=step.dtype)
    rotary = setup.protocol.rotary_precision
    model, tokenizer = load(folder, dtype=step.dtype, device=setup.compute.device, rotary=rotary)
    return TorchEngine(model, tokenizer, setup.settings, replayed=setup.replayed)
