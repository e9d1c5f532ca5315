"""prompts.jsonl of the results folder: the texts behind the hashes in the samples.

A line is a row's own text (`dataset`, `prompt`, `row`, `text`), or what stands before every row at
a shot count (`dataset`, `prompt`, `shots`, `text`): the demonstrations, or at 0 shots a stray blank
or nothing. The latter + the former is the text whose sha256 the samples hold as `prompt_sha256`.
Each stands here once, for neither depends on the model.
"""

from pathlib import Path

from repro.evaluate.encode import texts
from repro.lines import Line, read_lines, to_line
from repro.paper.tasks import DATASETS
from repro.pipeline.plan import Plan
from repro.pipeline.results import TEXTS
from repro.pipeline.store import write_atomically

_Key = tuple[int, str, bool, int]


def write(out: Path, plan: Plan) -> None:
    """Write the texts of all prompts of the plan; those of other cells in the folder are kept.

    Raises:
        ReproError: too few demonstrations for a cell.
    """
    path = out / TEXTS
    lines = {_key(line): line for line in read_lines(path)}
    known = dict(lines)
    steps = {
        (step.cell.dataset, step.cell.prompt, step.cell.shots): step
        for job in plan.jobs
        for step in job.cells
    }
    for (dataset, prompt, shots), step in steps.items():
        rows = step.rows.to_list()
        parts = texts(step.cell, rows, step.demonstrations.to_list(), plan.protocol)
        place: Line = {"dataset": dataset, "prompt": prompt}
        own = [place | {"shots": shots, "text": parts.before}]
        for row, text in zip(rows, parts.queries, strict=True):
            own.append(place | {"row": row["row"], "text": text})
        lines |= {_key(line): line for line in own}
    if lines != known:
        write_atomically(path, "".join(to_line(lines[key]) for key in sorted(lines)))


def _key(line: Line) -> _Key:
    kind = "row" if "row" in line else "shots"
    # Contexts stand before rows.
    return list(DATASETS).index(line["dataset"]), line["prompt"], kind == "row", line[kind]
