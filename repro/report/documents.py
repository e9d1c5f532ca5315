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
from repro.verify.findings import paper_verdicts
from repro.verify.flaws import Flaw
from repro.verify.survival import PUBLISHED, Condition, main_contrast
from repro.verify.verification import verify_numbers

FIGURES = ("1", "2", "3")
FOLDER = "findings"
"""Beside the document: its pictures."""

MOVED = 0.02
"""A change of an effect that is worth a word: what a row more or less in 50 comes to."""

BEGIN, END = "<!-- made by repro findings -->", "<!-- end -->"
"""What stands around the table in another document."""


def write_findings(conditions: Sequence[Condition], out: Path, into: Path | None = None) -> None:
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
        if BEGIN not in text or END not in text:
            raise ReproError(f"{into} has no place for the table", hint=f"add {BEGIN} and {END}")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        table = "\n".join(_table(conditions, paper))
        into.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    save(effects(conditions, paper), folder / "effects.svg", "svg")
    drawn = run_report(verify_numbers(conditions[0].run, None))
    for name in FIGURES:
        save(draw(drawn, name), folder / f"figure{name}.svg", "svg")
    out.write_text(findings(conditions, paper), encoding="utf-8")


def findings(conditions: Sequence[Condition], paper: Mapping[str, ClaimVerdict]) -> str:
    """The document on which findings hold on a real model, and which survive a mended flaw.

    Args:
        conditions: of one model, the published protocol first.
        paper: the claims on the paper's own numbers, by id.
    """
    run = conditions[0].run
    machine = run.record.get("machine", {})
    lacking = [cell for cell in run.study.cells() if cell not in run.by_cell]
    rejudged, untouched = (
        joined([f"{c.audit} (`{c.name}`)" for c in conditions if c.source == source])
        for source in ("rows", "untouched")
    )
    return _document(
        "findings.md.j2",
        run,
        machine=joined(machine.get("gpus") or [str(machine.get("cpu", "an unknown machine"))]),
        rejudged=rejudged,
        untouched=untouched,
        moved=MOVED,
        table="\n".join(_table(conditions, paper)),
        folder=FOLDER,
        figures=FIGURES,
        published=PUBLISHED,
        paper=paper,
        told=_told,
        survives=_survives,
        conditions=conditions,
        lacking=counted(len(lacking), "cell") if lacking else "",
        models=joined(list(dict.fromkeys(cell.variant.name for cell in lacking))),
        audited={part for c in conditions if c.source != "rows" for part in c.audit.split(", ")},
        dead=_dead(run),
    )


def flaws(published: Run, found: Sequence[Flaw]) -> str:
    """The document on what mending each flaw changes in a small world.

    Args:
        found: by switch, in the order of `repro protocols`, then all of them together.
    """
    heads = ["audit", "mended", "cells touched", "fine-tunes anew", "mean change of their scores"]
    heads += ["largest change", "findings that come out otherwise"]
    return _document(
        "flaws.md.j2",
        published,
        embedded=published.record.get("data") == "embedded",
        cells=counted(len(published.by_cell), "cell"),
        table="\n".join(markdown.table(heads, map(_flaw, found))),
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


def _table(conditions: Sequence[Condition], paper: Mapping[str, ClaimVerdict]) -> Iterator[str]:
    whole = [c for c in conditions[1:] if not c.audit]
    names = "".join(f" {c.name} |" for c in whole)
    yield (
        f"| | finding | the paper's own numbers | this model, {PUBLISHED} |{names} "
        "a mended flaw changes |"
    )
    yield "|---|---|---|---|" + "---|" * (len(whole) + 1)
    for name, claim in conditions[0].claims.items():
        cells = [name, claim.claim.title, *map(_cell, (paper[name], claim))]
        cells += [_cell(c.claims[name]) for c in whole]
        told = [f"{c.audit}: {words}" for c in conditions[1:] if (words := _moves(name, c, claim))]
        yield f"| {' | '.join(cells)} | {'; '.join(told)} |"


def _cell(claim: ClaimVerdict) -> str:
    return f"{ANSWERS[claim.verdict]} {_effect(claim)}".rstrip()


def _moves(name: str, condition: Condition, before: ClaimVerdict) -> str:
    """What a mended flaw changes of a finding; empty for a whole protocol, and without a change."""
    after = condition.claims[name]
    if not condition.audit or Answer.NOT_RUN in (before.verdict, after.verdict):
        return ""
    one, other = (main_contrast(claim).mean for claim in (before, after))
    words = "" if after.verdict is before.verdict else ANSWERS[after.verdict]
    if one and other and abs(other.effect - one.effect) >= MOVED:
        words = f"{words} {signed(one.effect)} to {signed(other.effect)}".strip()
    return words


def _told(claim: ClaimVerdict) -> str:
    item = main_contrast(claim)
    effect = f", {item.contrast.name}: {_effect(claim)}" if item.mean else ""
    return f"{ANSWERS[claim.verdict]}{effect}"


def _survives(name: str, conditions: Sequence[Condition]) -> str:
    """Whether a finding holds as published, and what mending flaws does to that."""
    first = conditions[0].claims[name]
    answer, same = first.verdict, []
    changed: dict[bool, list[str]] = {True: [], False: []}
    for condition in conditions[1:]:
        after, told = condition.claims[name].verdict, condition.audit or condition.name
        if words := _moves(name, condition, first):
            changed[after.passes].append(f"{told} (`{condition.name}`: {words})")
        else:
            same.append(told)
    if answer.passes:
        parts = ["It points the claimed way as published"]
        if changed[False]:
            parts.append(f"and does not survive mending {joined(changed[False])}")
        if kept := [*changed[True], *same]:
            parts.append(f"and survives mending {joined(kept)}")
        return f"{', '.join(parts)}."
    undecided = "This run can neither show nor refute it as published"
    parts = [
        undecided if answer is Answer.CANNOT_TELL else "It is shown otherwise here as published"
    ]
    if changed[True]:
        parts.append(f"but it points the claimed way with {joined(changed[True])} mended")
    if changed[False]:
        parts.append(f"and with {joined(changed[False])} mended it moves")
    if same:
        parts.append(f"and mending {joined(same)} changes nothing")
    return f"{', '.join(parts)}."


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


def effects(conditions: Sequence[Condition], paper: Mapping[str, ClaimVerdict]) -> Figure:
    """The effect of each finding: the paper's, this model's, and with each flaw mended."""
    first, names = conditions[0], list(conditions[0].claims)
    hollow: dict[str, Any] = {"fillstyle": "none", "linestyle": "none"}
    theirs = hollow | {"marker": "o", "color": "#6a737b"}
    mended = [
        (c, hollow | {"marker": mark, "color": "#d55e00", "markersize": 4})
        for c, mark in zip(conditions[1:], cycle("^vDPX<>o"), strict=False)
        if c.source != "untouched"
    ]
    with settings():
        canvas = Figure(figsize=(7.2, 0.34 * len(names) + 1.1))
        axes = canvas.add_axes((0.34, 0.09, 0.63, 0.8))
        axes.axvline(0, color="#6a737b", linewidth=0.8)
        for place, name in enumerate(names):
            if told := main_contrast(paper[name]).mean:
                axes.plot(told.effect, place - 0.22, **theirs)
            if mean := main_contrast(first.claims[name]).mean:
                axes.plot(mean.interval or [mean.effect] * 2, (place, place), color="#0072b2")
                axes.plot(mean.effect, place, "s", color="#0072b2")
            for condition, look in mended:
                if mean := main_contrast(condition.claims[name]).mean:
                    axes.plot(mean.effect, place + 0.24, **look)
        titles = [f"{name}  {first.claims[name].claim.title}" for name in names]
        axes.set_yticks(range(len(names)), titles)
        axes.set_ylim(len(names) - 0.5, -0.6)
        axes.set_xlabel("effect of the finding's first comparison")
        ours = {"marker": "s", "color": "#0072b2"}
        legend = [("paper", theirs), (f"this model, {PUBLISHED}", ours)]
        legend += [(condition.audit or condition.name, look) for condition, look in mended]
        handles = [axes.plot([], [], **look)[0] for _, look in legend]
        names = [name for name, _ in legend]
        canvas.legend(handles, names, loc="upper center", ncols=len(names), fontsize=7)
    return canvas
