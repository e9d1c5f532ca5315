"""Do demonstrations leave room for what is learnt? Asked before anything is computed."""

from repro.errors import ReproError
from repro.plan.estimate import Count, by_characters, counter
from repro.plan.plan import Plan, PlannedModel
from repro.plan.store import Store
from repro.spec.prompts import context, fill

_GUESSED = 0.75
"""Of a number of tokens that is guessed from characters, what is there at the least."""


def require_room(plan: Plan, store: Store) -> None:
    """Start no fine-tune whose demonstrations leave no target, see `repro.finetune.encode`.

    Raises:
        ReproError: says how many would fit (2).
    """
    count, _ = counter(plan, store)
    for variant in dict.fromkeys(model.variant for model in plan.models):
        model = next(model for model in plan.models if model.variant == variant)
        if variant.train_shots and model.to_tune(store.has):
            _require(model, count)


def _require(model: PlannedModel, count: Count) -> None:
    assert model.recipe is not None
    assert model.template is not None
    assert model.rows is not None
    assert model.demonstrations is not None
    limit, shots = model.recipe.max_length, model.variant.train_shots
    if not limit:
        return
    task, text = model.template.task, model.template.text
    rows = model.rows.to_list()
    before = model.contexts or [context(task, text, model.demonstrations.to_list())] * len(rows)
    # Cut from the right, a run learns as long as one row has a target left; where the row itself is
    # shortened, what cannot be must fit in every row.
    if model.recipe.truncation_side == "right":
        own = [fill(task, text, row) for row in rows]
        pick = min
    else:
        bare = dict.fromkeys(task.fields, "")
        own = [fill(task, text, {**row, **bare}) + row["output"] for row in rows]
        pick = max
    at = pick(range(len(rows)), key=lambda i: len(before[i]) + len(own[i]))
    shown, rest = count([before[at], own[at]])
    if count is by_characters:
        shown, rest = round(shown * _GUESSED), round(rest * _GUESSED)
    if shown + rest < limit:
        return
    fit = max(0, (limit - rest) * shots // shown)
    raise ReproError(
        f"{model.variant.name}: {shots} demonstrations take {shown} tokens and the rest of a "
        f"sample {rest}, and samples are cut at {limit}, so that no target is left to be learnt",
        hint=f"about {fit} fit; or cut nothing: repro run --set max_length=0",
    )
