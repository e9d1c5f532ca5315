"""prompts.jsonl of the results folder: the texts behind the hashes in the samples.

A line is a row's own text (`dataset`, `prompt`, `row`, `text`), or what stands before every row at
a shot count (`dataset`, `prompt`, `shots`, `text`): the demonstrations, or at 0 shots a stray blank
or nothing. The latter + the former is the text whose sha256 the samples hold as `prompt_sha256`.
Each stands here once, for neither depends on the model.
"""

from pathlib import Path

from repro.evaluate.encode import texts
from repro.execute.results import TEXTS
from repro.lines import Line, read_lines, to_line
from repro.plan.plan import Plan
from repro.plan.store import write_atomically
from repro.spec.cells import Demonstrations

_Key = tuple[int, str, bool, Demonstrations]


def write(out: Path, plan: Plan) -> None:
    """Write the texts of all prompts of the plan; those of other cells in the folder are kept.

    Raises:
        ReproError: too few demonstrations for a cell.
    """
    names = list(plan.study.datasets)

    def key(line: Line) -> _Key:
        kind = "row" if "row" in line else "shots"
        shots = Demonstrations.parse(str(line[kind]))
        # Contexts stand before rows.
        return names.index(line["dataset"]), line["prompt"], kind == "row", shots

    path = out / TEXTS
    lines = {key(line): line for line in read_lines(path)}
    known = dict(lines)
    steps = {
        (step.cell.dataset, step.cell.prompt, step.cell.demonstrations): step
        for model in plan.models
        for step in model.cells
    }
    for (dataset, prompt, shots), step in steps.items():
        rows = step.rows.to_list()
        parts = texts(step.asked, rows, step.demonstrations.to_list(), plan.protocol)
        place: Line = {"dataset": dataset, "prompt": prompt}
        told = shots.number if shots.name.isdigit() else shots.name
        own = [place | {"shots": told, "text": parts.before}]
        for row, text in zip(rows, parts.queries, strict=True):
            own.append(place | {"row": row["row"], "text": text})
        lines |= {key(line): line for line in own}
    if lines != known:
        write_atomically(path, "".join(to_line(lines[key]) for key in sorted(lines)))
