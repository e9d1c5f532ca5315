"""Facts that give a run away before any score is looked at: what was trained on what, and how.

A fact is *exact* (rows, their order, tokens, recipe, base weights, switches: equal or not),
*rounded* (loss and gradient norm of the first step with the same seed: nothing but the rounding of
one forward and backward pass lies between two machines), or *missing*, which is no pass.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from repro.results.runs import Run, Tuned
from repro.results.schema import FINETUNES, RUN
from repro.spec.cells import BASE
from repro.verify.margins import Margins, margins_of
from repro.verify.orders import order_digest
from repro.verify.verdicts import Verdict

_SEEDLESS = (
    "rows_sha256",
    "demonstrations_sha256",
    "dropped",
    "demonstrations",
    "samples",
    "steps",
    "input_tokens",
    "label_tokens",
    "cut_targets",
    "dead_samples",
    "unused_samples",
)
"""Exact facts that are the same for every seed."""
_ORDER = "order_sha256"
_SEEDED = (_ORDER, "dead_micro_batches")
"""Exact facts that depend on the seed."""
_FIRST = {"losses": "loss of the first step", "gradient_norms": "gradient norm of the first step"}


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

    subject: str
    fact: str
    verdict: Verdict
    ours: str = ""
    theirs: str = ""
    reason: str = ""


def check_facts(run: Run, reference: Run, limits: Margins | None = None) -> tuple[FactCheck, ...]:
    """All facts of a run that a reference knows; the fine-tunes are those that have cells."""
    limits = limits or margins_of(reference)
    found = list(_of_run(run, reference))
    wanted = sorted(
        {(c.variant, s) for c, s in run.cells if c.variant != BASE and s is not None},
        key=lambda place: (run.study.rank(place[0]), *place),
    )
    for variant, seed in wanted:
        stored = [t for (v, _), t in reference.tuned.items() if v == variant]
        if not stored:
            continue
        ours = run.tuned.get((variant, seed))
        subject = f"{variant.name} seed {seed}"
        if ours is None or ours.raw.get("given"):
            what = "is not told" if ours is None else "was given as a checkpoint, not trained here"
            found.append(
                FactCheck(
                    subject=subject,
                    fact="all",
                    verdict=Verdict.NOT_RUN,
                    reason=f"how it was fine-tuned {what}: {FINETUNES}",
                )
            )
            continue
        same = reference.tuned.get((variant, seed))
        found += _of_finetune(subject, ours, stored[0], limits)
        found += (
            _of_new_seed(subject, ours, stored[0])
            if same is None
            else _of_same_seed(subject, ours, same, limits)
        )
    return tuple(found)


def _of_run(run: Run, reference: Run) -> Iterator[FactCheck]:
    subject = "the run"
    if not run.record:
        yield FactCheck(
            subject=subject, fact=RUN, verdict=Verdict.NOT_RUN, reason=f"{RUN} is missing"
        )
        return
    model, switches = reference.identity.get("model"), reference.record.get("switches")
    if model is not None:
        yield _exact(subject, "base weights", run.identity.get("model"), model)
    if isinstance(switches, dict):
        own = run.record.get("switches")
        own = own if isinstance(own, dict) else {}
        for name in sorted({*switches, *own}):
            yield _exact(subject, f"switch {name}", own.get(name), switches.get(name))


def _of_finetune(subject: str, ours: Tuned, stored: Tuned, limits: Margins) -> Iterator[FactCheck]:
    """Facts that no seed changes."""
    for name in _SEEDLESS:
        if name in stored.raw:
            yield _exact(subject, name, ours.raw.get(name), stored.raw[name])
    recipe = ours.raw.get("recipe")
    if isinstance(known := stored.raw.get("recipe"), dict):
        own = recipe if isinstance(recipe, dict) else {}
        for name in sorted({*known, *own} - {"seed"}):
            yield _exact(subject, f"recipe: {name}", own.get(name), known.get(name))
        yield _exact(subject, "recipe: seed", own.get("seed"), ours.seed)
    for name, wanted, told in (
        ("training loss at the end", stored.final_loss, ours.final_loss),
        ("weight change", stored.weight_change, ours.weight_change),
    ):
        if wanted and not told:
            yield FactCheck(
                subject=subject,
                fact=name,
                verdict=Verdict.NOT_RUN,
                theirs=f"{wanted:.8g}",
                reason="not told, or 0",
            )


def _of_same_seed(subject: str, ours: Tuned, same: Tuned, limits: Margins) -> Iterator[FactCheck]:
    """Facts that depend on the seed, which is stored."""
    for name in _SEEDED:
        if name in same.raw:
            yield _exact(subject, name, ours.raw.get(name), same.raw[name])
    for name, shown in _FIRST.items():
        theirs = _first(same.raw, name)
        if theirs is None:
            continue
        mine = _first(ours.raw, name)
        if mine is None:
            yield _exact(subject, shown, None, theirs)
            continue
        apart = abs(mine - theirs) / max(abs(theirs), 1e-12)
        yield FactCheck(
            subject=subject,
            fact=shown,
            verdict=Verdict.REPRODUCED if apart <= limits.first_step else Verdict.NOT_REPRODUCED,
            ours=f"{mine:.8g}",
            theirs=f"{theirs:.8g}",
            reason=f"{apart:.2g} apart, at most {limits.first_step:g} by rounding",
        )


def _of_new_seed(subject: str, ours: Tuned, stored: Tuned) -> Iterator[FactCheck]:
    """The order of a seed that is not stored follows from it; the rest must at least be told."""
    told, wanted = ours.raw.get(_ORDER), _drawn(stored, ours.seed)
    if told is not None and wanted is not None:
        right = told == wanted
        yield FactCheck(
            subject=subject,
            fact=_ORDER,
            verdict=Verdict.REPRODUCED if right else Verdict.NOT_REPRODUCED,
            ours=_shown(told),
            reason="" if right else f"seed {ours.seed} gives {_shown(wanted)}",
        )
    untold = [name for name in _SEEDED if name in stored.raw and ours.raw.get(name) is None]
    untold += [
        shown
        for name, shown in _FIRST.items()
        if _first(stored.raw, name) is not None and _first(ours.raw, name) is None
    ]
    for name in untold:
        yield FactCheck(subject=subject, fact=name, verdict=Verdict.NOT_RUN, reason="not told")


def _drawn(stored: Tuned, seed: int) -> str | None:
    """The order that a seed gives to as many rows and epochs as were stored.

    None where the stored one does not follow from its own seed either.
    """
    samples, recipe = stored.raw.get("samples"), stored.raw.get("recipe")
    epochs = recipe.get("epochs") if isinstance(recipe, dict) else None
    if not isinstance(samples, int) or not isinstance(epochs, int):
        return None
    known = order_digest(samples, epochs, stored.seed) == stored.raw.get(_ORDER)
    return order_digest(samples, epochs, seed) if known else None


def _exact(subject: str, fact: str, ours: object, theirs: object) -> FactCheck:
    if ours is None and theirs is not None:
        verdict, reason = Verdict.NOT_RUN, "not told"
    else:
        equal = ours == theirs
        verdict = Verdict.REPRODUCED if equal else Verdict.NOT_REPRODUCED
        reason = "" if equal else "differs"
    return FactCheck(
        subject=subject,
        fact=fact,
        verdict=verdict,
        ours=_shown(ours),
        theirs=_shown(theirs),
        reason=reason,
    )


def _first(raw: Mapping[str, Any], name: str) -> float | None:
    values = raw.get(name)
    if not isinstance(values, list) or not values:
        return None
    first = values[0]
    if not isinstance(first, int | float) or not math.isfinite(first):
        return None
    return float(first)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12]


def same_training(ours: Tuned | None, theirs: Tuned | None, limits: Margins) -> str:
    """How alike two trainings with the same seed were, step by step.

    Returns:
        "bits": every loss and the weight change are equal; "rounding": every loss is within the
        registered margin of rounding; "other"; or "unknown" where losses are not told.
    """
    if ours is None or theirs is None or not ours.losses or not theirs.losses:
        return "unknown"
    if ours.losses == theirs.losses:
        return "bits" if ours.weight_change == theirs.weight_change else "other"
    if len(ours.losses) != len(theirs.losses) or not (ours.weight_change and theirs.weight_change):
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
