"""Damage to a run, in memory: what `repro verify` should notice."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from repro.results.outcomes import Outcomes
from repro.results.runs import CellResult, Key, Run, Tuned
from repro.spec.cells import BASE, Demonstrations, Variant
from repro.studies.paper.figures import cells as figure_cells
from repro.studies.paper.study import study
from repro.studies.paper.tasks import TRAIN_SETS, fticl_shots

Random = np.random.Generator
Inject = Callable[[Run, Random], Run | None]
"""Gives back the damaged run, or None where this run cannot be damaged so."""


def _with(run: Run, cells: Mapping[Key, CellResult]) -> Run:
    return replace(run, cells={**run.cells, **cells})


def _changed(result: CellResult, outcomes: Outcomes, tag: str) -> CellResult:
    """A result with other outcomes and, as it would be, with other hashes."""
    value = float(outcomes.scores.mean())
    return replace(
        result,
        outcomes=outcomes,
        value=value,
        n=len(outcomes.rows),
        samples_sha256=f"{tag} {result.samples_sha256}",
        key=f"{tag} {result.key}",
    )


def _tuned_cells(run: Run, metric: str | None = None) -> list[Key]:
    return [
        key
        for key, result in run.cells.items()
        if key[0].variant != BASE and metric in (None, result.metric)
    ]


def _pick(items: list[Key], rng: Random) -> Key:
    return items[int(rng.integers(len(items)))]


def lower(result: CellResult, by: float, rng: Random) -> CellResult | None:
    """Rows drawn at random lose what they score, until the mean has fallen by this much."""
    found = result.outcomes
    assert found is not None
    scores, outputs = found.scores.copy(), list(found.outputs)
    labels = study().task_of(result.cell).labels
    if scores.mean() < by:
        return None
    left = by * len(scores)
    for row in rng.permutation(np.flatnonzero(scores)):
        if left <= 1e-9:
            break
        loss = min(float(scores[row]), left)
        scores[row] -= loss
        left -= loss
        if labels:
            others = [label for label in labels if label != outputs[row]]
            outputs[row] = others[int(rng.integers(len(others)))]
        else:
            outputs[row] = "damaged"
    return _changed(result, replace(found, scores=scores, outputs=tuple(outputs)), "lower")


def one_cell(metric: str, by: float) -> Inject:
    """One fine-tuned cell, drawn at random among those that can fall so far."""

    def inject(run: Run, rng: Random) -> Run | None:
        keys = [key for key in _tuned_cells(run, metric) if run.cells[key].value >= by]
        key = _pick(keys, rng)
        damaged = lower(run.cells[key], by, rng)
        return _with(run, {key: damaged}) if damaged else None

    return inject


def to_zero(count: int) -> Inject:
    """Fine-tuned accuracies set to nothing."""

    def inject(run: Run, rng: Random) -> Run | None:
        keys = [k for k in _tuned_cells(run, "accuracy") if run.cells[k].value > 0.3]
        chosen = [keys[int(i)] for i in rng.choice(len(keys), count, replace=False)]
        found = {key: lower(run.cells[key], run.cells[key].value, rng) for key in chosen}
        return _with(run, {key: item for key, item in found.items() if item})

    return inject


def many_cells(metric: str, by: float, figure: str | None) -> Inject:
    """All fine-tuned cells of a metric, of one figure or of all."""

    def inject(run: Run, rng: Random) -> Run | None:
        wanted = set(figure_cells((figure,))) if figure else None
        keys = [k for k in _tuned_cells(run, metric) if wanted is None or k[0] in wanted]
        found = {key: lower(run.cells[key], by, rng) for key in keys}
        kept = {key: item for key, item in found.items() if item}
        return _with(run, kept) if kept else None

    return inject


def swapped(run: Run, rng: Random) -> Run:
    """Two fine-tuned cells exchanged."""
    return _swap(run, rng, alike=False)


def swapped_models(run: Run, rng: Random) -> Run:
    """The same cell of two fine-tunes exchanged, unless they score the same rows alike."""
    return _swap(run, rng, alike=True)


def _swap(run: Run, rng: Random, *, alike: bool) -> Run:
    while True:
        a, b = _pick(_tuned_cells(run), rng), _pick(_tuned_cells(run), rng)
        one, other = run.cells[a], run.cells[b]
        places = [(key[0].dataset, key[0].prompt, key[0].shots) for key in (a, b)]
        if a == b or one.metric != other.metric or (alike and places[0] != places[1]):
            continue
        assert one.outcomes is not None
        assert other.outcomes is not None
        if one.outcomes.outputs != other.outcomes.outputs:
            break
    return _with(
        run,
        {a: _changed(one, other.outcomes, "swap"), b: _changed(other, one.outcomes, "swap")},
    )


def shuffled_labels(run: Run, rng: Random) -> Run:
    """The predictions of a cell given to other rows; one that predicts nothing else is left out."""
    while True:
        key = _pick(_tuned_cells(run, "accuracy"), rng)
        found = run.cells[key].outcomes
        assert found is not None
        labels = study().task_of(key[0]).labels
        if len(set(found.outputs)) > 1:
            break
    golds = [
        output if score else [x for x in labels if x != output][int(rng.integers(len(labels) - 1))]
        for output, score in zip(found.outputs, found.scores, strict=True)
    ]
    outputs = [found.outputs[i] for i in rng.permutation(len(golds))]
    scores = np.array([float(a == b) for a, b in zip(outputs, golds, strict=True)])
    changed = replace(found, outputs=tuple(outputs), scores=scores)
    return _with(run, {key: _changed(run.cells[key], changed, "shuffled")})


def _related(variant: Variant, how: str) -> Variant | None:
    if how == "base":
        return BASE
    if how == "size":
        sizes = {2000: 4000, 4000: 6000, 6000: 4000}
        return None if variant.train_shots else replace(variant, size=sizes[variant.size])
    if not variant.train_shots:
        return None
    one, two = fticl_shots(TRAIN_SETS[variant.train].task)
    return replace(
        variant, demonstrations=Demonstrations(two if variant.train_shots == one else one)
    )


def replaced(how: str, *, exact: bool) -> Inject:
    """A fine-tune's cells computed by other weights, with its own facts beside them.

    Args:
        how: "base", "size" (another size) or "count" (the other FTICL count).
        exact: whether logits are those of the other model to the last bit.
    """

    def inject(run: Run, rng: Random) -> Run | None:
        variants = [v for v, _ in run.tuned if _related(v, how) is not None]
        variant = variants[int(rng.integers(len(variants)))]
        other = _related(variant, how)
        found: dict[Key, CellResult] = {}
        for key, result in run.cells.items():
            if key[0].variant != variant:
                continue
            assert other is not None
            place = (replace(key[0], variant=other), None if other == BASE else key[1])
            source = run.cells.get(place)
            if source is None or source.outcomes is None:
                continue
            outcomes = source.outcomes
            if outcomes.gaps is not None and not exact:
                outcomes = replace(outcomes, gaps=outcomes.gaps * (1 + 1e-4))
            found[key] = _changed(result, outcomes, "other weights")
        return _with(run, found) if found else None

    return inject


def flipped_base(count: int, tie: float) -> Inject:
    """Rows of a base cell flipped, beyond ties."""

    def inject(run: Run, rng: Random) -> Run | None:
        keys = [
            key
            for key, result in run.cells.items()
            if key[0].variant == BASE
            and result.outcomes is not None
            and result.outcomes.gaps is not None
            and (result.outcomes.gaps >= tie).sum() >= count
        ]
        key = _pick(keys, rng)
        found = run.cells[key].outcomes
        assert found is not None
        assert found.gaps is not None
        scores, outputs = found.scores.copy(), list(found.outputs)
        for row in rng.choice(np.flatnonzero(found.gaps >= tie), count, replace=False):
            others = [label for label in study().task_of(key[0]).labels if label != outputs[row]]
            outputs[row] = others[int(rng.integers(len(others)))]
            scores[row] = 0.0 if scores[row] else 1.0
        changed = replace(found, scores=scores, outputs=tuple(outputs))
        return _with(run, {key: _changed(run.cells[key], changed, "flipped")})

    return inject


def fewer_rows(count: int) -> Inject:
    """Every cell cut to its first rows."""

    def inject(run: Run, rng: Random) -> Run:
        found = {}
        for key, result in run.cells.items():
            assert result.outcomes is not None
            cut = result.outcomes.at(result.outcomes.rows[:count])
            found[key] = _changed(result, cut, "cut")
        return _with(run, found)

    return inject


def other_inputs(rows: int) -> Inject:
    """Other prompts, or other golds, in some rows of one cell."""

    def inject(run: Run, rng: Random) -> Run:
        key = _pick(list(run.cells), rng)
        found = run.cells[key].outcomes
        assert found is not None
        assert found.inputs is not None
        inputs = found.inputs.copy()
        inputs[rng.choice(len(inputs), rows, replace=False)] = b"ffffffff"
        changed = replace(found, inputs=inputs)
        return _with(run, {key: _changed(run.cells[key], changed, "inputs")})

    return inject


def _edit(run: Run, keys: Iterable[tuple[Variant, int]], **facts: object) -> Run:
    tuned = dict(run.tuned)
    for key in keys:
        tuned[key] = _as_tuned(tuned[key], {**tuned[key].raw, **facts})
    return replace(run, tuned=tuned)


def _as_tuned(old: Tuned, raw: Mapping[str, object]) -> Tuned:
    change, losses = raw["weight_change"], raw["losses"]
    assert isinstance(change, dict)
    assert isinstance(losses, list | tuple)
    return replace(old, losses=tuple(losses), weight_change=change["all"], raw=raw)


def _one(run: Run, rng: Random) -> tuple[Variant, int]:
    keys = list(run.tuned)
    return keys[int(rng.integers(len(keys)))]


def other_order(run: Run, rng: Random) -> Run:
    """One fine-tune read its rows in another order, and says so."""
    return _edit(run, [_one(run, rng)], order_sha256="0" * 64)


def other_rows(run: Run, rng: Random) -> Run:
    """One fine-tune was made on other rows, and says so."""
    return _edit(run, [_one(run, rng)], rows_sha256="0" * 64)


def other_size(run: Run, rng: Random) -> Run:
    """A fine-tune that is really the one of another size, with that one's facts."""
    while True:
        key = _one(run, rng)
        other = _related(key[0], "size")
        if other is not None:
            break
    facts = run.tuned[other, key[1]]
    raw = {**facts.raw, "variant": key[0].name, "key": run.tuned[key].key}
    return replace(run, tuned={**run.tuned, key: _as_tuned(run.tuned[key], raw)})


def other_seed(run: Run, rng: Random) -> Run:
    """The whole run under another seed's name, in the recipes too."""
    old, new = run.seeds[0], 9_999

    def label(result: CellResult) -> CellResult:
        return replace(result, seed=None if result.seed is None else new)

    cells = {(c, s and new): label(result) for (c, s), result in run.cells.items()}
    tuned = {
        (v, new): replace(
            t, seed=new, raw={**t.raw, "seed": new, "recipe": {**t.raw["recipe"], "seed": new}}
        )
        for (v, s), t in run.tuned.items()
        if s == old
    }
    return replace(run, cells=cells, tuned=tuned)


def other_base(run: Run, rng: Random) -> Run:
    """Other base weights, and run.json says so."""
    identity = {**run.identity, "model": "0" * 24}
    return replace(run, record={**run.record, "identity": identity})


def other_switch(run: Run, rng: Random) -> Run:
    """A switch of the protocol was another one, and run.json says so."""
    switches = {**run.record["switches"], "max_length": 512}
    return replace(run, record={**run.record, "switches": switches})


def scaled_losses(run: Run, rng: Random) -> Run:
    """Losses three times as large and a weight change of 1, in one fine-tune."""
    key = _one(run, rng)
    losses = [3 * loss if loss else loss for loss in run.tuned[key].losses]
    return _edit(run, [key], losses=losses, weight_change={"all": 1.0})


def _facts_of(tuned: Tuned) -> list[str]:
    """What its training and its name say, that is all but where it was made."""
    own = ("variant", "seed", "key", "task", "machine", "versions")
    return [name for name in tuned.raw if name not in own]


def edited_fact(run: Run, rng: Random) -> Run:
    """One fact of one fine-tune is another, drawn at random."""
    key = _one(run, rng)
    names = _facts_of(run.tuned[key])
    name = names[int(rng.integers(len(names)))]
    old = run.tuned[key].raw[name]
    return _edit(run, [key], **{name: _other(old, rng)})


def _other(value: object, rng: Random) -> object:
    """A value that differs a little from another of its type: one entry of a table or list."""
    if isinstance(value, dict):
        names = list(value) or ["more"]
        name = names[int(rng.integers(len(names)))]
        return {**value, name: _other(value.get(name, 0), rng)}
    if isinstance(value, list):
        return [_other(value[0], rng), *value[1:]]
    if isinstance(value, str):
        return value[::-1] + "0"
    assert isinstance(value, int | float)
    return value + 1


def missing_fact(run: Run, rng: Random) -> Run:
    """One fact of one fine-tune is not told, drawn at random."""
    key = _one(run, rng)
    old = run.tuned[key]
    names = _facts_of(old)
    gone = names[int(rng.integers(len(names)))]
    raw = {name: value for name, value in old.raw.items() if name != gone}
    losses = () if gone == "losses" else old.losses
    change = None if gone == "weight_change" else old.weight_change
    found = replace(old, losses=losses, weight_change=change, raw=raw)
    return replace(run, tuned={**run.tuned, key: found})


def missing_seed(run: Run, rng: Random) -> Run:
    """Another seed was asked for as well, and nothing of it is there."""
    asked = {**run.record["asked"], "seeds": [*run.seeds, 9_999]}
    return replace(run, record={**run.record, "asked": asked})


def no_facts(run: Run, rng: Random) -> Run:
    """No finetunes.jsonl."""
    return replace(run, tuned={})


def without_cells(run: Run, rng: Random) -> Run:
    """One cell is missing."""
    gone = _pick(list(run.cells), rng)
    return replace(run, cells={key: item for key, item in run.cells.items() if key != gone})
