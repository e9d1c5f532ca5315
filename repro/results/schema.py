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

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from repro.spec.cells import Cell

FORMAT = 1
"""Raised when older readers would misread a folder."""

RESULTS, FINETUNES, RUN = "results.jsonl", "finetunes.jsonl", "run.json"
TIMINGS, TEXTS = "timings.jsonl", "prompts.jsonl"
SAMPLES, CURVES = "samples", "curves"


class Checked(BaseModel):
    """Types are exact; fields that are not named here may be there, and are kept."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class ResultLine(Checked):
    """A line of results.jsonl: the score of a cell.

    `value` is the mean over `n` rows, `stderr` its standard error; `seed` is that of the fine-tune,
    none for the base. `key` and `model_key` are the content keys of the cell and of its weights.
    """

    cell: str
    metric: str
    value: Annotated[float, Field(ge=0, le=1)]
    stderr: NonNegativeFloat
    n: PositiveInt
    seed: int | None = None
    profile: str
    protocol: str
    overrides: dict[str, Any]
    key: str
    model_key: str
    samples: str
    samples_sha256: str


class WeightChange(Checked):
    """Mean absolute change of the weights (paper, section 5.3); `all` is that of all matrices."""

    all: NonNegativeFloat | None = None


class FinetuneMachine(Checked):
    """Where a fine-tune was made: `processes` trained it together, each on a device."""

    processes: PositiveInt = 1


class FinetuneLine(Checked):
    """A line of finetunes.jsonl; a loss is null where a step had no label token."""

    variant: str
    seed: int
    key: str
    losses: list[NonNegativeFloat | None] | None = None
    weight_change: WeightChange | None = None
    machine: FinetuneMachine | None = None


class TimingLine(Checked):
    """A line of timings.jsonl: what a step of the plan took."""

    step: str
    seconds: NonNegativeFloat


class Asked(Checked):
    """The names of the cells, and the seeds, that runs into a folder were asked for."""

    cells: list[str] = []
    seeds: list[int] = []


class StudyRecord(Checked):
    """The study of a run, with its table where it is a user's."""

    name: str
    table: dict[str, Any] | None = None


class Budgets(Checked):
    """Tokens of a batch; `reduced` where memory ran out, by the stem of the samples file."""

    reduced: dict[str, dict[str, Any]] = {}


class Part(Checked):
    """The run.json of a folder that results were joined from, with the cells from there."""

    cells: list[str] = []
    budgets: Budgets | None = None


class RunRecord(Checked):
    """run.json; `identity` holds what all cells of the folder have in common."""

    format: Literal[1]
    identity: dict[str, Any]
    study: StudyRecord | None = None
    budgets: Budgets | None = None
    parts: list[Part] = []
    asked: Asked = Asked()


def stem_of(cell: Cell, seed: int | None) -> str:
    """The name of a cell's samples file, less its ending."""
    return cell.name if seed is None else f"{cell.name}.seed{seed}"


def samples_name(cell: Cell, seed: int | None) -> str:
    """The path of a cell's samples inside the results folder."""
    return f"{SAMPLES}/{stem_of(cell, seed)}.jsonl"
