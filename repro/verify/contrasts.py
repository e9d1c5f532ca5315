"""A contrast of a claim on measured values: comparisons, effects, tests, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from repro.spec.claims import FACTS, Contrast, Pair
from repro.spec.points import Point
from repro.spec.study import Study
from repro.verify.claimverdicts import ContrastVerdict
from repro.verify.effects import (
    Compared,
    change_of,
    compare,
    effect_of,
    gain_of,
    group_against,
    mean_of,
)
from repro.verify.facts import Facts, judge_facts
from repro.verify.measured import Measured, Source
from repro.verify.quantifiers import allowed_wrong, decided, power_to_show
from repro.verify.regions import Region, claim_margin, region
from repro.verify.seedspread import SeedSpread


@dataclass(frozen=True)
class Evidence:
    """What claims are judged on.

    Attributes:
        study: what is claimed.
        scores: of plotted points.
        labels: share of rows whose whole output is a label; None where outputs are unknown.
        facts: by kind of contrast, for those that compare facts of fine-tunes.
        spread: of facts over seeds; the registered one by default.
        published: the numbers are the paper's own.
    """

    study: Study
    scores: Source
    labels: Source | None = None
    facts: Mapping[str, Facts] = field(default_factory=dict)
    spread: SeedSpread | None = None
    published: bool = False


def common_seeds(measured: Mapping[Point, Measured]) -> tuple[int, ...] | None:
    """Seeds that every fine-tune of the contrast has; None if there are none in common."""
    sets = [set(item.seeds) for item in measured.values() if item.seeds]
    if not sets:
        return ()
    common = set.intersection(*sets)
    return tuple(sorted(common)) if common else None


def judge(
    contrast: Contrast,
    evidence: Evidence,
    *,
    every_shot: bool = False,
    published: ContrastVerdict | None = None,
    widen: float = 1.0,
    power: bool = True,
) -> ContrastVerdict:
    """A contrast on measured values, before the correction for many contrasts.

    Args:
        every_shot: bars are the best over all shot counts.
        published: the contrast on the published numbers, for ratio, power, and for telling what
            is otherwise here only.
        widen: factor on the registered margin; for tests of monotonicity.
        power: work it out.
    """
    if contrast.kind in FACTS:
        return judge_facts(
            evidence.study,
            contrast,
            evidence.facts.get(contrast.kind, {}),
            published=published,
            spread=evidence.spread,
        )
    source = evidence.labels if contrast.kind == "labels" else evidence.scores
    pairs = evidence.study.pairs(contrast, every_shot=every_shot)
    others = evidence.study.pairs(contrast, every_shot=every_shot, other=True)
    expected = len(pairs) + len(others)
    if source is None:
        return ContrastVerdict(
            contrast=contrast,
            expected=expected,
            unpublished=evidence.published,
            reason="the outputs are not known",
        )
    terms = [t for pair in (*pairs, *others) for t in (pair.left, pair.right) if t is not None]
    found = {p: source(p) for p in dict.fromkeys(p for term in terms for p in term.points)}
    measured = {point: value for point, value in found.items() if value is not None}

    def runnable(pair: Pair) -> bool:
        return all(point in measured for point in _points(pair))

    kept = [pair for pair in pairs if runnable(pair)]
    kept_others = [pair for pair in others if runnable(pair)]
    used = {point for pair in (*kept, *kept_others) for point in _points(pair)}
    seeds = common_seeds({p: measured[p] for p in used})
    if not kept or (others and not kept_others) or seeds is None:
        reason = "no seed in common" if seeds is None else "none of its comparisons was run"
        return ContrastVerdict(contrast=contrast, expected=expected, reason=reason)
    compared = [compare(pair, measured, seeds, contrast.threshold) for pair in kept]
    if contrast.than:
        rest = [compare(pair, measured, seeds) for pair in kept_others]
        summary = change_of if contrast.kind == "change" else gain_of
        name = f"size of the {contrast.kind}"
        compared = [group_against(name, summary(compared), summary(rest), compared)]
    return _judged(
        evidence.study,
        contrast,
        compared,
        expected=expected,
        run=len(kept) + len(kept_others),
        seeds=seeds,
        published=published,
        widen=widen,
        power=power,
        constant=tuple(dict.fromkeys(m.constant for p, m in measured.items() if m.constant)),
        optimistic=any(len(p.cells) > 1 and measured[p].optimism > 0 for p in used),
    )


def _points(pair: Pair) -> tuple[Point, ...]:
    return pair.left.points + (() if pair.right is None else pair.right.points)


def _judged(
    study: Study,
    contrast: Contrast,
    compared: Sequence[Compared],
    *,
    expected: int,
    run: int,
    seeds: tuple[int, ...],
    published: ContrastVerdict | None,
    widen: float,
    power: bool,
    constant: tuple[str, ...],
    optimistic: bool,
) -> ContrastVerdict:
    """Effects of all comparisons, of the test sets and of all together, and what they show."""

    def place(*items: Compared) -> Region:
        margin = widen * claim_margin(study.metric(item.dataset) for item in items)
        return region(contrast.direction, margin)

    regions = [place(item) for item in compared]
    effects = [effect_of(item, where) for item, where in zip(compared, regions, strict=True)]
    sets, by_dataset = [], []
    for dataset in dict.fromkeys(item.dataset for item in compared):
        own = [i for i, item in enumerate(compared) if item.dataset == dataset]
        sets.append(mean_of(study.datasets[dataset].printed, [compared[i] for i in own]))
        by_dataset.append(effect_of(sets[-1], place(sets[-1]), [effects[i].holds for i in own]))
    overall = mean_of("all", compared)
    mean = effect_of(overall, place(*compared), [effect.holds for effect in effects])
    stated = {effect.name: effect for effect in published.pairs} if published else {}
    allowed = allowed_wrong(compared, by_dataset, regions, stated, study.datasets)
    notes = []
    if optimistic:
        largest = max((e.optimism for e in effects), key=abs, default=0.0)
        side = "high" if largest > 0 else "low"
        notes.append(
            "bars are the best of several cells: a difference may read up to "
            f"{abs(largest):.3f} too {side}"
        )
    if contrast.note:
        notes.append(contrast.note)
    chance, of = None, ""
    if power and stated and all(item.name in stated for item in compared):
        chance = power_to_show(
            contrast.quantifier == "all",
            list(zip(compared, regions, strict=True)),
            [(item, place(item)) for item in sets],
            (overall, place(*compared)),
            [stated[item.name].effect for item in compared],
            allowed,
        )
        of = "to show this comparison at 5 %, if the truth were the published numbers"
    effect = published.mean.effect if published and published.mean else None
    return decided(
        ContrastVerdict(
            contrast=contrast,
            pairs=tuple(effects),
            by_dataset=tuple(by_dataset),
            mean=mean,
            expected=expected,
            allowed=allowed,
            seeds=seeds,
            power=chance,
            power_of=of,
            paper_effect=effect,
            constant=constant,
        ),
        run=run,
        published=published,
        notes=notes,
    )
