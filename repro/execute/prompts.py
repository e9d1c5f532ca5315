"""The texts of a plan's prompts, for prompts.jsonl of the results folder."""

from pathlib import Path

from repro.evaluate.encode import texts
from repro.lines import Line
from repro.plan.plan import Plan
from repro.results.texts import write_texts


def write_prompts(out: Path, plan: Plan) -> None:
    """Write the texts of all prompts of the plan; those of other cells in the folder are kept.

    Raises:
        ReproError: too few demonstrations for a cell.
    """
    cells = {
        (cell.cell.dataset, cell.cell.prompt, cell.cell.demonstrations): cell
        for model in plan.models
        for cell in model.cells
    }
    lines: list[Line] = []
    for (dataset, prompt, shots), cell in cells.items():
        rows = cell.rows.to_list()
        parts = texts(cell.asked, rows, cell.demonstrations.to_list(), plan.protocol)
        place: Line = {"dataset": dataset, "prompt": prompt}
        told = shots.number if shots.name.isdigit() else shots.name
        lines.append(place | {"shots": told, "text": parts.before})
        for row, text in zip(rows, parts.queries, strict=True):
            lines.append(place | {"row": row["row"], "text": text})
    write_texts(out, lines, list(plan.study.datasets))
