"""What cutting and tokenising does to the training samples (AUDIT A2, A11, C)."""

from collections.abc import Callable, Sequence

from repro.audit.material import FIRST, GENERATION, TRAINED, Length, Material, Values
from repro.audit.statistics import mean, micro_batches, percentile, worst_step
from repro.spec.prompts import context, fill
from repro.studies.paper.prompts import template
from repro.studies.paper.tasks import DATASETS, TASKS, TRAIN_SETS, fticl_shots

SIMULATED_EPOCHS = 1_000
FITS = (1280, 1536, 2048)

_SUMMARY = TASKS["summary"]


def truncation(lengths: Sequence[Length]) -> dict[str, int]:
    """How many samples lose what to cutting."""
    dead = sum(length.kept == 0 for length in lengths)
    partly = sum(0 < length.kept < length.target for length in lengths)
    return {
        "longer than the maximum": sum(length.after < length.total for length in lengths),
        "target cut partly": partly,
        "no target token left": dead,
        "target complete": len(lengths) - partly - dead,
    }


def lost(lengths: Sequence[Length]) -> float:
    """Percent of all target tokens that are cut off."""
    return 100 * (1 - sum(x.kept for x in lengths) / sum(x.target for x in lengths))


def runs() -> list[tuple[str, int, int]]:
    """Training set, size and demonstrations of every training run."""
    return [
        (train, size, shots)
        for train, size in TRAINED
        for shots in (0, *fticl_shots(TRAIN_SETS[train].task))
    ]


def _xsum(material: Material, measure: Callable[[list[Length], int], Values]) -> Values:
    """What is measured of each XSum run; the second argument is the number of context tokens."""
    measured: Values = {}
    plain = material.lengths("xsum", 2000, 0)
    for shots in (0, *fticl_shots(_SUMMARY)):
        lengths = material.lengths("xsum", 2000, shots)
        context = lengths[0].source - plain[0].source
        measured |= {f"{shots} shots: {k}": v for k, v in measure(lengths, context).items()}
    return measured


def xsum_truncation(material: Material) -> Values:
    """XSum samples whose target is cut, by number of demonstrations (A2)."""
    return _xsum(material, lambda lengths, _: dict(truncation(lengths)))


def xsum_target_loss(material: Material) -> Values:
    """Share of the XSum target tokens that are never trained on (A2)."""
    return _xsum(material, lambda lengths, _: {"target tokens lost": lost(lengths)})


def xsum_source_lengths(material: Material) -> Values:
    """How long the documents are that keep a target, and those that lose it (A2)."""

    def measure(lengths: list[Length], context: int) -> Values:
        living = [x.source - context for x in lengths if x.kept]
        dead = [x.source - context for x in lengths if not x.kept]
        return {
            "mean with a target": mean(living),
            "longest with a target": max(living),
            "mean without": mean(dead),
            "shortest without": min(dead),
        }

    return _xsum(material, measure)


def xsum_micro_batches(material: Material) -> Values:
    """What the dead samples do to micro-batches of two and to steps of eight of them (A2)."""

    def measure(lengths: list[Length], _: int) -> Values:
        dead = [not x.kept for x in lengths]
        worst = worst_step(dead, epochs=SIMULATED_EPOCHS)
        return {**micro_batches(len(dead), sum(dead)), "both dead in the worst step": worst}

    return _xsum(material, measure)


def xsum_fit(material: Material) -> Values:
    """Share of the XSum FTICL samples that fit into longer maxima (A2)."""
    return _xsum(
        material,
        lambda lengths, _: {
            f"fit into {size:,}": 100 * mean([x.total <= size for x in lengths]) for size in FITS
        },
    )


def xsum_test_prompts(material: Material) -> Values:
    """Test prompts of the training's shape that are as long as the training maximum (A2)."""
    text = template(_SUMMARY, "p1")
    measured: Values = {}
    for shots in (0, *fticl_shots(_SUMMARY)):
        before = context(_SUMMARY, text, material.shown(_SUMMARY, shots))
        measured[f"{shots} shots: prompts of the maximum or longer"] = sum(
            1 + len(material.ids(before + fill(_SUMMARY, text, row))) >= material.recipe.max_length
            for row in material.test("xsum", FIRST)
        )
    return measured


def training_truncation(material: Material) -> Values:
    """Samples of every training run that are cut (C)."""
    measured: Values = {}
    for train, size, shots in runs():
        counts = truncation(material.lengths(train, size, shots))
        counts.pop("target complete")
        measured |= {f"{train} {size}, {shots} shots: {k}": v for k, v in counts.items()}
    return measured


def training_lengths(material: Material) -> Values:
    """Lengths of every training run before cutting, and tokens of an epoch after it (C)."""
    measured: Values = {}
    for train, size, shots in runs():
        lengths = material.lengths(train, size, shots)
        context = lengths[0].source - material.lengths(train, size, 0)[0].source
        totals, targets = [x.total for x in lengths], [x.target for x in lengths]
        values = {
            "context": context,
            "mean": mean(totals),
            "median": percentile(totals, 50),
            "95th percentile": percentile(totals, 95),
            "99th percentile": percentile(totals, 99),
            "longest": max(totals),
            "target mean": mean(targets),
            "longest target": max(targets),
            "an epoch after cutting": sum(x.after for x in lengths),
        }
        measured |= {f"{train} {size}, {shots} shots: {k}": v for k, v in values.items()}
    return measured


def label_boundary(material: Material) -> Values:
    """Targets whose first character fuses with the prompt's colon into one token (A11).

    These are the samples that the switch label_boundary changes.
    """
    measured: Values = {
        f"{train} {size}, {shots} shots": sum(x.fused for x in material.lengths(train, size, shots))
        for train, size, shots in runs()
        if not shots or train == "xsum"
    }
    pairs = zip(material.train("xsum", 2000), material.lengths("xsum", 2000, 0), strict=True)
    opened = [row["output"][0] for row, length in pairs if length.fused]
    measured["xsum 2000: targets that open with a bracket"] = sum(x == "(" for x in opened)
    measured["xsum 2000: with a quotation mark"] = sum(x == '"' for x in opened)
    return measured


def label_boundary_test(material: Material) -> Values:
    """References of the test files that would fuse with the prompt's colon (A11)."""
    measured: Values = {}
    for name in GENERATION:
        task = DATASETS[name].task
        cue = template(task, "p1").rpartition("\n")[2]
        alone = material.ids("\n" + cue)
        measured[name] = sum(
            material.ids("\n" + cue + row["output"])[: len(alone)] != alone
            for row in material.test(name)
        )
    return measured
