"""The head of every face: did it pass, what ran, is it evidence on the paper, and two sentences."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from repro import profiles
from repro.errors import EXIT_FAILED, ReproError
from repro.printable import counted, printable
from repro.report.words import (
    ANSWERS,
    POWER,
    joined,
    noticed_of,
    outcome,
    seeds_text,
    size_text,
)
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer
from repro.verify.fingerprint import subjects
from repro.verify.margins import margins
from repro.verify.spread import LEAST
from repro.verify.verdicts import Level, Verdict
from repro.verify.verification import RunVerification, Verification


class Outcome(StrEnum):
    """The answer in one word, as the exit code gives it."""

    PASS = "PASS"
    FAIL = "FAIL"
    NOT_COMPLETE = "NOT COMPLETE"

    @classmethod
    def of(cls, exit_code: int) -> "Outcome":
        """The word of an exit code of `repro verify`."""
        return {0: cls.PASS, EXIT_FAILED: cls.FAIL}.get(exit_code, cls.NOT_COMPLETE)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands above everything else about a run.

    Attributes:
        name: of the run; why: what the exit code stands for here.
        ran: what ran, as pairs of a name and a text.
        evidence: whether the results are evidence on the paper; on_paper: the same as a sentence.
        numbers, findings: a sentence each.
        notes: what weakens the comparison, in sentences.
    """

    name: str
    exit_code: int
    why: str
    ran: tuple[tuple[str, str], ...]
    evidence: bool
    on_paper: str
    numbers: str
    findings: str
    notes: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        return Outcome.of(self.exit_code)

    @property
    def first(self) -> str:
        """The first line of every face."""
        return f"{self.outcome}: exit code {self.exit_code}, {self.why}"


def first_line(verification: Verification) -> str:
    """The first line of every face, for all runs of a folder together."""
    heads = [head(run) for run in verification.runs]
    if len(heads) == 1:
        return heads[0].first
    code = verification.exit_code
    own = sum(one.exit_code == code for one in heads)
    return (
        f"{Outcome.of(code)}: exit code {code}, "
        + {
            0: "nothing differs and nothing is missing in any run",
            EXIT_FAILED: f"something differs in {own} of {counted(len(heads), 'run')}",
        }.get(code, f"something is missing in {own} of {counted(len(heads), 'run')}")
        + f" ({counted(len(heads), 'run')})"
    )


def head(verified: RunVerification) -> Head:
    """The head of a run."""
    run = verified.run
    paper = run.study.published
    evidence = paper and run.profile in margins().comparable
    model, data = model_and_data(run)
    if evidence:
        on_paper = "Evidence on the paper: yes, this is its model and its data."
    elif paper:
        on_paper = f"Not evidence on the paper: the model is {model}."
    else:
        on_paper = f"Study {run.study.name}: {run.study.question}"
        if run.profile not in margins().comparable:
            on_paper += f" The model is {model}: no evidence on the paper's, Llama-2."
    return Head(
        name=run.name,
        exit_code=verified.exit_code,
        why=_why(verified),
        ran=(
            ("model", f"{model}; data {data}"),
            ("run", f"{_protocol(run)}, {_seeds(verified)}"),
            ("cells", _cells(verified)),
            *((("took", str(verified.spent)),) if verified.spent else ()),
        ),
        evidence=evidence,
        on_paper=on_paper,
        numbers=_numbers(verified),
        findings=_findings(verified, evidence),
        notes=_notes(verified),
    )


def model_and_data(run: Run) -> tuple[str, str]:
    """The base model and the data of a run, in words.

    They are taken from run.json; older ones do not tell them, and then the profile of this name
    does.
    """
    model, data = run.record.get("model"), run.record.get("data")
    if not isinstance(model, Mapping) or not isinstance(data, str):
        try:
            known = profiles.load(run.profile) if run.profile in profiles.names() else None
        except ReproError:
            known = None
        model, data = (known.model, known.data) if known else ({}, "")
    shown = {"embedded": "made by the kit", "upstream": "the authors'"}
    own = {cell.dataset for cell, _ in run.cells if run.study.datasets[cell.dataset].places}
    told = shown.get(data, data or "unknown")
    if own:
        told = "of the study's own files" + ("" if len(own) == _sets(run) else f", and {told}")
    return _model(model), told


def _sets(run: Run) -> int:
    """How many data sets a run has cells of."""
    return len({cell.dataset for cell, _ in run.cells})


def _model(table: Mapping[str, Any]) -> str:
    kind = table.get("kind")
    if kind == "embedded":
        return "a micro Llama, part of the kit"
    names = {"hub": "repo", "package": "package", "folder": "path", "random": "architecture"}
    name = str(table.get(names.get(str(kind), ""), "unknown"))
    revision = str(table.get("revision", ""))[:12]
    return printable(name + (f" at {revision}" if revision else ""))


def _protocol(run: Run) -> str:
    changed = ", ".join(f"{name}={value}" for name, value in run.overrides.items())
    text = f"profile {run.profile}, protocol {run.protocol}"
    text += f" with {changed}" if changed else ""
    trained = run.identity.get("trained")
    return printable(text + (f"; {trained}" if trained else ""))


def _seeds(verified: RunVerification) -> str:
    text = seeds_text(verified.run.seeds)
    stored = verified.reference
    return text if stored is None else f"{text}; the reference has {len(stored.run.seeds)}"


def _cells(verified: RunVerification) -> str:
    run, stored = verified.run, verified.reference
    grid = len(run.study.cells(every_shot=run.best_of != "smallest"))
    text = f"{len(run.by_cell)}"
    if run.asked is not None:
        text += f" of {len(run.asked)} asked for"
    owner = "the paper's" if run.study.published else "the study's"
    text += f"; {owner} figures have {grid}"
    if stored is None:
        return text + ", and no reference is stored"
    text += f", the reference {printable(stored.folder.name)} {len(stored.run.by_cell)}"
    return text + (f"; {verified.unstored} not in it" if verified.unstored else "")


def differing(verified: RunVerification) -> list[str]:
    """How many facts, fine-tunes, figures, cells and points differ, each in words."""
    bad = Verdict.NOT_REPRODUCED
    found = []
    if own := subjects(verified.facts, bad):
        found.append(f"the training or settings of {_subjects(own)}")
    for level, what in (("run", "the mean of the whole run"), ("figure", ""), ("fine-tune", "")):
        names = {g.name for g in verified.groups if g.level == level and g.verdict is bad}
        if names:
            found.append(what or counted(len(names), level))
    wrong = sum(number.verdict is bad for number in verified.numbers)
    if wrong:
        found.append(f"{wrong} of {counted(len(verified.numbers), 'cell')}")
    figures = sum(figure.verdict is bad for figure in verified.figures)
    if figures:
        found.append(f"{figures} of {counted(len(verified.figures), 'figure mean')}")
    points = sum(number.verdict is bad for number in verified.points)
    if points:
        found.append(f"{points} of {counted(len(verified.points), 'plotted point')}")
    return found


def _subjects(names: tuple[str, ...]) -> str:
    tuned = len(set(names) - {"the run"})
    parts = ["the run"] * ("the run" in names) + [counted(tuned, "fine-tune")] * bool(tuned)
    return joined(parts)


def lacking(verified: RunVerification) -> list[str]:
    """What is missing, in words."""
    found = []
    if verified.not_run:
        found.append(counted(len(verified.not_run), "cell"))
    found += list(verified.fewer)
    if own := subjects(verified.facts, Verdict.NOT_RUN):
        found.append(f"facts on the training or settings of {_subjects(own)}")
    undecided = sum(n.verdict is Verdict.INCONCLUSIVE for n in verified.numbers)
    if undecided:
        found.append(f"what would decide {counted(undecided, 'cell')}")
    if verified.reference is None and not verified.points:
        found.append("a stored reference for this kind of run")
    return found


def _why(verified: RunVerification) -> str:
    """What the exit code stands for, short; the sentences below it have the numbers."""
    code = verified.exit_code
    if code == 0:
        return "nothing differs and nothing is missing"
    if code != EXIT_FAILED:
        return f"something is missing: {(lacking(verified) or ['results for some findings'])[0]}"
    against = "the paper" if verified.points else "the stored runs"
    return f"something differs from {against}"


def _numbers(verified: RunVerification) -> str:
    judged = verified.judged
    if not judged:
        if verified.reference is None:
            return "They are not compared: no reference is stored for this kind of run."
        return "They are not compared: the reference has none of the cells asked for."
    against = "the paper's figures" if verified.points else "the stored runs"
    if found := differing(verified):
        text = f"Different from {against}: {joined(found)}."
    else:
        counts = Counter((n.level, n.verdict) for n in judged if n.verdict.passes)
        parts = [
            f"{counted(count, 'cell' if level is not Level.L3 else 'point')} "
            + outcome(verdict, level)
            for (level, verdict), count in sorted(counts.items(), key=str)
        ]
        text = f"Nothing differs from {against}" + (f": {joined(parts)}." if parts else ".")
    return text + _sensitivity(verified)


def _sensitivity(verified: RunVerification) -> str:
    """What would have been noticed in a single retrained cell or point."""
    for level, what in ((Level.L2, "cell"), (Level.L3, "plotted point")):
        own = [n for n in verified.judged if n.level is level]
        found = [value for n in own if (value := noticed_of(n)) is not None]
        if found:
            return (
                f" In one {what} a true difference of {size_text(median(found))} (median; "
                f"{size_text(min(found))} to {size_text(max(found))}) would have been noticed "
                f"{POWER}."
            )
    return ""


def _findings(verified: RunVerification, evidence: bool) -> str:
    found = Counter(claim.verdict for claim in verified.claims)
    parts = [f"{found[answer]} {ANSWERS[answer]}" for answer in Answer if found[answer]]
    owner = "paper" if verified.run.study.published else "study"
    text = f"Of {counted(len(verified.claims), 'finding')} of the {owner}: {', '.join(parts)}."
    if owner == "study":
        return text
    if not evidence:
        return f"{text} On this model they say nothing on the paper, and do not count."
    against = [claim.claim.id for claim in verified.claims if claim.contradicts]
    if against:
        return f"{text} Against the published figures: {', '.join(against)}."
    return f"{text} None is shown to be otherwise than the published figures have it."


def _notes(verified: RunVerification) -> tuple[str, ...]:
    notes, stored = [], verified.reference
    retrained = any(number.level is Level.L2 for number in verified.numbers)
    if stored is not None and retrained and len(stored.run.seeds) < LEAST:
        notes.append(
            f"The reference has {counted(len(stored.run.seeds), 'seed')}, and the spread over "
            f"seeds needs {LEAST}: retrained cells can hardly be shown to differ."
        )
    return tuple(notes)
