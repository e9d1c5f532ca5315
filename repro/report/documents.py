"""The documents of `repro findings` and `repro flaws`, on runs of a small model."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from repro.errors import ReproError
from repro.printable import counted
from repro.report import markdown
from repro.report.answer import model_and_data
from repro.report.charts import draw, save, settings
from repro.report.model import run_report
from repro.report.words import ANSWERS, between, joined, seeds_text, signed
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.comparisons import Change
from repro.verify.findings import paper_verdicts
from repro.verify.flaws import Flaw, stored_flaws
from repro.verify.survival import PUBLISHED, Condition, main_contrast
from repro.verify.verification import verify_numbers

FIGURES = ("1", "2", "3")
WHOLE = ("#0072b2", "#009e73", "#cc79a7")
"""Colours of whole protocols."""

FOLDER = "findings"
"""Beside the document: its pictures."""

MOVED = 0.02
"""A change of an effect that is worth a word, if its interval leaves out 0: a row in 50."""

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


Sizes = Sequence[Sequence[Condition]]
"""Conditions by size of a model's runs, the largest first; of each the published protocol first."""


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
    drawn = run_report(verify_numbers(sizes[0][0].run, None))
    for name in FIGURES:
        save(draw(drawn, name), folder / f"figure{name}.svg", "svg")
    out.write_text(findings(sizes, paper), encoding="utf-8")


def findings(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> str:
    """The document on which findings hold on a real model, and which survive a mended flaw.

    Args:
        sizes: of one model.
        paper: the claims on the paper's own numbers, by id.
    """
    largest = sizes[0]
    every = [condition for conditions in sizes for condition in conditions]
    rejudged, untouched = (
        joined([f"{c.audit} (`{c.name}`)" for c in largest if c.source == source])
        for source in ("rows", "untouched")
    )
    return _document(
        "findings.md.j2",
        largest[0].run,
        runs=[_made(c) for c in every if c.source == "run"],
        rejudged=rejudged,
        untouched=untouched,
        moved=MOVED,
        table="\n".join(_table(sizes, paper)),
        changes="\n".join(_changes(sizes)),
        turned=list(_turned(sizes)),
        folder=FOLDER,
        figures=FIGURES,
        published=PUBLISHED,
        paper=paper,
        told=_told,
        survives=_survives,
        sizes=sizes,
        lacking=[_lacking(c) for c in every if c.source == "run" and not c.audit],
        wholes={c.name for c in every},
        audited={part for c in every if c.source != "rows" for part in c.audit.split(", ")},
        seed_count=max(len(conditions[0].run.seeds) for conditions in sizes),
        dead=_dead(largest[0].run),
    )


def _turned(sizes: Sizes) -> Iterator[str]:
    """How many findings come out otherwise under a whole protocol than as published, and which."""
    for first, *others in sizes:
        for whole in (condition for condition in others if not condition.audit):
            pairs = [(n, one.verdict, whole.claims[n].verdict) for n, one in first.claims.items()]
            both = [pair for pair in pairs if Answer.NOT_RUN not in pair]
            turned = [
                f"{name} ({ANSWERS[before]} to {ANSWERS[after]})"
                for name, before, after in both
                if before is not after
            ]
            number, size = counted(len(both), "finding"), first.run.profile
            yield (
                f"Of the {number} that `{size}` has numbers for under both {first.name} and "
                f"{whole.name}, {joined(turned) or 'none'} comes out otherwise when all flaws are "
                "mended together."
            )


def _made(condition: Condition) -> dict[str, Any]:
    """What was run under a condition, how large, and on what."""
    run = condition.anew or condition.run
    machine = run.record.get("machine", {})
    samples: dict[int, int] = {}
    for (variant, _), own in run.tuned.items():
        samples[variant.size] = max(samples.get(variant.size, 0), int(own.raw.get("samples", 0)))
    return {
        "name": f"`{run.profile}`, `{condition.name}`",
        "cells": counted(len(run.by_cell), "cell"),
        "rows": max(result.n for result in run.cells.values()),
        "training": joined([f"{samples[size]:,}" for size in sorted(samples)]),
        "predictions": f"{sum(result.n for result in run.cells.values()):,}",
        "seeds": seeds_text(run.seeds),
        "machine": joined(machine.get("gpus") or [str(machine.get("cpu", "an unknown machine"))]),
    }


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
        yield from markdown.table(heads, [(f"`{size}`", *_flaw(flaw)) for size, flaw in found])


def flaws(published: Run, found: Sequence[Flaw]) -> str:
    """The document on what mending each flaw changes in a small world.

    Args:
        found: by switch, in the order of `repro protocols`, then all of them together.
    """
    return _document(
        "flaws.md.j2",
        published,
        embedded=published.record.get("data") == "embedded",
        cells=counted(len(published.by_cell), "cell"),
        table="\n".join(markdown.table(HEADS, map(_flaw, found))),
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


def _effect(claim: ClaimVerdict | None) -> str:
    """An effect with its interval, where there is one."""
    if claim is None or (mean := main_contrast(claim).mean) is None:
        return ""
    return f"{signed(mean.effect)}{between(mean.interval)}"


def _table(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> Iterator[str]:
    wholes = [(conditions[0], c) for conditions in sizes for c in conditions if not c.audit]
    heads = ["", "finding", "the paper's own numbers"]
    for first, whole in wholes:
        heads.append(f"`{first.run.profile}`, {whole.name}")
        if whole is not first:
            heads.append("its effect less the published code's")
    heads.append("one mended flaw changes")
    yield f"| {' | '.join(heads)} |".replace("|  |", "| |")
    yield "|---" * len(heads) + "|"
    for name, claim in sizes[0][0].claims.items():
        cells = [name, claim.claim.title, _cell(paper[name])]
        for first, whole in wholes:
            cells.append(_cell(whole.claims[name]))
            if whole is not first:
                cells.append(_change(whole.changes.get(name)))
        told = []
        for conditions in sizes:
            moved = [
                f"{c.audit}: {words}"
                for c in conditions[1:]
                if (words := _moves(name, c, conditions[0].claims[name]))
            ]
            size = f"`{conditions[0].run.profile}` " if len(sizes) > 1 else ""
            told += [f"{size}{'; '.join(moved)}"] if moved else []
        yield f"| {' | '.join(cells)} | {'. '.join(told)} |"


def _cell(claim: ClaimVerdict) -> str:
    return f"{ANSWERS[claim.verdict]} {_effect(claim)}".rstrip()


def _change(moved: Change | None) -> str:
    return f"{signed(moved.effect)}{between(moved.interval)}" if moved else ""


def _moves(name: str, condition: Condition, before: ClaimVerdict) -> str:
    """What a mended flaw changes of a finding; empty for a whole protocol, and without a change."""
    after = condition.claims[name]
    if not condition.audit or Answer.NOT_RUN in (before.verdict, after.verdict):
        return ""
    words = "" if after.verdict is before.verdict else ANSWERS[after.verdict]
    moved = condition.changes.get(name)
    low, high = moved.interval if moved else (0.0, 0.0)
    if moved and abs(moved.effect) >= MOVED and (low > 0 or high < 0):
        return f"{words} by {_change(moved)}".strip()
    return words


def _told(claim: ClaimVerdict) -> str:
    item = main_contrast(claim)
    effect = f", {item.contrast.name}: {_effect(claim)}" if item.mean else ""
    return f"{ANSWERS[claim.verdict]}{effect}"


_OPENINGS = {
    Answer.HOLDS: "It is shown to hold",
    Answer.AGREES: "It points the claimed way",
    Answer.CANNOT_TELL: "This run can neither show nor refute it",
    Answer.PARTLY: "It is shown to hold in part and otherwise in part",
    Answer.FAILS: "It is shown otherwise here",
}


def _survives(name: str, conditions: Sequence[Condition]) -> str:
    """Whether a finding holds as published, and what mending flaws does to that."""
    first = conditions[0].claims[name]
    answer, same = first.verdict, []
    changed: dict[bool, list[str]] = {True: [], False: []}
    for condition in conditions[1:]:
        if condition.audit:
            after, told = condition.claims[name].verdict, condition.audit
            if words := _moves(name, condition, first):
                changed[after.passes].append(f"{told} (`{condition.name}`: {words})")
            else:
                same.append(told)
    same = sorted(set(same))  # two switches of a section may be mended apart
    parts = [f"{_OPENINGS[answer]} as published"]
    if answer.passes:
        if changed[False]:
            parts.append(f"and does not survive mending {joined(changed[False])}")
        if kept := [*changed[True], *same]:
            parts.append(f"and survives mending {joined(kept)}")
    else:
        if changed[True]:
            parts.append(f"but it points the claimed way with {joined(changed[True])} mended")
        if changed[False]:
            parts.append(f"and with {joined(changed[False])} mended it moves")
        if same:
            parts.append(f"and mending {joined(same)} changes nothing")
    wholes = []
    for c in (c for c in conditions[1:] if not c.audit):
        told = _outcome(answer, c.claims[name].verdict)
        by = f" Its effect moves by {_change(own)}." if (own := c.changes.get(name)) else ""
        wholes.append(f" Under `{c.name}`, all mended together, {told}.{by}")
    return f"{', '.join(parts)}.{''.join(wholes)}"


def _outcome(before: Answer, after: Answer) -> str:
    """What a whole protocol makes of a finding that came out so as published."""
    if after is Answer.NOT_RUN:
        return "it was not run"
    if after.passes and before.passes:
        return "it survives"
    told = {
        Answer.CANNOT_TELL: "it can neither be shown nor refuted",
        Answer.PARTLY: "it is shown to hold in part and otherwise in part",
        Answer.FAILS: "it is shown otherwise",
    }.get(after, "it points the claimed way")
    return f"it does not survive: {told}" if before.passes else told


def _flaw(flaw: Flaw) -> tuple[object, ...]:
    mean = "" if flaw.mean is None else f"{signed(flaw.mean)}{between(flaw.interval)}"
    told = ""
    if largest := flaw.largest:
        seed = "" if largest.seed is None else f", seed {largest.seed}"
        told = f"{signed(largest.difference)} (`{largest.cell}`{seed})"
    turned = [
        f"{name}: {_brief(before)} to {_brief(after)}"
        for name, (before, after) in flaw.claims.items()
        if before.verdict is not after.verdict
        and Answer.NOT_RUN not in (before.verdict, after.verdict)
    ]
    return (flaw.audit, f"`{flaw.name}`", flaw.cells, flaw.anew, mean, told, "; ".join(turned))


def _brief(claim: ClaimVerdict) -> str:
    mean = main_contrast(claim).mean
    return ANSWERS[claim.verdict] + (f" {signed(mean.effect)}" if mean else "")


def _dead(run: Run) -> str:
    """The fine-tunes whose samples lost their whole target, with the share."""
    shares = {
        variant.name: tuned.raw["dead_samples"] / tuned.raw["samples"]
        for (variant, _), tuned in run.tuned.items()
        if tuned.raw.get("dead_samples")
    }
    told = joined([f"{share:.1%} of the samples of {name}" for name, share in shares.items()])
    return f"; {told} kept no target here" if told else ""


def effects(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> Figure:
    """The effect of each finding: the paper's, this model's, and with flaws mended.

    A panel for each size.
    """
    claims = sizes[0][0].claims
    run = [c for own in sizes for c in own if not c.audit]
    mended = [c for own in sizes for c in own if c.audit and c.source != "untouched"]
    hollow: dict[str, Any] = {"fillstyle": "none", "linestyle": "none"}
    looks: dict[str, dict[str, Any]] = {"paper": hollow | {"marker": "o", "color": "#6a737b"}}
    for name, color in zip(dict.fromkeys(_short(c) for c in run), WHOLE, strict=False):
        looks[name] = {"marker": "s", "color": color, "markersize": 5}
    for name, mark in zip(
        dict.fromkeys(_short(c) for c in mended), cycle("^vDPX<>*"), strict=False
    ):
        looks[name] = hollow | {"marker": mark, "color": "#d55e00", "markersize": 4}
    with settings():
        canvas = Figure(figsize=(4.2 + 3 * len(sizes), 0.36 * len(claims) + 1.1))
        panels = canvas.subplots(1, len(sizes), sharey=True, sharex=True, squeeze=False)[0]
        canvas.subplots_adjust(2.45 / canvas.get_figwidth(), 0.08, 0.98, 0.91, wspace=0.05)
        for axes, conditions in zip(panels, sizes, strict=True):
            axes.axvline(0, color="#6a737b", linewidth=0.8)
            for place, name in enumerate(claims):
                if told := main_contrast(paper[name]).mean:
                    axes.plot(told.effect, place - 0.27, **looks["paper"])
                below = place - 0.05
                for condition in conditions:
                    mean = main_contrast(condition.claims[name]).mean
                    if mean is None or condition.source == "untouched":
                        continue
                    look = looks[_short(condition)]
                    if condition.audit:
                        axes.plot(mean.effect, place + 0.36, **look)
                        continue
                    axes.plot(
                        mean.interval or [mean.effect] * 2, (below, below), color=look["color"]
                    )
                    axes.plot(mean.effect, below, **look)
                    below += 0.2
            axes.set_title(f"{conditions[0].run.profile}", fontsize=8)
            axes.set_xlabel("effect of the finding's first comparison")
        titles = [f"{name}  {claim.claim.title}" for name, claim in claims.items()]
        panels[0].set_yticks(range(len(titles)), titles)
        panels[0].set_ylim(len(titles) - 0.5, -0.6)
        handles = [panels[0].plot([], [], **look)[0] for look in looks.values()]
        canvas.legend(handles, list(looks), loc="upper center", ncols=len(looks), fontsize=7)
    return canvas


def _short(condition: Condition) -> str:
    return condition.audit or condition.name
