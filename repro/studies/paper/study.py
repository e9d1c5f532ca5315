"""The paper as a study."""

from functools import cache

from repro.spec.protocol import PROTOCOLS
from repro.spec.study import Study
from repro.studies.paper import figures
from repro.studies.paper.cells import VARIANTS, all_cells
from repro.studies.paper.claims import claims
from repro.studies.paper.prompts import PROMPTS
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import DATASETS, TASKS, TRAIN_SETS

NAME = "paper"


@cache
def study() -> Study:
    """The paper's grid: 574 cells behind seven figures, 18 findings."""
    return Study(
        name=NAME,
        question="How do fine-tuned LLMs generalise across domains, tasks and prompts?",
        tasks=TASKS,
        datasets=DATASETS,
        training=TRAIN_SETS,
        prompts=PROMPTS,
        variants=tuple(VARIANTS.values()),
        figures=figures.FIGURES,
        panels=figures.PANELS,
        grids={"figures": figures.points(), "every-shot": figures.points(every_shot=True)},
        everything=all_cells(),
        claims=claims(),
        protocols={name: protocol(name) for name in PROTOCOLS},
        published=True,
    )
