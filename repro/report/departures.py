"""How far fine-tunes went from the base beside their scores: weights, and labels that they give."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from repro.results.runs import Run
from repro.spec.cells import BASE, Cell, Variant

HEADING = "How far fine-tunes went from the base"
READ = (
    "Mean |fine-tuned - base| over all weights, and how much of the predictions on classification "
    "sets moved to other labels (total variation, 0 to 1), 0-shot and with examples; means over "
    "seeds and test sets."
)
HEADS = ("fine-tune", "weights", "labels, 0-shot", "labels, few-shot")


@dataclass(frozen=True)
class Departure:
    """A fine-tune's distance from the base; None for what is not known."""

    variant: Variant
    weight_change: float | None
    zero_shot: float | None
    few_shot: float | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Its row, as all faces show it."""
        change = "" if self.weight_change is None else f"{self.weight_change:.2e}"
        moved = ("" if v is None else f"{v:.3f}" for v in (self.zero_shot, self.few_shot))
        return (self.variant.name, change, *moved)


def departures(run: Run) -> tuple[Departure, ...]:
    """All fine-tunes of a run, in the order of its study."""
    changes: dict[Variant, list[float]] = {}
    for tuned in run.tuned.values():
        if tuned.weight_change is not None:
            changes.setdefault(tuned.variant, []).append(tuned.weight_change)
    moved: dict[tuple[Variant, bool], list[float]] = {}
    for cell in run.by_cell:
        if cell.variant != BASE:
            moved.setdefault((cell.variant, cell.shots > 0), []).extend(_moved(run, cell))

    def mean(values: list[float]) -> float | None:
        return fmean(values) if values else None

    return tuple(
        Departure(
            variant,
            mean(changes.get(variant, [])),
            mean(moved.get((variant, False), [])),
            mean(moved.get((variant, True), [])),
        )
        for variant in sorted({v for v, _ in moved}, key=run.study.rank)
    )


def _moved(run: Run, cell: Cell) -> Iterator[float]:
    """Of each seed, the total variation between the labels given and those that the base gives."""
    based = run.of(Cell(BASE, cell.dataset, cell.prompt, cell.demonstrations)).get(None)
    theirs = _shares(based.raw) if based else {}
    for result in run.of(cell).values():
        if theirs and (ours := _shares(result.raw)):
            yield sum(abs(ours.get(x, 0) - theirs.get(x, 0)) for x in {*ours, *theirs}) / 2


def _shares(line: Mapping[str, object]) -> dict[str, float]:
    """The share of each label in a cell's predictions; empty for generation."""
    counts = line.get("histogram")
    if not isinstance(counts, dict) or not sum(counts.values()):
        return {}
    return {label: count / sum(counts.values()) for label, count in counts.items()}
