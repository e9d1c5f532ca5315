"""Figures 1 to 7: panels, series, and the cells behind every plotted point."""

from collections.abc import Iterable
from dataclasses import dataclass

from repro.paper.cells import BASE, Cell, Variant
from repro.paper.tasks import DATASETS, SIZES, TRAIN_SETS, Kind

BEST = "best"
FIGURES = ("1", "2", "3", "4", "5", "6", "7")


@dataclass(frozen=True)
class Point:
    """A plotted point: one cell, or the best of a group of cells (FT and FC bars).

    Attributes:
        shots: the shot count of its cell, or "best".
        cells: one cell, or the candidates among which the best is shown.
    """

    figure: str
    panel: str
    series: str
    variant: Variant
    dataset: str
    prompt: str
    shots: int | str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Panel:
    """A panel of a figure.

    Attributes:
        train: the training set of bar panels; empty in line panels.
    """

    figure: str
    letter: str
    dataset: str
    prompt: str = "p1"
    train: str = ""


def _panels() -> tuple[Panel, ...]:
    lines = {
        "1": "xsum xlsum socialqa paws amazon amazonfood mnli1 mnli2",
        "2": "peerread cnndm tweetqa sciqa sst2 yelp qqp stsb rte gptnli",
    }
    panels = [
        Panel(figure, letter, dataset)
        for figure, names in lines.items()
        for letter, dataset in zip("abcdefghij", names.split(), strict=False)
    ]
    cross = ("amazon", "mnli1", "paws", "xsum", "socialqa")
    for letter, (prompt, dataset) in zip(
        "abcdefghij", ((p, d) for p in ("p1", "p2") for d in cross), strict=True
    ):
        panels.append(Panel("3", letter, dataset, prompt))
    bars = {
        "4": "xsum:xsum xsum:peerread socialqa:socialqa socialqa:sciqa",
        "5": "socialqa:amazon socialqa:mnli1 socialqa:paws socialqa:xsum xsum:socialqa",
        "6": "amazon:amazon amazon:sst2 paws:paws paws:stsb mnli:mnli1 mnli:rte",
        "7": "amazon:paws amazon:xsum paws:mnli1 paws:xsum mnli:amazon mnli:xsum",
    }
    for figure, names in bars.items():
        for letter, pair in zip("abcdef", names.split(), strict=False):
            train, dataset = pair.split(":")
            panels.append(Panel(figure, letter, dataset, train=train))
    return tuple(panels)


PANELS = _panels()


def _line_points(panel: Panel) -> Iterable[Point]:
    dataset = DATASETS[panel.dataset]
    if panel.figure == "3":
        series = {"llama2": BASE} | {
            train: Variant(train, SIZES[0])
            for train, task in TRAIN_SETS.items()
            if task != dataset.task
        }
    else:
        train = dataset.task.train_set
        series = {"0": BASE} | {f"{size // 1000}k": Variant(train, size) for size in SIZES}
    generation = dataset.task.kind is Kind.GENERATION
    for name, variant in series.items():
        for shots in dataset.task.shots:
            # The paper plots no 0-shot generation of the base, and in Figure 3 of no model.
            if shots == 0 and generation and (variant == BASE or panel.figure == "3"):
                continue
            cell = Cell(variant, dataset.name, panel.prompt, shots)
            yield Point(
                panel.figure,
                panel.letter,
                name,
                variant,
                dataset.name,
                panel.prompt,
                shots,
                (cell,),
            )


def _bar_points(panel: Panel, every_shot: bool) -> Iterable[Point]:
    dataset = DATASETS[panel.dataset]
    shots = dataset.task.shots
    where = (dataset.name, panel.prompt)
    base_shots = shots[1:3] if dataset.task.kind is Kind.GENERATION else shots[:3]
    for count in base_shots:
        # Figure 6(e) prints B2 and B4 over the bars of 3 and 5 shots (figures.json, doubts).
        printed = {3: 2, 5: 4}.get(count, count) if panel.figure + panel.letter == "6e" else count
        yield Point(
            panel.figure,
            panel.letter,
            f"B{printed}",
            BASE,
            *where,
            count,
            (Cell(BASE, *where, count),),
        )
    candidates = shots if every_shot else shots[:3]
    task = TRAIN_SETS[panel.train]
    trained = {f"FC{n}": Variant(panel.train, SIZES[0], n) for n in task.fticl_shots}
    trained["FT"] = Variant(panel.train, SIZES[0])
    for name, variant in trained.items():
        cells = tuple(Cell(variant, *where, count) for count in candidates)
        yield Point(panel.figure, panel.letter, name, variant, *where, BEST, cells)


def points(figures: Iterable[str] = FIGURES, *, every_shot: bool = False) -> tuple[Point, ...]:
    """The plotted points of the named figures, panel by panel.

    Args:
        figures: figure names, "1" to "7".
        every_shot: let the best-of groups range over all four shot counts instead of the
            {0, s1, s2} that the published bars use (AUDIT A6).
    """
    wanted = set(figures)
    found: list[Point] = []
    for panel in PANELS:
        if panel.figure in wanted:
            found += _bar_points(panel, every_shot) if panel.train else _line_points(panel)
    return tuple(found)


def cells(figures: Iterable[str] = FIGURES, *, every_shot: bool = False) -> tuple[Cell, ...]:
    """The distinct cells behind the named figures: 574 for all seven, 616 with every shot count.

    In the order in which the figures first need them.
    """
    needed = (cell for point in points(figures, every_shot=every_shot) for cell in point.cells)
    return tuple(dict.fromkeys(needed))
