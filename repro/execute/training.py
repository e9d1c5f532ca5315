"""The fine-tuning step, in this process or in one process a GPU.

Run as a module by `launch`, in every process: `python -m repro.execute.training JOB DEVICE`.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune import Facts
from repro.machine.exhausted import explained
from repro.models.load import load
from repro.plan.placement import Choice
from repro.plan.steps import FineTune

_ERROR = "error.json"


def train(
    step: FineTune,
    base: Path,
    folders: Mapping[str, Path],
    choice: Choice,
    *,
    progress: object = None,
) -> None:
    """Fine-tune and save. With several processes each works on its own GPU, the first saves.

    Args:
        base: folder of the base weights.
        folders: existing ones by content key, which get the models that the step makes.
        choice: where the memory lies.
    """
    import torch  # this and what follows is slow to import
    from accelerate import PartialState  # type: ignore[import-untyped]

    from repro.finetune import finetune, save
    from repro.finetune.curves import curves
    from repro.finetune.outcome import require_saveable
    from repro.finetune.shard import mesh, shard

    setup, training, recipe = step.setup, step.training, step.training.recipe
    kind, rotary = setup.compute.device, setup.protocol.rotary_precision
    # Joins the processes before anything asks for it.
    state = PartialState(cpu=kind == "cpu")
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{rank}" if kind == "cuda" else kind
    if choice.placement.sharded:
        among = mesh(kind)
        for process in range(state.num_processes):  # main memory holds the whole model once
            if process == state.process_index:
                model, tokenizer = load(base, dtype="float32", rotary=rotary)
                bfloat16 = recipe.dtype == "bfloat16"
                shard(model, among, torch.device(device), bfloat16=bfloat16)
            state.wait_for_everyone()
    else:
        model, tokenizer = load(base, dtype="float32", device=device, rotary=rotary)
    if rank == 0:
        require_saveable(model, tokenizer, folders[step.key])

    def keep(key: str, facts: Facts) -> None:
        save(model, tokenizer, facts, folders[key])

    tracker, where = (setup.track if rank == 0 else None) or (None, Path())
    with curves(tracker, where, step.name.removeprefix("finetune "), recipe.settings) as track:
        facts = finetune(
            model,
            tokenizer,
            training.rows.to_list(),
            training.demonstrations.to_list(),
            training.template,
            recipe,
            contexts=training.contexts,
            token_budget=choice.tokens,
            offloaded=choice.placement.offloaded,
            recast=choice.placement.recast,
            way=setup.way,
            progress=progress,
            track=track,
            passing={steps: partial(keep, key) for steps, key in step.passing},
        )
    if rank == 0:
        keep(step.key, facts)


def launch(step: FineTune, base: Path, folders: Mapping[str, Path], choice: Choice) -> None:
    """The same in several processes, one a GPU; the numbers do not depend on how many.

    Raises:
        ReproError: what a process met, or that one ended otherwise (3).
    """
    job = folders[step.key] / "job.pickle"
    job.write_bytes(pickle.dumps((step, base, folders, choice)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={choice.gpus}", "-m", "repro.execute.training"]
    code = run_together([*command, str(job), step.setup.compute.device])
    job.unlink()
    error = job.with_name(_ERROR)
    if error.is_file():
        raise ReproError(**json.loads(error.read_text(encoding="utf-8")))
    if code:
        raise ReproError(
            f"fine-tuning in {choice.gpus} processes ended with code {code}",
            hint="see the messages above; the same command starts this fine-tune again",
            exit_code=EXIT_MISSING,
        )


def run_together(command: Sequence[str]) -> int:
    """Run a command whose processes end with this one, however it ends; returns its exit code.

    They would go on holding the GPUs otherwise, and write into what the next run makes. They have
    the reading end of a pipe as their standard input, which nobody else writes: see `_end_with`.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            return process.wait()
        except BaseException:
            process.kill()
            raise


def _end_with(launcher: int) -> None:
    """End when the launcher is gone, of whose pipe this is the reading end."""
    while os.read(launcher, 1):
        pass
    os._exit(1)


def _main() -> None:
    from repro.machine import numerics as machine

    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    job = Path(sys.argv[1])
    machine.prepare(0, device=sys.argv[2])
    from accelerate import PartialState  # after these settings

    try:
        with explained():
            train(*pickle.loads(job.read_bytes()))
        PartialState().wait_for_everyone()
        sys.stdout.flush()
        os._exit(0)  # taking the interpreter down may abort it, by torch's threads for sharding
    except ReproError as error:
        told = {"message": str(error), "hint": error.hint, "exit_code": error.exit_code}
        job.with_name(_ERROR).write_text(json.dumps(told), encoding="utf-8")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
