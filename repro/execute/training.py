"""The fine-tuning step, in this process or in one process a GPU.

Run as a module by `launch`, in every process: `python -m repro.execute.training REQUEST.json`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune import Facts, Recipe
from repro.machine.exhausted import explained
from repro.models.load import load
from repro.plan.steps import Way
from repro.spec.prompts import Template
from repro.spec.tasks import Task

_ERROR = "error.json"


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A fine-tune: everything that crosses to other processes.

    Attributes:
        base: folder of the base weights.
        folder: existing folder that gets the fine-tuned model.
        passing: number of steps -> existing folder that gets the model as it is after so many.
        task, fields, text: how rows are shown, see `repro.spec.prompts.Template`.
        rows, demonstrations: as plain dicts; contexts: see `repro.finetune.finetune`.
        sharded, offloaded, recast: where the memory lies, see `repro.models.memory.Placement`.
        way: how packed samples attend, see `repro.finetune.attention`; None for the device's own.
        track: what records its curves, see `repro.finetune.curves`; curves: the folder for them;
            name: what they are called there.
    """

    base: str
    folder: str
    task: str
    fields: list[str]
    text: str
    rows: list[dict[str, Any]]
    demonstrations: list[dict[str, Any]]
    contexts: Sequence[str]
    recipe: dict[str, Any]
    device: str
    rotary: str
    token_budget: int
    sharded: bool = False
    offloaded: bool = False
    recast: bool = False
    way: Way | None = None
    track: str | None = None
    curves: str = ""
    name: str = ""
    passing: list[tuple[int, str]] = field(default_factory=list)


def train(request: TrainingRequest, *, progress: object = None) -> None:
    """Fine-tune and save. With several processes each works on its own GPU, the first saves."""
    import torch  # this and what follows is slow to import
    from accelerate import PartialState  # type: ignore[import-untyped]

    from repro.finetune import finetune, save
    from repro.finetune.curves import curves
    from repro.finetune.outcome import require_saveable
    from repro.finetune.shard import mesh, shard

    # Joins the processes before anything asks for it.
    state = PartialState(cpu=request.device == "cpu")
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{rank}" if request.device == "cuda" else request.device
    base = Path(request.base)
    if request.sharded:
        among = mesh(request.device)
        for process in range(state.num_processes):  # main memory holds the whole model once
            if process == state.process_index:
                model, tokenizer = load(base, dtype="float32", rotary=request.rotary)
                bfloat16 = request.recipe["dtype"] == "bfloat16"
                shard(model, among, torch.device(device), bfloat16=bfloat16)
            state.wait_for_everyone()
    else:
        model, tokenizer = load(base, dtype="float32", device=device, rotary=request.rotary)
    if rank == 0:
        require_saveable(model, tokenizer, Path(request.folder))

    def keep(folder: str, facts: Facts) -> None:
        save(model, tokenizer, facts, Path(folder))

    tracker = request.track if rank == 0 else None
    with curves(tracker, Path(request.curves), request.name, request.recipe) as track:
        facts = finetune(
            model,
            tokenizer,
            request.rows,
            request.demonstrations,
            Template(Task(request.task, tuple(request.fields)), request.text),
            Recipe(**request.recipe),
            contexts=request.contexts,
            token_budget=request.token_budget,
            offloaded=request.offloaded,
            recast=request.recast,
            way=request.way,
            progress=progress,
            track=track,
            passing={steps: partial(keep, folder) for steps, folder in request.passing},
        )
    if rank == 0:
        keep(request.folder, facts)


def launch(request: TrainingRequest, processes: int) -> None:
    """The same in several processes, one a GPU; the numbers do not depend on how many.

    Raises:
        ReproError: what a process met, or that one ended otherwise (3).
    """
    folder = Path(request.folder)
    path = folder / "request.json"
    path.write_text(json.dumps(asdict(request)), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "repro.execute.training", str(path)]
    done = subprocess.run(command, check=False)
    path.unlink()
    if (folder / _ERROR).is_file():
        raise ReproError(**json.loads((folder / _ERROR).read_text(encoding="utf-8")))
    if done.returncode:
        raise ReproError(
            f"fine-tuning in {processes} processes ended with code {done.returncode}",
            hint="see the messages above; the same command starts this fine-tune again",
            exit_code=EXIT_MISSING,
        )


def _main() -> None:
    from repro.machine import numerics as machine

    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    request = TrainingRequest(**json.loads(text))
    machine.prepare(0, device=request.device)
    from accelerate import PartialState  # after these settings

    try:
        with explained():
            train(request)
        PartialState().wait_for_everyone()
        sys.stdout.flush()
        os._exit(0)  # taking the interpreter down may abort it, by torch's threads for sharding
    except ReproError as error:
        told = {"message": str(error), "hint": error.hint, "exit_code": error.exit_code}
        (Path(request.folder) / _ERROR).write_text(json.dumps(told), encoding="utf-8")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
