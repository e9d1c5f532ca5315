"""The documents of `repro findings` and `repro flaws`, on runs of a small model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from repro.errors import ReproError
from repro.printable import counted
from repro.report import markdown
from repro.report.answer import model_and_data
from repro.report.charts import draw, save
from repro.report.effectchart import effects
from repro.report.model import run_report
from repro.report.words import ANSWERS, between, joined, seeds_text, signed
from repro.results.runs import Run, Tuned
from repro.studies.paper.protocols import protocol, switches
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict
from repro.verify.comparisons import Change
from repro.verify.findings import paper_verdicts
from repro.verify.flaws import CORRECTED, Flaw, mended, stored_flaws
from repro.verify.statistics import ALPHA, holm
from repro.verify.survival import PUBLISHED, Condition, Sizes, common_leads, leads
from repro.verify.verification import verify_numbers

FIGURES = ("1", "2", "3")
FOLDER = "findings"
"""Beside the document: its pictures."""

MOVED = 0.02
"""A change of an effect that is worth a word, if its interval leaves out 0: a row in 50."""

ROUNDING = 1e-9
"""A change of an effect that is none."""

HEADS = (
    "audit",
    "mended",
    "cells touched",
    "fine-tunes anew",
    "mean change of their scores",
    "largest change",
    "findings that come out otherwise",
)
"""Of a table of flaws."""

BEGIN, END = "<!-- made by repro findings -->", "<!-- end -->"
"""What stands around the table in another document."""


def write_findings(sizes: Sizes, out: Path, into: Path | None = None) -> None:
    """Write the document on findings, and its pictures into the folder `FOLDER` beside it.

    Args:
        into: a document that gets the table, between `BEGIN` and `END`.

    Raises:
        ReproError: `into` lacks these two lines (2).
    """
    folder = out.parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paper = {claim.claim.id: claim for claim in paper_verdicts()}
    if into is not None:
        text = into.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ReproError(f"{into} has no place for the table", hint=f"add {BEGIN} and {END}")
        table = "\n".join(_table(sizes, paper))
        into.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    save(effects(sizes, paper), folder / "effects.svg", "svg")
    for run in (conditions[0].run for conditions in sizes):
        drawn = run_report(verify_numbers(run, None))
        for name in FIGURES:
            save(draw(drawn, name), folder / f"{run.profile}-figure{name}.svg", "svg")
    out.write_text(findings(sizes, paper), encoding="utf-8")


def findings(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> str:
    """The document on which findings hold on a real model, and which survive a mended flaw.

    Args:
        sizes: of one model.
        paper: the claims on the paper's own numbers, by id.
    """
    largest, lead_of = sizes[0], common_leads(sizes)
    every = [condition for conditions in sizes for condition in conditions]
    rejudged, untouched = (
        joined([_label(c) for c in largest if c.source == source])
        for source in ("rows", "untouched")
    )
    singles = {
        f"{name} by {_label(c)} on `{c.run.profile}`": _moved(c, name, lead_of)
        for c in every
        if c.audit and c.source != "untouched"
        for name in lead_of
    }
    sure = _sure(singles)
    return _document(
        "findings.md.j2",
        largest[0].run,
        runs=[_made(c) for c in every if c.source == "run"],
        rejudged=rejudged,
        untouched=untouched,
        moved=MOVED,
        answers={answer: ANSWERS[answer] for answer in Answer if answer is not Answer.NOT_RUN},
        tests=sum(own is not None for own in singles.values()),
        sure=joined([f"{told} ({_change(singles[told])})" for told in singles if told in sure]),
        table="\n".join(_table(sizes, paper)),
        changes="\n".join(_changes(sizes)),
        turned=list(_turned(sizes)),
        alone=[(own[0].run.profile, "\n".join(_alone(own, lead_of))) for own in sizes],
        apart=[(own[0].run.profile, joined(_apart(own))) for own in sizes],
        leads=lead_of,
        folder=FOLDER,
        figures=FIGURES,
        published=PUBLISHED,
        paper=paper,
        told=_told,
        survives=_survives,
        sizes=sizes,
        lacking=[_lacking(c) for c in every if c.source == "run" and not c.audit],
        wholes={c.name for c in every},
        seed_count=max(len(conditions[0].run.seeds) for conditions in sizes),
        dead="" if any("truncation_side" in c.switches for c in every) else _dead(largest[0].run),
    )


def _turned(sizes: Sizes) -> Iterator[str]:
    """Which findings come out otherwise under a whole protocol, and whose effects it moves."""
    lead_of = common_leads(sizes)
    for first, *others in sizes:
        for whole in (condition for condition in others if not condition.audit):
            pairs = [(n, one, whole.claims[n]) for n, one in first.claims.items()]
            both = [p for p in pairs if Answer.NOT_RUN not in (p[1].verdict, p[2].verdict)]
            moved = {name: _moved(whole, name, lead_of) for name, _, _ in both}
            beyond = [name for name, own in moved.items() if own and _beyond_chance(own)]
            turned = {
                name: f"{name} ({ANSWERS[before.verdict]} to {ANSWERS[after.verdict]}"
                + (f" by {_change(moved[name])})" if moved[name] else ")")
                for name, before, after in both
                if before.verdict is not after.verdict
            }
            sure = _sure(moved)
            chance = [told for name, told in turned.items() if _by_chance(moved[name])]
            facts = [told for name, told in turned.items() if moved[name] is None]
            few = [name for name, before, after in both if _few(before) and _few(after)]
            number, size = counted(len(both), "finding"), first.run.profile
            yield (
                f"All that {whole.name} mends mended together, of the {number} that `{size}` has "
                f"numbers for under both {first.name} and {whole.name}:"
            )
            yield (
                f"- a change of {MOVED} or more whose interval leaves out 0, of "
                f"{counted(sum(own is not None for own in moved.values()), 'change')} looked at, "
                "uncorrected for their number: "
                + (joined([f"{name} by {_change(moved[name])}" for name in beyond]) or "none")
                + " (after Holm's correction: "
                + (joined([name for name in beyond if name in sure]) or "none")
                + "); with another verdict, of these: "
                + (joined([told for name, told in turned.items() if name in beyond]) or "none")
                + ";"
            )
            if facts:
                yield f"- another verdict, of what has no interval: {joined(facts)};"
            yield f"- another verdict by no more than chance: {joined(chance) or 'none'};"
            yield f"- too little was run for any other answer: {joined(few) or 'none'}."


def _made(condition: Condition) -> dict[str, Any]:
    """What was run under a condition, how large, and on what."""
    run = condition.anew or condition.run
    machine = run.record.get("machine", {})
    besides = "".join(f", {name} = {value}" for name, value in run.overrides.items())
    samples: dict[int, int] = {}
    rates = {f"{rate:g}" for own in run.tuned.values() if (rate := _rate(own))}
    for (variant, _), own in run.tuned.items():
        samples[variant.size] = max(samples.get(variant.size, 0), int(own.raw.get("samples", 0)))
    return {
        "name": f"`{run.profile}`, `{condition.name}`" + ("" if condition.audit else besides),
        "cells": counted(len(run.by_cell), "cell"),
        "rows": max(result.n for result in run.cells.values()),
        "training": joined([f"{samples[size]:,}" for size in sorted(samples)]),
        "rates": joined(sorted(rates)),
        "predictions": f"{sum(result.n for result in run.cells.values()):,}",
        "seeds": seeds_text(run.seeds),
        "machine": joined(machine.get("gpus") or [str(machine.get("cpu", "an unknown machine"))]),
    }


def _rate(tuned: Tuned) -> float | None:
    rate: float | None = tuned.raw.get("recipe", {}).get("learning_rate")
    return rate


def _lacking(condition: Condition) -> str:
    """The cells of the paper's figures that a protocol was not run on, with their models."""
    run = condition.run
    cells = [cell for cell in run.study.cells() if cell not in run.by_cell]
    if not cells:
        return ""
    models = joined(list(dict.fromkeys(cell.variant.name for cell in cells)))
    return f"{counted(len(cells), 'cell')} of `{run.profile}`, `{condition.name}`, of {models}"


def _changes(sizes: Sizes) -> Iterator[str]:
    """What each protocol or switch that was run does to the scores; nothing where none was."""
    found = [(own[0].run.profile, flaw) for own in sizes for flaw in stored_flaws(own)]
    if found:
        heads = ["size", *HEADS]
        lead_of = common_leads(sizes)
        yield from markdown.table(
            heads, [(f"`{size}`", *_flaw(flaw, lead_of)) for size, flaw in found]
        )


def flaws(published: Run, found: Sequence[Flaw]) -> str:
    """The document on what mending each flaw changes in a small world.

    Args:
        found: by switch, in the order of `repro protocols`, then all of them together.
    """
    lead_of = leads([{name: before for name, (before, _) in found[0].claims.items()}])
    return _document(
        "flaws.md.j2",
        published,
        embedded=published.record.get("data") == "embedded",
        cells=counted(len(published.by_cell), "cell"),
        table="\n".join(markdown.table(HEADS, [_flaw(flaw, lead_of) for flaw in found])),
    )


def _document(template: str, run: Run, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("repro.report", "web"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    model, data = model_and_data(run)
    known = {"run": run, "model": model, "data": data, "seeds": seeds_text(run.seeds)}
    return environment.get_template(template).render(known | values).rstrip("\n") + "\n"


def _effect(item: ContrastVerdict) -> str:
    """An effect with its interval, where there is one."""
    return f"{signed(item.mean.effect)}{between(item.mean.interval)}" if item.mean else ""


def _table(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> Iterator[str]:
    wholes = [(conditions[0], c) for conditions in sizes for c in conditions if not c.audit]
    heads = ["", "finding", "the paper's own numbers"]
    for first, whole in wholes:
        heads.append(f"`{first.run.profile}`, {whole.name}")
        if whole is not first:
            heads.append(f"change, {whole.name} less {first.name}")
    heads.append("moved by one of the flaws tried alone")
    yield f"| {' | '.join(heads)} |".replace("|  |", "| |")
    yield "|---" * len(heads) + "|"
    lead_of = common_leads(sizes)
    for name, claim in sizes[0][0].claims.items():
        lead = lead_of[name]
        cells = [name, claim.claim.title, _cell(paper[name], lead)]
        for first, whole in wholes:
            cells.append(_cell(whole.claims[name], lead))
            if whole is not first:
                cells.append(_change(_moved(whole, name, lead_of)))
        told = [
            f"`{conditions[0].run.profile}`: {_label(c)} {words}"
            for conditions in sizes
            for c in conditions[1:]
            if (words := _moves(name, c, conditions[0].claims[name], lead_of))
        ]
        yield f"| {' | '.join(cells)} | {'; '.join(told)} |"


def _cell(claim: ClaimVerdict, lead: str) -> str:
    """A verdict with the effect, and how much of what is compared was run."""
    item = claim.item(lead)
    part = f"({item.compared} of {item.expected})" if item.compared < item.expected else ""
    verdict = "too little run" if _few(claim) else ANSWERS[claim.verdict]
    told = (verdict, _effect(item), part if item.ran else "")
    return " ".join(filter(None, told))


def _label(condition: Condition) -> str:
    """What was mended: sections of the audit and switches."""
    return f"{condition.audit} {' and '.join(f'`{name}`' for name in condition.switches)}"


def _moved(condition: Condition, name: str, lead_of: Mapping[str, str]) -> Change | None:
    """How far the effect that stands for a claim is from the published protocol's."""
    return condition.changes.get(name, {}).get(lead_of[name])


def _change(moved: Change | None) -> str:
    return f"{signed(moved.effect)}{between(moved.interval)}" if moved else ""


def _beyond_chance(moved: Change) -> bool:
    """It is worth a word, and its interval leaves out 0."""
    low, high = moved.interval
    return abs(moved.effect) >= MOVED and (low > 0 or high < 0)


def _sure(moved: Mapping[str, Change | None]) -> set[str]:
    """The changes that are told from none though so many were looked at (Holm)."""
    found = {key: change.p for key, change in moved.items() if change}
    return {key for key, p in zip(found, holm(list(found.values())), strict=True) if p <= ALPHA}


def _by_chance(moved: Change | None) -> bool:
    """It is no more than chance gives; what has no interval, such as a weight change, is not."""
    return moved is not None and not _beyond_chance(moved)


def _moves(
    name: str, condition: Condition, before: ClaimVerdict, lead_of: Mapping[str, str]
) -> str:
    """What a mended flaw changes of a finding; empty for a whole protocol, and without a change."""
    after = condition.claims[name]
    if not condition.audit or Answer.NOT_RUN in (before.verdict, after.verdict):
        return ""
    moved = _moved(condition, name, lead_of)
    by = f"by {_change(moved)}" if moved else ""
    if after.verdict is not before.verdict:
        return f"to {ANSWERS[after.verdict]} {by}".rstrip()
    return by if moved and _beyond_chance(moved) else ""


def _alone(conditions: Sequence[Condition], lead_of: Mapping[str, str]) -> Iterator[str]:
    """How far each flaw, mended alone, moves each finding's effect on one model."""
    first, *others = conditions
    flaws = [c for c in others if c.audit and c.source != "untouched"]
    rows = []
    for name, claim in first.claims.items():
        if claim.verdict is Answer.NOT_RUN:
            continue
        cells = []
        for condition in flaws:
            moved, after = _moved(condition, name, lead_of), condition.claims[name].verdict
            touched = moved and max(map(abs, (moved.effect, *moved.interval))) > ROUNDING
            turned = "" if after is claim.verdict else f" to **{ANSWERS[after]}**"
            cells.append(f"{_change(moved) if touched else ''}{turned}".strip())
        rows.append((name, *cells))
    yield from markdown.table(["", *map(_label, flaws)], rows)


def _told(claim: ClaimVerdict, lead: str) -> str:
    item = claim.item(lead)
    effect = f", {item.contrast.name}: {_effect(item)}" if item.mean else ""
    return f"{ANSWERS[claim.verdict]}{effect}"


_OPENINGS = {
    Answer.HOLDS: "It is shown to hold",
    Answer.AGREES: "It points the claimed way",
    Answer.CANNOT_TELL: "This run can neither show nor refute it",
    Answer.PARTLY: "It is shown to hold in part and otherwise in part",
    Answer.FAILS: "It is shown otherwise here",
}


def _few(claim: ClaimVerdict) -> bool:
    """Undecided because too little of it was run."""
    return claim.verdict is Answer.CANNOT_TELL and any(item.few for item in claim.own if item.ran)


def _survives(name: str, conditions: Sequence[Condition], lead_of: Mapping[str, str]) -> str:
    """Whether a finding holds as published, and what mending flaws does to that."""
    first = conditions[0].claims[name]
    answer = first.verdict
    opening = "Too little of it was run to say" if _few(first) else _OPENINGS[answer]
    parts = [f"{opening} as published"]
    lost, moved, turned = [], [], False
    for c in conditions[1:]:
        if words := _moves(name, c, first, lead_of):
            after = c.claims[name].verdict
            turned |= after is not answer
            chance = _by_chance(_moved(c, name, lead_of))
            if answer.passes and not after.passes and not chance:
                lost.append(_label(c))
            else:
                moved.append(f"with {_label(c)} mended it moves {words}")
    if lost:
        parts.append(f"and does not survive mending {joined(lost)}")
    elif answer.passes:
        parts.append("and survives each flaw that was mended alone")
    elif not turned:
        parts.append("and no flaw that was mended alone changes that")
    parts += moved
    wholes = []
    for c in (c for c in conditions[1:] if not c.audit):
        own = _moved(c, name, lead_of)
        by = f"; its effect moves by {_change(own)}" if own else ""
        wholes.append(f" Under `{c.name}` {_outcome(first, c.claims[name], own)}{by}.")
    return f"{', '.join(parts)}.{''.join(wholes)}"


def _outcome(first: ClaimVerdict, claim: ClaimVerdict, moved: Change | None) -> str:
    """What a whole protocol makes of a finding that came out so as published."""
    before, after = first.verdict, claim.verdict
    if after is Answer.NOT_RUN:
        return "it was not run"
    if after.passes and before.passes:
        return "it survives"
    told = {
        Answer.CANNOT_TELL: "too little of it was run to say"
        if _few(claim)
        else "it can neither be shown nor refuted",
        Answer.PARTLY: "it is shown to hold in part and otherwise in part",
        Answer.FAILS: "it is shown otherwise",
    }.get(after, "it points the claimed way")
    if not before.passes:
        return told
    turns = (
        "its verdict turns by no more than chance" if _by_chance(moved) else "it does not survive"
    )
    return f"{turns}: {told}"


def _flaw(flaw: Flaw, lead_of: Mapping[str, str]) -> tuple[object, ...]:
    mean = "" if flaw.mean is None else f"{signed(flaw.mean)}{between(flaw.interval)}"
    told = ""
    if largest := flaw.largest:
        seed = "" if largest.seed is None else f", seed {largest.seed}"
        told = f"{signed(largest.difference)} (`{largest.cell}`{seed})"
    turned = [
        f"{name}: {_brief(before, lead_of[name])} to {_brief(after, lead_of[name])}"
        for name, (before, after) in flaw.claims.items()
        if before.verdict is not after.verdict
        and Answer.NOT_RUN not in (before.verdict, after.verdict)
    ]
    return (flaw.audit, f"`{flaw.name}`", flaw.cells, flaw.anew, mean, told, "; ".join(turned))


def _brief(claim: ClaimVerdict, lead: str) -> str:
    mean = claim.item(lead).mean
    return ANSWERS[claim.verdict] + (f" {signed(mean.effect)}" if mean else "")


def _apart(conditions: Sequence[Condition]) -> list[str]:
    """The switches that `corrected` sets and that were not mended alone, by their sections."""
    done = {switch for condition in conditions for switch in condition.switches}
    first = conditions[0].run
    own = protocol(PUBLISHED, first.overrides)
    left: dict[str, list[str]] = {}
    for name in mended(own, protocol(CORRECTED)):
        if name not in done:
            left.setdefault(switches()[name].audit, []).append(f"`{name}`")
    return [f"{section} {', '.join(names)}" for section, names in sorted(left.items())]


def _dead(run: Run) -> str:
    """The fine-tunes whose samples lost their whole target, with the share."""
    shares = {
        variant.name: tuned.raw["dead_samples"] / tuned.raw["samples"]
        for (variant, _), tuned in run.tuned.items()
        if tuned.raw.get("dead_samples")
    }
    told = joined([f"{share:.1%} of the samples of {name}" for name, share in shares.items()])
    return f"; {told} kept no target here" if told else ""
