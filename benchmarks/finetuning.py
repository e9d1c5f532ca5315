"""Fine-tuning SmolLM2-135M on the authors' rows, against the trainer of transformers.

As `training`, which says how both train. One step of 16 rows each, the first that the kit would
take in no particular order, since what is compared is arithmetic.
"""

from benchmarks._small import load_small
from benchmarks.training import Case, Row, compare

ROWS = 16
SETS = (("amazon", 0), ("amazon", 4), ("mnli", 0), ("mnli", 5), ("xsum", 0), ("xsum", 2))
PLAIN, FTICL = 2.0, 5.0
"""Targets: how many times as fast as the trainer, without and with demonstrations."""


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table, a training set and a number of demonstrations each."""
    from transformers.utils import logging

    from repro.data.upstream import UpstreamData, locate
    from repro.spec.tasks import Part
    from repro.studies.paper.tasks import SIZES, TRAIN_SETS

    data = UpstreamData(locate(None))
    _, _, tokenizer = load_small(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    table: list[Row] = []
    for name, shots in SETS[:1] if small else SETS:
        own = TRAIN_SETS[name]
        shown = data.rows(Part("demonstrations", own.dataset), own.task).to_list()[:shots]
        train = data.rows(Part("train", name, SIZES[0]), own.task).select(range(ROWS)).to_list()
        told = f"{name}, {shots} demonstrations" if shots else name
        case = Case(told, train, shown, own.task, FTICL if shots else PLAIN)
        table.append(compare(case, lambda: load_small(1)[1], tokenizer, 1 if small else repeats))
    return table
