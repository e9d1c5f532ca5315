"""What a results folder holds, and under which names.

- `results.jsonl`: a line a cell, its score with all that a reader needs to know about it.
- `samples/`: a file a cell, a line a row.
- `finetunes.jsonl`: a line a fine-tune, what happened in its training.
- `prompts.jsonl`: the texts behind the hashes in the samples, see `texts`.
- `run.json`: what the run was, its study and its machine; `timings.jsonl`: where time went.
- `curves/`: what a tracker writes, where one was asked for; nothing of the kit reads it.

The first four hold nothing that depends on time or place: two runs of the same command on the same
kind of machine write the same bytes.
"""

from repro.spec.cells import Cell

FORMAT = 1
"""Raised when older readers would misread a folder."""

RESULTS, FINETUNES, RUN, TIMINGS, SAMPLES, TEXTS, CURVES = (
    "results.jsonl",
    "finetunes.jsonl",
    "run.json",
    "timings.jsonl",
    "samples",
    "prompts.jsonl",
    "curves",
)

FIELDS: dict[str, type | tuple[type, ...]] = {
    "cell": str,
    "metric": str,
    "value": (int, float),
    "stderr": (int, float),
    "n": int,
    "profile": str,
    "protocol": str,
    "overrides": dict,
    "key": str,
    "model_key": str,
    "samples": str,
    "samples_sha256": str,
}
"""What every line of results.jsonl has."""


def samples_name(cell: Cell, seed: int | None) -> str:
    """The path of a cell's samples inside the results folder."""
    return f"{SAMPLES}/{cell.name}{'' if seed is None else f'.seed{seed}'}.jsonl"
