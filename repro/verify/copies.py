"""Models of a run that were evaluated under two names."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from repro.results.outcomes import Outcomes
from repro.results.runs import Key, Run, named
from repro.spec.cells import Cell, Demonstrations, Variant

WRONG = 50
"""Texts below the full score that two models must have in common, over all of their cells."""
FEW = 5
"""Rows below which equal logits may be a coincidence of rounding."""

_Place = tuple[str, str, Demonstrations]
_Model = tuple[Variant, int | None]


def copies(run: Run) -> Mapping[Key, str]:
    """Cells whose outputs are those of another model on the same prompts, with its name.

    No two trainings give equal logits on all rows of a cell. Texts may be equal where models are
    right, or wrong in the one usual way, hence only two models that give equal texts in all of the
    cells that they share, WRONG of them below the full score, are taken for one.
    """
    models: dict[_Model, dict[_Place, Outcomes]] = {}
    for (cell, seed), result in run.cells.items():
        # Labels of unknown logits may well be equal.
        if (one := result.outcomes) and (result.metric != "accuracy" or one.gaps is not None):
            place = (cell.dataset, cell.prompt, cell.demonstrations)
            models.setdefault((cell.variant, seed), {})[place] = one
    found: dict[Key, str] = {}
    for (one, ours), (other, theirs) in combinations(models.items(), 2):
        for place in _equal(ours, theirs):
            for own, twin in ((one, other), (other, one)):
                found.setdefault((Cell(own[0], *place), own[1]), named(twin[0].name, twin[1]))
    return found


def _equal(ours: Mapping[_Place, Outcomes], theirs: Mapping[_Place, Outcomes]) -> Iterator[_Place]:
    texts: list[_Place] = []
    differing, wrong = False, 0
    for place in ours.keys() & theirs.keys():
        a, b = ours[place], theirs[place]
        if a.gaps is not None and b.gaps is not None:
            if len(a.rows) >= FEW and a.gaps.tobytes() == b.gaps.tobytes():
                yield place
        elif a.outputs == b.outputs:
            texts.append(place)
            wrong += int((a.scores < 1).sum())
        else:
            differing = True
    if not differing and wrong >= WRONG:
        yield from texts
