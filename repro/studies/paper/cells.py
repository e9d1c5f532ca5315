"""The paper's 26 variants, and the cross product of cells."""

from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.studies.paper.prompts import PROMPTS
from repro.studies.paper.tasks import DATASETS, SIZES, TRAIN_SETS, fticl_shots

_PLAIN = [Variant(train, size) for train in TRAIN_SETS for size in SIZES]
_FTICL = [
    Variant(train, SIZES[0], Demonstrations(shots))
    for train, training in TRAIN_SETS.items()
    for shots in fticl_shots(training.task)
]
VARIANTS = {variant.name: variant for variant in (BASE, *_PLAIN, *_FTICL)}


def all_cells() -> tuple[Cell, ...]:
    """The full cross product: 26 variants x 18 test sets x 2 prompts x 4 shot counts."""
    return tuple(
        Cell(variant, dataset.name, prompt, Demonstrations(shots))
        for variant in VARIANTS.values()
        for dataset in DATASETS.values()
        for prompt in PROMPTS
        for shots in dataset.task.shots
    )
