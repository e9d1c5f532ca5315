"""A plan without data, weights and torch, from counts of tokens that ship with the kit.

The counts (`counts.json`, made by `python -m tools.counts`) hold numbers of rows and tokens, and no
text. Nothing is known of the store without the data, so that everything counts as to do.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.models.spec import ModelSpec
from repro.plan.cost import Cost, Row
from repro.plan.pace import SAMPLES, training_seconds
from repro.plan.placement import Choice
from repro.profiles import Profile
from repro.spec.cells import BASE, Cell, Variant
from repro.spec.protocol import Protocol
from repro.spec.study import Study
from repro.spec.tasks import Kind

EPOCHS = 2
"""Of every fine-tune (paper, section 4.1); that of a full plan is tested to be the same."""


@cache
def counts() -> dict[str, Any]:
    """The shipped counts by source."""
    found: dict[str, Any] = json.loads(
        files("repro.plan").joinpath("counts.json").read_text(encoding="utf-8")
    )
    return found


@dataclass(frozen=True)
class Outline:
    """What a selection would cost.

    Attributes:
        rows: one a model.
        counted: how tokens were counted, in words.
    """

    rows: tuple[Row, ...]
    counted: str


def outline(
    cells: Sequence[Cell],
    *,
    study: Study,
    profile: Profile,
    protocol: Protocol,
    seeds: Sequence[int],
    test_limit: int | None,
    given: Mapping[tuple[Variant, int], Any],
    choice: Choice | None = None,
) -> Outline:
    """The outline of a selection, row counts and settings as in a full plan.

    Args:
        test_limit: rows of a test set to score, at most; None for the protocol's number.
        given: fine-tunes that are there already.
        choice: where the memory of fine-tunes will lie; None for one device that holds everything.
    """
    if study.table is not None:
        raise ReproError(
            f"nothing is counted for the study {study.name} without its data and torch",
            hint="pip install -e '.[run]'",
            exit_code=EXIT_MISSING,
        )
    known = counts()[profile.data]
    sizes = ModelSpec.from_table(profile.model, profile.origin).architecture
    cap = protocol.rows if test_limit is None else min(protocol.rows, test_limit)

    def evaluating(own: Sequence[Cell]) -> tuple[int, int]:
        prompt = new = 0
        for cell in own:
            test = known["test"][cell.dataset]
            scored = min(cap, test["rows"])
            prompt += round(scored * test["tokens"][cell.prompt])
            prompt += known["shown"][cell.dataset][cell.prompt][cell.shots]
            if study.task_of(cell).kind is Kind.GENERATION:
                new += scored * profile.new_tokens(protocol)
        return prompt, new

    def training(variant: Variant) -> tuple[int, float]:
        train = known["train"][variant.train][str(variant.size)]
        used = min(train["rows"], profile.train_limit(variant.size) or train["rows"])
        prompt = study.training_prompt(variant).name
        shared = known["shown"][study.shown_to(variant)][prompt][variant.train_shots]
        longest = profile.longest(protocol) or max(train["lengths"]) + shared
        kept = [min(shared + length, longest) for length in train["lengths"]]
        tokens = round(EPOCHS * used * sum(kept) / len(kept))
        steps = EPOCHS * used / (SAMPLES * protocol.replicas)
        seconds = training_seconds(profile.compute, sizes, choice, tokens=tokens, steps=steps)
        return tokens, seconds

    def jobs() -> Iterator[Row]:
        variants = dict.fromkeys(cell.variant for cell in cells)
        for variant in sorted(variants, key=lambda v: v != BASE):
            own = [cell for cell in cells if cell.variant == variant]
            prompt, new = evaluating(own)
            for seed in [None] if variant == BASE else seeds:
                is_given = seed is not None and (variant, seed) in given
                train, seconds = (0, 0.0) if variant == BASE or is_given else training(variant)
                name = variant.name if seed is None else f"{variant.name} seed {seed}"
                cost = Cost.at(
                    profile.compute, train=train, prompt=prompt, new=new, train_seconds=seconds
                )
                yield Row(f"{name}, given" if is_given else name, len(own), len(own), cost)

    return Outline(tuple(jobs()), f"by the kit's counts with {known['vocabulary']}")
