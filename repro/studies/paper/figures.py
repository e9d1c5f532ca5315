"""Figures 1 to 7: panels, series, and the cells behind every plotted point."""

from collections.abc import Iterable

from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.points import BEST, Figure, Panel, Point
from repro.spec.tasks import Kind
from repro.studies.paper.tasks import DATASETS, SIZES, TRAIN_SETS, fticl_shots, training_of

FIGURES = {
    figure.name: figure
    for figure in (
        Figure("1", "In-domain test sets", 4),
        Figure("2", "Out-of-domain test sets", 5),
        Figure("3", "Cross-task test sets: prompt 1 above, prompt 2 below", 5),
        Figure("4", "FTICL on generation, the same task", 4),
        Figure("5", "FTICL on generation, across tasks", 5),
        Figure("6", "FTICL on classification, the same task", 6),
        Figure("7", "FTICL on classification, across tasks", 6),
    )
}


# Panel by panel: a data set, behind the training set of its bars, and with another prompt than p1.
_PANELS = {
    "1": "xsum xlsum socialqa paws amazon amazonfood mnli1 mnli2",
    "2": "peerread cnndm tweetqa sciqa sst2 yelp qqp stsb rte gptnli",
    "3": "amazon mnli1 paws xsum socialqa amazon/p2 mnli1/p2 paws/p2 xsum/p2 socialqa/p2",
    "4": "xsum:xsum xsum:peerread socialqa:socialqa socialqa:sciqa",
    "5": "socialqa:amazon socialqa:mnli1 socialqa:paws socialqa:xsum xsum:socialqa",
    "6": "amazon:amazon amazon:sst2 paws:paws paws:stsb mnli:mnli1 mnli:rte",
    "7": "amazon:paws amazon:xsum paws:mnli1 paws:xsum mnli:amazon mnli:xsum",
}


def _panel(figure: str, letter: str, place: str) -> Panel:
    place, _, prompt = place.partition("/")
    train, _, name = place.rpartition(":")
    dataset = DATASETS[name]
    title = dataset.printed
    if train:
        own = DATASETS.get(train)
        title = f"{own.printed if own else train.upper()} to {title}"
    title += ", prompt 2" if prompt else ""
    return Panel(figure, letter, name, prompt or "p1", title, dataset.task.metric, train)


PANELS = tuple(
    _panel(figure, letter, place)
    for figure, places in _PANELS.items()
    for letter, place in zip("abcdefghij", places.split(), strict=False)
)


def _line_points(panel: Panel) -> Iterable[Point]:
    task, where = DATASETS[panel.dataset].task, (panel.dataset, panel.prompt)
    if panel.figure == "3":
        series = {"llama2": BASE} | {
            train: Variant(train, SIZES[0])
            for train, training in TRAIN_SETS.items()
            if training.task != task
        }
    else:
        train = training_of(task).name
        series = {"0": BASE} | {f"{size // 1000}k": Variant(train, size) for size in SIZES}
    for name, variant in series.items():
        for shots in task.shots:
            # The paper plots no 0-shot generation of the base, and in Figure 3 of no model.
            unseen = variant == BASE or panel.figure == "3"
            if shots == 0 and task.kind is Kind.GENERATION and unseen:
                continue
            cell = Cell(variant, *where, Demonstrations(shots))
            yield Point(panel.figure, panel.letter, name, variant, *where, shots, (cell,))


def _bar_points(panel: Panel, every_shot: bool) -> Iterable[Point]:
    task, where = DATASETS[panel.dataset].task, (panel.dataset, panel.prompt)
    shots = task.shots
    for count in shots[1:3] if task.kind is Kind.GENERATION else shots[:3]:
        # Figure 6(e) prints B2 and B4 over the bars of 3 and 5 shots (figures.json, doubts).
        printed = {3: 2, 5: 4}.get(count, count) if panel.figure + panel.letter == "6e" else count
        cell = Cell(BASE, *where, Demonstrations(count))
        yield Point(panel.figure, panel.letter, f"B{printed}", BASE, *where, count, (cell,))
    candidates = shots if every_shot else shots[:3]
    trained = {
        f"FC{n}": Variant(panel.train, SIZES[0], Demonstrations(n))
        for n in fticl_shots(TRAIN_SETS[panel.train].task)
    }
    trained["FT"] = Variant(panel.train, SIZES[0])
    for name, variant in trained.items():
        cells = tuple(Cell(variant, *where, Demonstrations(n)) for n in candidates)
        yield Point(panel.figure, panel.letter, name, variant, *where, BEST, cells)


def points(figures: Iterable[str] = FIGURES, *, every_shot: bool = False) -> tuple[Point, ...]:
    """The plotted points of the named figures, panel by panel.

    Published bars are the best over {0, s1, s2}, not over all four shot counts (AUDIT A6).
    """
    wanted = set(figures)
    return tuple(
        point
        for panel in PANELS
        if panel.figure in wanted
        for point in (_bar_points(panel, every_shot) if panel.train else _line_points(panel))
    )


def cells(figures: Iterable[str] = FIGURES, *, every_shot: bool = False) -> tuple[Cell, ...]:
    """The distinct cells behind the named figures: 574 for all seven, 616 with every shot count.

    In the order in which the figures first need them.
    """
    needed = (cell for point in points(figures, every_shot=every_shot) for cell in point.cells)
    return tuple(dict.fromkeys(needed))
