"""Running a plan: model by model, each loaded once for all its cells; what is there is kept."""

import json
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from repro.clock import clock
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate import Engine, TorchEngine, evaluate
from repro.evaluate import Job as CellJob
from repro.evaluate.encode import Encoded, encode
from repro.finetune.artefact import FACTS
from repro.finetune.attention import Way
from repro.lines import Line, append_line, to_line
from repro.machine.gpus import probe_cuda
from repro.machine.selftest import record as selftest
from repro.models.load import load
from repro.models.memory import WHOLE
from repro.models.sources import materialise
from repro.models.spec import ModelSpec
from repro.paper.protocols import Protocol
from repro.pipeline import placement, prompts, results
from repro.pipeline.plan import TORCH, CellStep, Job, Plan, weights_key
from repro.pipeline.spent import count_training, spent
from repro.pipeline.store import Store, write_atomically
from repro.pipeline.tune import Request, launch, tune
from repro.pipeline.whole import Whole

Say = Callable[[str], None]


def base_weights(spec: ModelSpec, store: Store, say: Say, progress: Progress | None) -> Path:
    """The folder of the base weights in the store, made if it is not there."""
    key = weights_key(spec)
    with store.lock("weights", key, waiting=lambda: say("waiting for the base weights")):
        found = store.find("weights", key)
        if found:
            return found
        say(f"base weights: {spec.describe()}")
        with store.create("weights", key) as folder:
            facts = materialise(spec, folder, progress=progress)
            write_atomically(folder / "origin.json", json.dumps(facts, indent=1) + "\n")
    return store.path("weights", key)


class Runner:
    """Does the steps of a plan that the store does not hold yet.

    Attributes:
        keep_models: which fine-tuned weights stay: "none", "last" or "all"; with "none" the
            base weights go too, once everything is done.
        say: prints a line for the user.
        options: of the command, for run.json: what running missing cells later needs again.
        attention: how packed samples attend in fine-tuning on a GPU; None for what the self-test
            of the GPU says.
        progress: a rich Progress that finetune and evaluate add their bars to, or None.
        spent: where the time of the last run went, see `repro.pipeline.spent`.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        out: Path,
        *,
        keep_models: str,
        say: Say,
        attention: Way | None = None,
        progress: Progress | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.plan = plan
        self.store = store
        self.out = out
        self.keep_models = keep_models
        self.say = say
        self.attention = attention
        self.progress = progress
        self.options = options or {}
        self.spent: Line = {}
        self._last_tuned = ""
        self._encoded: dict[tuple[str, str, int, int], Encoded] = {}

    def run(self) -> int:
        """Run all jobs and write the results after each.

        Returns:
            The number of cells that are not finished; 0 unless another process took them away.
        """
        clock.start()
        with results.claim_folder(self.out, self.plan):
            write_atomically(self.out / results.RUN, self._record())
            with clock.part("prompts"):
                prompts.write(self.out, self.plan)
            if self._tested is not None:
                self._tested.write(self.out / selftest.FILE)
                self._tested.require()
            whole = Whole(self.plan, [j for j in self.plan.jobs if self._open(j)], self.progress)
            try:
                with whole.shown():
                    for index, job in enumerate(self.plan.jobs, 1):
                        self._run_job(job, f"[{index}/{len(self.plan.jobs)}]")
                        whole.finished(job)
            finally:
                with clock.part("results"):
                    missing = results.write(self.out, self.plan, self.plan.jobs, self.store)
                    write_atomically(self.out / results.RUN, self._record())
            self.spent = spent(self.plan.profile.compute)
            self._note(self.spent)
            if self.keep_models == "none":
                self.store.drop("weights", self.plan.base_key)
            return missing

    def _record(self) -> str:
        from repro.pipeline import machine  # keeps this module easy to test

        record = {
            "format": results.FORMAT,
            "identity": self.plan.identity,
            "asked": results.asked(self.out, self.plan),
            "options": dict(self.options),
            "model": dict(self.plan.profile.model),
            "data": self.plan.profile.data,
            "switches": vars(self.plan.protocol),
            "source": machine.source_state(),
            "lock_sha256": machine.lock_sha256(),
            "versions": machine.versions(),
            "machine": machine.describe(),
            "budgets": results.budgets(self.plan, self.store),
        }
        return json.dumps(record, indent=1) + "\n"

    def _open(self, job: Job) -> bool:
        """Whether anything is to be done for a model, by names in the store alone."""
        return job.to_tune(self.store.has) or not all(
            self.store.has("cell", step.key) for step in job.cells
        )

    def _run_job(self, job: Job, label: str) -> None:
        if all(self.store.find("cell", step.key) for step in job.cells) and (
            job.recipe is None or self.store.find("facts", job.key)
        ):
            return
        with self.store.lock(
            "job",
            job.key,
            waiting=lambda: self.say(f"{label} {job.name}: waiting for another process"),
        ):
            pending = [step for step in job.cells if not self.store.find("cell", step.key)]
            if job.recipe is not None and (pending or not self.store.find("facts", job.key)):
                self._tune(job, label)
            if pending:
                self._evaluate(job, pending, label)
            with clock.part("results"):
                results.write(self.out, self.plan, [job], self.store)
        self._retire(job)

    @contextmanager
    def _timed(self, step: str) -> Iterator[dict[str, object]]:
        """Append the step's seconds to the timings of the run."""
        facts: dict[str, object] = {"step": step}
        start = time.monotonic()
        yield facts
        facts["seconds"] = round(time.monotonic() - start, 3)
        self._note(facts)

    def _note(self, facts: Mapping[str, object]) -> None:
        append_line(self.out / results.TIMINGS, dict(facts))

    def _base(self) -> Path:
        if not self.store.find("weights", self.plan.base_key):
            with self._timed("weights"), clock.part("load"):
                base_weights(self.plan.spec, self.store, self.say, self.progress)
        return self.store.path("weights", self.plan.base_key)

    @cached_property
    def _tested(self) -> selftest.Record | None:
        """The self-test of the GPU, made now where its kind is new; None where nothing is tuned."""
        compute = self.plan.profile.compute
        if compute.device != "cuda" or not any(j.to_tune(self.store.has) for j in self.plan.jobs):
            return None
        from repro.machine.selftest.run import ensure

        precision = "float32" if compute.dtype == "float32" else "bfloat16"
        return ensure(self.store.root, probe_cuda(), [precision], say=self.say)

    @cached_property
    def _choice(self) -> placement.Choice:
        """Where the memory of fine-tunes lies."""
        compute = self.plan.profile.compute
        found = placement.here(self.plan.spec, compute, record=self._tested)
        if found is None:  # preflight may have looked before anything was measured
            factor = self._tested.memory_factor if self._tested else 1.0
            raise ReproError(
                f"the self-test measured {factor:.2f} times the planned memory, and nothing fits",
                hint="take a GPU with more memory, or fewer train_tokens in a profile of your own",
                exit_code=EXIT_MISSING,
            )
        return found

    @property
    def _way(self) -> Way | None:
        """How packed samples attend: as asked for, as tested, or the device's own."""
        if self.attention or self._tested is None:
            return self.attention
        return next(iter(self._tested.attention.values()))

    def _tune(self, job: Job, label: str) -> None:
        if self.store.find("model", job.key) and self.store.find("facts", job.key):
            return
        assert job.recipe is not None
        assert job.rows is not None
        assert job.demonstrations is not None
        base = self._base()
        choice = self._choice
        how = "" if choice.placement == WHOLE else f", {choice}"
        if job.recipe.lora_rank:
            how += f", LoRA of rank {job.recipe.lora_rank} instead of all weights"
        self.say(f"{label} {job.name}: fine-tuning on {len(job.rows)} rows{how}")
        with (
            self._timed(f"finetune {job.name}"),
            clock.part("train"),
            self.store.create("facts", job.key) as facts,
        ):
            if not self.store.find("model", job.key):
                with self.store.create("model", job.key) as folder:
                    request = Request(
                        base=str(base),
                        folder=str(folder),
                        task=job.variant.task.name,
                        rows=job.rows.to_list(),
                        demonstrations=job.demonstrations.to_list(),
                        recipe=job.recipe.table(),
                        device=self.plan.profile.compute.device,
                        rotary=self.plan.protocol.rotary_precision,
                        token_budget=choice.tokens,
                        sharded=choice.placement.sharded,
                        offloaded=choice.placement.offloaded,
                        recast=choice.placement.recast,
                        way=self._way,
                    )
                    torch.cuda.empty_cache()  # of models evaluated before, on the first GPU
                    if choice.gpus > 1:
                        launch(request, choice.gpus)
                    else:
                        tune(request, progress=self.progress)
                    count_training(json.loads((folder / FACTS).read_text(encoding="utf-8")))
            shutil.copy(self.store.path("model", job.key) / FACTS, facts / FACTS)

    def _evaluate(self, job: Job, pending: list[CellStep], label: str) -> None:
        folder = job.checkpoint or (
            self._base() if job.recipe is None else self.store.path("model", job.key)
        )
        self.say(f"{label} {job.name}: evaluating {len(pending)} cells")
        for dtype, steps in groupby(sorted(pending, key=lambda s: s.dtype), lambda s: s.dtype):
            by_cell = {step.cell: step for step in steps}
            with self._timed(f"evaluate {job.name} {dtype}") as facts:
                with clock.part("load"):
                    engine = self._engine(folder, dtype)
                jobs = [CellJob(s.cell, s.rows, s.demonstrations) for s in by_cell.values()]
                with engine:
                    done = evaluate(
                        engine,
                        jobs,
                        self.plan.protocol,
                        self.plan.settings,
                        encoder=self._encode,
                        progress=self.progress,
                    )
                    for cell, samples in done:
                        key = by_cell[cell].key
                        with clock.part("results"), self.store.create("cell", key) as temporary:
                            text = "".join(map(to_line, samples))
                            (temporary / "samples.jsonl").write_text(text, encoding="utf-8")
                            results.note_budget(temporary, engine.reduced_budget)
                facts["cells"] = len(by_cell)

    def _engine(self, folder: Path, dtype: str) -> Engine:
        if self.plan.engine != TORCH:
            from repro.evaluate.vllm import VllmEngine  # only where it is asked for

            return VllmEngine(folder, dtype=dtype)
        model, tokenizer = load(
            folder,
            dtype=dtype,
            device=self.plan.profile.compute.device,
            rotary=self.plan.protocol.rotary_precision,
        )
        settings = self.plan.settings
        if self._tested and not self._tested.share_prefix:  # the slower way, which is exact
            settings = replace(settings, share_prefix=False)
        return TorchEngine(model, tokenizer, settings)

    def _encode(self, job: CellJob, tokenizer: Any, protocol: Protocol) -> Encoded:
        """A cell's prompts, made once for all models, which share the plan's rows."""
        # A fine-tune's tokenizer may hold one token more, for padding.
        place = (job.cell.dataset, job.cell.prompt, job.cell.shots, len(tokenizer))
        if place not in self._encoded:
            made = encode(job, tokenizer, protocol)
            # As lists, the prompts of a whole grid would take half a gigabyte.
            small = [array("i", prompt) for prompt in made.prompts]
            self._encoded[place] = replace(made, prompts=small)
        return self._encoded[place]

    def _retire(self, job: Job) -> None:
        """Drop fine-tuned weights whose cells are done, as --keep-models asks."""
        if job.recipe is None or self.keep_models == "all":
            return
        if self.keep_models == "none":
            self.store.drop("model", job.key)
            return
        if self._last_tuned and self._last_tuned != job.key:
            self.store.drop("model", self._last_tuned)
        self._last_tuned = job.key
