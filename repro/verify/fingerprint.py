"""Facts that give a run away before any score is looked at: what was trained on what, and how.

A fact is *exact* (rows, their order, tokens, recipe, base weights, switches: equal or not),
*rounded* (loss and gradient norm of the first step with the same seed: nothing but the rounding of
one forward and backward pass lies between two machines), or *missing*, which is no pass.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from repro.results.outcomes import Outcomes
from repro.results.runs import Key, Run, Tuned, named
from repro.results.schema import FINETUNES, RUN
from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.verify.margins import Margins, margins_of
from repro.verify.verdicts import Verdict

_SEEDLESS = (
    "rows_sha256", "demonstrations_sha256", "dropped", "demonstrations", "samples", "steps",
    "input_tokens", "label_tokens", "cut_targets", "dead_samples", "unused_samples",
)  # fmt: skip
"""Exact facts that are the same for every seed."""
_ORDER = "order_sha256"
_SEEDED = (_ORDER, "dead_micro_batches")
"""Exact facts that depend on the seed."""
_FIRST = {"losses": "loss of the first step", "gradient_norms": "gradient norm of the first step"}

WRONG = 50
"""Texts below the full score that two models must have in common, over all of their cells."""
FEW = 5
"""Rows below which equal logits may be a coincidence of rounding."""

_Place = tuple[str, str, Demonstrations]
_Model = tuple[Variant, int | None]


@dataclass(frozen=True, kw_only=True)
class FactCheck:
    """A fact of the run beside the stored one.

    Attributes:
        subject: the fine-tune with its seed, or "the run".
        fact: its name in the results folder.
        verdict: REPRODUCED (equal, or within the margin of rounding), NOT REPRODUCED, or NOT RUN
            where the run does not tell it.
        ours, theirs: the two values, shortened.
    """

    subject: str = ""
    fact: str
    verdict: Verdict
    ours: str = ""
    theirs: str = ""
    reason: str = ""


def check_facts(run: Run, reference: Run) -> tuple[FactCheck, ...]:
    """All facts of a run that a reference knows; the fine-tunes are those that have cells."""
    limits = margins_of(reference)
    found = [replace(check, subject="the run") for check in _of_run(run, reference)]
    wanted = sorted(
        {(c.variant, s) for c, s in run.cells if c.variant != BASE and s is not None},
        key=lambda place: (run.study.rank(place[0]), *place),
    )
    for variant, seed in wanted:
        stored = [t for (v, _), t in reference.tuned.items() if v == variant]
        if not stored:
            continue
        ours, same = run.tuned.get((variant, seed)), reference.tuned.get((variant, seed))
        if ours is None or ours.raw.get("given"):
            what = "is not told" if ours is None else "was given as a checkpoint, not trained here"
            checks = [_missing("all", f"how it was fine-tuned {what}: {FINETUNES}")]
        else:
            checks = [*_of_finetune(ours, stored[0])]
            checks += _of_same_seed(ours, same, limits) if same else _of_new_seed(ours, stored[0])
        subject = named(variant.name, seed)
        found += [replace(check, subject=subject) for check in checks]
    return tuple(found)


def _missing(fact: str, reason: str = "not told") -> FactCheck:
    return FactCheck(fact=fact, verdict=Verdict.NOT_RUN, reason=reason)


def _exact(fact: str, ours: object, theirs: object) -> FactCheck:
    check = _missing(fact)
    if ours is not None or theirs is None:
        equal = ours == theirs
        verdict = Verdict.REPRODUCED if equal else Verdict.NOT_REPRODUCED
        check = replace(check, verdict=verdict, reason="" if equal else "differs")
    return replace(check, ours=_shown(ours), theirs=_shown(theirs))


def _all_exact(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    names: Iterable[str],
    prefix: str = "",
) -> Iterator[FactCheck]:
    for name in names:
        yield _exact(prefix + name, ours.get(name), theirs.get(name))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12]


def _of_run(run: Run, reference: Run) -> Iterator[FactCheck]:
    if not run.record:
        yield _missing(RUN, f"{RUN} is missing")
        return
    if (model := reference.identity.get("model")) is not None:
        yield _exact("base weights", run.identity.get("model"), model)
    if "switches" in reference.record:
        ours, theirs = run.switches, reference.switches
        yield from _all_exact(ours, theirs, sorted({*theirs, *ours}), "switch ")


def _of_finetune(ours: Tuned, stored: Tuned) -> Iterator[FactCheck]:
    """Facts that no seed changes."""
    told = [name for name in _SEEDLESS if name in stored.raw]
    yield from _all_exact(ours.raw, stored.raw, told)
    if recipe := _recipe(stored):
        own = _recipe(ours)
        names = sorted({*recipe, *own} - {"seed"})
        yield from _all_exact(own, recipe, names, "recipe: ")
        yield _exact("recipe: seed", own.get("seed"), ours.seed)
    for name, wanted, there in (
        ("training loss at the end", stored.final_loss, ours.final_loss),
        ("weight change", stored.weight_change, ours.weight_change),
    ):
        if wanted and not there:
            yield replace(_missing(name, "not told, or 0"), theirs=f"{wanted:.8g}")


def _recipe(tuned: Tuned) -> Mapping[str, Any]:
    found = tuned.raw.get("recipe")
    return found if isinstance(found, dict) else {}


def _of_same_seed(ours: Tuned, same: Tuned, limits: Margins) -> Iterator[FactCheck]:
    """Facts that depend on the seed, which is stored."""
    told = [name for name in _SEEDED if name in same.raw]
    yield from _all_exact(ours.raw, same.raw, told)
    for name, shown in _FIRST.items():
        mine, theirs = _first(ours.raw, name), _first(same.raw, name)
        if theirs is None or mine is None:
            if theirs is not None:
                yield _exact(shown, mine, theirs)
            continue
        apart = abs(mine - theirs) / max(abs(theirs), 1e-12)
        yield FactCheck(
            fact=shown,
            verdict=Verdict.REPRODUCED if apart <= limits.first_step else Verdict.NOT_REPRODUCED,
            ours=f"{mine:.8g}",
            theirs=f"{theirs:.8g}",
            reason=f"{apart:.2g} apart, at most {limits.first_step:g} by rounding",
        )


def _of_new_seed(ours: Tuned, stored: Tuned) -> Iterator[FactCheck]:
    """The order of a seed that is not stored follows from it; the rest must at least be told."""
    told, wanted = ours.raw.get(_ORDER), _drawn(stored, ours.seed)
    if told is not None and wanted is not None:
        reason = "" if told == wanted else f"seed {ours.seed} gives {_shown(wanted)}"
        yield replace(_exact(_ORDER, told, wanted), theirs="", reason=reason)
    for name in _SEEDED:
        if name in stored.raw and ours.raw.get(name) is None:
            yield _missing(name)
    for name, shown in _FIRST.items():
        if _first(stored.raw, name) is not None and _first(ours.raw, name) is None:
            yield _missing(shown)


def _drawn(stored: Tuned, seed: int) -> str | None:
    """The order that a seed gives to as many rows and epochs as were stored.

    None where the stored one does not follow from its own seed either.
    """
    samples, epochs = stored.raw.get("samples"), _recipe(stored).get("epochs")
    if not isinstance(samples, int) or not isinstance(epochs, int):
        return None
    known = order_digest(samples, epochs, stored.seed) == stored.raw.get(_ORDER)
    return order_digest(samples, epochs, seed) if known else None


@lru_cache(maxsize=256)  # fine-tunes of one size have one order in common
def order_digest(samples: int, epochs: int, seed: int) -> str:
    """The `order_sha256` of finetunes.jsonl that a seed gives, worked out without torch.

    The same shuffle as `torch.randperm` on a CPU: Fisher and Yates, by the words of a Mersenne
    twister that is seeded once for all epochs.
    """
    words = np.random.RandomState(seed % 2**32)
    order = []
    for _ in range(epochs):
        places = list(range(samples))
        drawn = words.randint(0, 2**32, size=max(0, samples - 1), dtype=np.uint32)
        for i, word in enumerate(drawn.tolist()):
            j = i + word % (samples - i)
            places[i], places[j] = places[j], places[i]
        order.append(places)
    text = json.dumps(order, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _first(raw: Mapping[str, Any], name: str) -> float | None:
    values = raw.get(name)
    first = values[0] if isinstance(values, list) and values else None
    return float(first) if isinstance(first, int | float) and math.isfinite(first) else None


def equal_training(ours: Tuned, theirs: Tuned) -> bool:
    """Every loss and the weight change are known and equal, to the last bit."""
    return (
        bool(ours.losses)
        and ours.losses == theirs.losses
        and ours.weight_change == theirs.weight_change
    )


def same_training(ours: Tuned | None, theirs: Tuned | None, limits: Margins) -> str:
    """How alike two trainings with the same seed were, step by step.

    Returns:
        "bits": every loss and the weight change are equal; "rounding": every loss is within the
        registered margin of rounding; "other"; or "unknown" where losses are not told.
    """
    if ours is None or theirs is None or not ours.losses or not theirs.losses:
        return "unknown"
    if equal_training(ours, theirs):
        return "bits"
    if ours.losses == theirs.losses or len(ours.losses) != len(theirs.losses):
        return "other"
    if not (ours.weight_change and theirs.weight_change):
        return "other"
    pairs = [*zip(ours.losses, theirs.losses, strict=True)]
    pairs.append((ours.weight_change, theirs.weight_change))
    near = all(
        (a is None) == (b is None)
        and (a is None or b is None or abs(a - b) <= limits.same_training * abs(b))
        for a, b in pairs
    )
    return "rounding" if near else "other"


def subjects(checks: tuple[FactCheck, ...], verdict: Verdict) -> tuple[str, ...]:
    """Whose facts have this verdict."""
    return tuple(dict.fromkeys(check.subject for check in checks if check.verdict is verdict))


def copies(run: Run) -> Mapping[Key, str]:
    """Cells whose outputs are those of another model on the same prompts, with its name.

    No two trainings give equal logits on all rows of a cell. Texts may be equal where models are
    right, or wrong in the one usual way, hence only two models that give equal texts in all of the
    cells that they share, WRONG of them below the full score, are taken for one.
    """
    models: dict[_Model, dict[_Place, Outcomes]] = {}
    for (cell, seed), result in run.cells.items():
        # Labels of unknown logits may well be equal.
        rows = result.outcomes
        if rows and (result.metric != "accuracy" or rows.gaps is not None):
            place = (cell.dataset, cell.prompt, cell.demonstrations)
            models.setdefault((cell.variant, seed), {})[place] = rows
    found: dict[Key, str] = {}
    for (one, ours), (other, theirs) in combinations(models.items(), 2):
        for place in _equal(ours, theirs):
            for own, twin in ((one, other), (other, one)):
                found.setdefault((Cell(own[0], *place), own[1]), named(twin[0].name, twin[1]))
    return found


def _equal(ours: Mapping[_Place, Outcomes], theirs: Mapping[_Place, Outcomes]) -> Iterator[_Place]:
    texts: list[_Place] = []
    differing, wrong = False, 0
    for place in ours.keys() & theirs.keys():
        a, b = ours[place], theirs[place]
        if a.gaps is not None and b.gaps is not None:
            if len(a.rows) >= FEW and a.gaps.tobytes() == b.gaps.tobytes():
                yield place
        elif a.outputs == b.outputs:
            texts.append(place)
            wrong += int((a.scores < 1).sum())
        else:
            differing = True
    if not differing and wrong >= WRONG:
        yield from texts
