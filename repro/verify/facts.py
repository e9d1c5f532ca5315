"""Contrasts of facts of fine-tunes, such as the weight change: rows play no part."""

from collections.abc import Mapping

import numpy as np

from repro.printable import counted
from repro.spec.cells import Variant
from repro.spec.claims import Contrast
from repro.spec.study import Study
from repro.verify.claimverdicts import ContrastVerdict, Effect
from repro.verify.effects import Region, region, with_tests
from repro.verify.quantifiers import decided
from repro.verify.seedspread import SeedSpread, registered_spread
from repro.verify.statistics import Floats, pooled, satterthwaite

Facts = Mapping[Variant, Mapping[int | None, float]]
"""A fact of fine-tunes by variant and seed; seed None for the paper's."""


def judge_facts(
    study: Study,
    contrast: Contrast,
    facts: Facts,
    *,
    published: ContrastVerdict | None = None,
    spread: SeedSpread | None = None,
) -> ContrastVerdict:
    """Relative differences of two fine-tunes' facts, over seeds.

    One seed takes its spread from `spread`; several are pooled with it. The paper states one
    number per training set, which is counted once.
    """
    prior = spread or registered_spread(study)
    wanted = study.fact_pairs(contrast)
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
        a = np.array([facts[left][seed] for seed in seeds])
        b = np.array([facts[right][seed] for seed in seeds])
        name = f"{left.name} / {right.name} - 1"
        effects.append(_fact_effect(name, a, b, where, prior, contrast.kind))
    if not effects:
        return ContrastVerdict(
            contrast=contrast,
            expected=len(wanted),
            unpublished=contrast.kind not in PUBLISHED,
            reason=f"no {contrast.kind} of these fine-tunes is known",
        )
    holding = [effect.holds for effect in effects]
    means = (
        float(np.mean([getattr(effect, name) for effect in effects]))
        for name in ("left", "right", "effect")
    )
    p_shown = max(effect.p_shown for effect in effects)
    counts = sum(holding), len(effects)
    judged = ContrastVerdict(
        contrast=contrast,
        pairs=tuple(effects),
        mean=Effect("all", *means, None, all(holding), p_shown, 1.0, *counts),
        expected=expected,
        seeds=tuple(sorted(used)),
        paper_effect=published.mean.effect if published and published.mean else None,
    )
    note = f"{counted(max(1, len(used)), 'seed')}; spread over seeds: {prior.source}"
    return decided(judged, run=len(effects), published=published, notes=[note])


PUBLISHED = ("weight change",)
"""Kinds of facts that the paper states."""


def _fact_effect(
    name: str, left: Floats, right: Floats, where: Region, prior: SeedSpread, kind: str
) -> Effect:
    relative = left / right - 1
    effect = float(relative.mean())
    known, df = pooled(prior.facts[kind] ** 2 * (1 + effect) ** 2, prior.df, relative)
    spread = satterthwaite([(known / len(relative), df)])
    return with_tests(name, float(left.mean()), float(right.mean()), effect, spread, where)
