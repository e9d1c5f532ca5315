"""A contrast of a claim on measured values: comparisons, effects, tests, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from repro.printable import counted
from repro.spec.cells import Variant
from repro.spec.claims import FACTS, Contrast
from repro.spec.study import Study
from repro.verify.claimverdicts import ContrastVerdict, Effect
from repro.verify.comparisons import comparisons
from repro.verify.effects import (
    Compared,
    Region,
    claim_margin,
    effect_of,
    mean_of,
    region,
    with_tests,
)
from repro.verify.measured import Source
from repro.verify.quantifiers import allowed_wrong, decided, power_to_show
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import pooled, satterthwaite

Facts = Mapping[Variant, Mapping[int | None, float]]
"""A fact of fine-tunes by variant and seed; seed None for the paper's."""
PUBLISHED = ("weight change",)
"""Kinds of facts that the paper states."""


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

    def source(self, contrast: Contrast) -> Source | None:
        """What a contrast compares, unless it is facts of fine-tunes."""
        return self.labels if contrast.kind == "labels" else self.scores


def judge(
    contrast: Contrast,
    evidence: Evidence,
    *,
    every_shot: bool = False,
    published: ContrastVerdict | None = None,
    power: bool = True,
) -> ContrastVerdict:
    """A contrast on measured values, before the correction for many contrasts.

    Args:
        every_shot: bars are the best over all shot counts.
        published: the contrast on the published numbers, for ratio, power, and for telling what
            is otherwise here only.
        power: work it out.
    """
    if contrast.kind in FACTS:
        return _judge_facts(contrast, evidence, published)
    source = evidence.source(contrast)
    found = comparisons(contrast, evidence.study, source, every_shot=every_shot)
    verdict = ContrastVerdict(contrast=contrast, expected=found.expected)
    if found.lacking:
        unpublished = evidence.published and source is None
        return replace(verdict, unpublished=unpublished, reason=found.lacking)
    constant = dict.fromkeys(m.constant for m in found.points.values() if m.constant)
    verdict = replace(
        verdict,
        seeds=found.seeds,
        constant=tuple(constant),
        paper_effect=published.mean.effect if published and published.mean else None,
    )
    return _judged(
        evidence.study,
        verdict,
        found.judged,
        run=len(found.own) + len(found.others),
        published=published,
        power=power,
        optimistic=any(len(p.cells) > 1 and m.optimism > 0 for p, m in found.points.items()),
    )


def _judged(
    study: Study,
    verdict: ContrastVerdict,
    compared: Sequence[Compared],
    *,
    run: int,
    published: ContrastVerdict | None,
    power: bool,
    optimistic: bool,
) -> ContrastVerdict:
    """Effects of all comparisons, of the test sets and of all together, and what they show."""
    contrast = verdict.contrast

    def placed(item: Compared, *parts: Compared) -> tuple[Compared, Region]:
        margin = claim_margin(study.metric(part.dataset) for part in parts or (item,))
        return item, region(contrast.direction, margin)

    pairs = [placed(item) for item in compared]
    effects = [effect_of(*pair) for pair in pairs]
    sets, by_dataset = [], {}
    # A summary of a whole group is of no one test set.
    named = () if contrast.than else (item.dataset for item in compared)
    for dataset in dict.fromkeys(named):
        own = [i for i, item in enumerate(compared) if item.dataset == dataset]
        of_set = mean_of(study.datasets[dataset].printed, [compared[i] for i in own])
        sets.append(placed(of_set))
        by_dataset[dataset] = effect_of(*sets[-1], [effects[i].holds for i in own])
    mean = placed(mean_of("all", compared), *compared)
    stated = {effect.name: effect for effect in published.pairs} if published else {}
    centres = [
        by_dataset[item.dataset].effect if by_dataset else effect.effect
        for item, effect in zip(compared, effects, strict=True)
    ]
    allowed = allowed_wrong(pairs, centres, stated)
    notes = []
    if optimistic:
        largest = max((effect.optimism for effect in effects), key=abs)
        notes.append(
            "bars are the best of several cells: a difference may read up to "
            f"{abs(largest):.3f} too {'high' if largest > 0 else 'low'}"
        )
    if contrast.note:
        notes.append(contrast.note)
    chance, of = None, ""
    if power and stated and all(item.name in stated for item in compared):
        truth = [stated[item.name].effect for item in compared]
        chance = power_to_show(
            contrast.quantifier == "all", pairs, sets or pairs, mean, truth, allowed
        )
        of = "to show this comparison at 5 %, if the truth were the published numbers"
    judged = replace(
        verdict,
        pairs=tuple(effects),
        by_dataset=tuple(by_dataset.values()),
        mean=effect_of(*mean, [effect.holds for effect in effects]),
        allowed=allowed,
        power=chance,
        power_of=of,
    )
    return decided(judged, run=run, published=published, notes=notes)


def _judge_facts(
    contrast: Contrast, evidence: Evidence, published: ContrastVerdict | None
) -> ContrastVerdict:
    """Relative differences of two fine-tunes' facts, over seeds.

    One seed takes its spread from the evidence; several are pooled with it. The paper states one
    number per training set, which is counted once.
    """
    prior = evidence.spread or registered_spread(evidence.study)
    facts = evidence.facts.get(contrast.kind, {})
    wanted = evidence.study.fact_pairs(contrast)
    where = region(contrast.direction, 0.0)
    effects: list[Effect] = []
    used: set[int] = set()
    stated: set[str] = set()
    expected = len(wanted)
    for left, right in wanted:
        seeds = sorted(
            set(facts.get(left, {})) & set(facts.get(right, {})), key=lambda seed: seed or 0
        )
        if not seeds:
            continue
        if seeds == [None]:
            if left.train in stated:
                expected -= 1
                continue
            stated.add(left.train)
        used |= {seed for seed in seeds if seed is not None}
        a, b = (np.array([facts[variant][seed] for seed in seeds]) for variant in (left, right))
        relative = a / b - 1
        effect = float(relative.mean())
        known = prior.facts[contrast.kind] ** 2 * (1 + effect) ** 2
        variance, df = pooled(known, prior.df, relative)
        spread = satterthwaite([(variance / len(seeds), df)])
        name = f"{left.name} / {right.name} - 1"
        effects.append(with_tests(name, float(a.mean()), float(b.mean()), effect, spread, where))
    if not effects:
        return ContrastVerdict(
            contrast=contrast,
            expected=len(wanted),
            unpublished=evidence.published and contrast.kind not in PUBLISHED,
            reason=f"no {contrast.kind} of these fine-tunes is known",
        )
    holding = [one.holds for one in effects]
    left_mean, right_mean, mean = (
        float(np.mean([getattr(one, name) for one in effects]))
        for name in ("left", "right", "effect")
    )
    p_shown = max(one.p_shown for one in effects)
    counts = sum(holding), len(effects)
    whole = Effect("all", left_mean, right_mean, mean, None, all(holding), p_shown, 1.0, *counts)
    judged = ContrastVerdict(
        contrast=contrast,
        pairs=tuple(effects),
        mean=whole,
        expected=expected,
        seeds=tuple(sorted(used)),
        paper_effect=published.mean.effect if published and published.mean else None,
    )
    note = f"{counted(max(1, len(used)), 'seed')}; spread over seeds: {prior.source}"
    return decided(judged, run=len(effects), published=published, notes=[note])
