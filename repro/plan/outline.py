"""A plan without data, weights and torch, from counts of tokens that ship with the kit.

The counts (`counts.json`, made by `python -m tools.counts`) hold numbers of rows and tokens, and no
text. Nothing is known of the store without the data, so that everything counts as to do.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.finetune.recipe import EPOCHS
from repro.plan.cost import Cost, Row
from repro.plan.placement import SAMPLES, Choice
from repro.plan.select import Request
from repro.spec.cells import BASE, Cell, Variant
from repro.spec.tasks import Kind


@cache
def counts() -> dict[str, Any]:
    """The shipped counts by source."""
    text = files("repro.plan").joinpath("counts.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _uncounted(what: str) -> ReproError:
    return ReproError(
        f"nothing is counted for {what} without its data and torch",
        hint="pip install -e '.[run]', and repro plan without --gpus",
        exit_code=EXIT_MISSING,
    )


def outline(request: Request, choice: Choice | None = None) -> tuple[list[Row], str]:
    """The costs of a request's models, as in a full plan, and how tokens were counted, in words.

    Args:
        choice: where the memory of fine-tunes will lie; None for one device that holds everything.
    """
    study, profile, protocol = request.study, request.profile, request.protocol
    if study.table is not None:
        raise _uncounted(f"the study {study.name}")
    known = counts()[profile.data]
    cap = min(protocol.rows, request.test_limit or protocol.rows)

    for variant in dict.fromkeys(cell.variant for cell in request.cells):
        if variant.rows or variant.checkpoint:
            raise _uncounted(variant.name)

    def evaluating(own: Sequence[Cell]) -> tuple[int, int]:
        prompt = new = 0
        for cell in own:
            test = known["test"][cell.dataset]
            scored, shown = min(cap, test["rows"]), known["shown"][cell.dataset]
            if cell.demonstrations.source or cell.shots >= len(shown.get(cell.prompt, ())):
                raise _uncounted(cell.name)
            prompt += round(scored * test["tokens"][cell.prompt]) + shown[cell.prompt][cell.shots]
            if study.task_of(cell).kind is Kind.GENERATION:
                new += scored * profile.new_tokens(protocol)
        return prompt, new

    def training(variant: Variant) -> tuple[int, float]:
        train = known["train"][variant.train].get(str(variant.size))
        if train is None:
            raise _uncounted(variant.name)
        used = min(train["rows"], profile.train_limit(variant.size) or train["rows"])
        prompt = study.training_prompt(variant).name
        shared = known["shown"][study.shown_to(variant)][prompt][variant.train_shots]
        longest = profile.longest(protocol) or max(train["lengths"]) + shared
        kept = [min(shared + length, longest) for length in train["lengths"]]
        # Demonstrations that all samples begin with are computed once a step.
        once = 0 if variant.demonstrations.for_each else min(shared, longest)
        epochs = variant.epochs or EPOCHS
        steps = epochs * max(1, used // (SAMPLES * protocol.replicas))
        tokens = epochs * used * (sum(kept) / len(kept) - once) + steps * once
        return round(tokens), float(steps)

    found = []
    variants = dict.fromkeys(cell.variant for cell in request.cells)
    for variant in sorted(variants, key=lambda v: v != BASE):
        own = [cell for cell in request.cells if cell.variant == variant]
        prompt, new = evaluating(own)
        for seed in [None] if variant == BASE else request.seeds:
            given = seed is not None and (variant, seed) in request.given
            train, steps = (0, 0.0) if seed is None or given else training(variant)
            name = variant.name if seed is None else f"{variant.name} seed {seed}"
            cost = Cost.of(request, choice, train=train, steps=steps, prompt=prompt, new=new)
            found.append(Row(f"{name}, given" if given else name, len(own), len(own), cost))
    return found, f"by the kit's counts with {known['vocabulary']}"
