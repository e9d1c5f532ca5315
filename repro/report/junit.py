"""The JUnit XML face, for CI servers: facts, groups, cells and findings as test cases.

The first case of a run is its answer: it fails with exit code 1 and is skipped with 3. What differs
fails; what is missing or not to be decided is skipped, since it makes the exit code 3. A finding
fails where it counts for the exit code; else it passes, with its answer in its output.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree import ElementTree as Tree

from repro.errors import EXIT_FAILED
from repro.printable import printable_lines
from repro.report.answer import first_line, head
from repro.report.model import Report, RunReport
from repro.report.words import contrast_text, fact_text, group_text, number_text, outcome
from repro.verify.claimverdicts import Answer
from repro.verify.fingerprint import FactCheck
from repro.verify.verdicts import Level, Verdict, worst


class Case(NamedTuple):
    """A test case.

    Attributes:
        out: its output.
        failure: type, message and text of its failure; None if it does not fail.
        skipped: why it is skipped; empty if it is not.
    """

    name: str
    out: str
    failure: tuple[str, str, str] | None = None
    skipped: str = ""


def junit(report: Report) -> bytes:
    """The whole report as an XML file; its name is the first line of every face."""
    kinds = (
        ("answer", _answer),
        ("facts", _facts),
        ("groups", _groups),
        ("cells", _numbers),
        ("findings", _claims),
    )
    suites = ((f"{run.name}: {name}", of(run)) for run in report.runs for name, of in kinds)
    return document(suites, name=first_line(report.verification))


def document(suites: Iterable[tuple[str, Iterable[Case]]], name: str = "repro") -> bytes:
    """Suites of cases as an XML file."""
    root = Tree.Element("testsuites", name=_clean(name))
    for title, found in suites:
        cases = list(found)
        suite = Tree.SubElement(root, "testsuite", name=_clean(title))
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case.failure is not None for case in cases)))
        suite.set("errors", "0")
        suite.set("skipped", str(sum(bool(case.skipped) for case in cases)))
        suite.set("time", "0")
        for case in cases:
            _add(suite, case)
    for attribute in ("tests", "failures", "errors"):
        root.set(attribute, str(sum(int(suite.attrib[attribute]) for suite in root)))
    Tree.indent(root)
    return Tree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _add(suite: Tree.Element, case: Case) -> None:
    name = {"classname": suite.attrib["name"], "name": _clean(case.name)}
    element = Tree.SubElement(suite, "testcase", name, time="0")
    if case.failure:
        kind, message, text = case.failure
        failure = Tree.SubElement(element, "failure", type=kind, message=_clean(message))
        failure.text = _clean(text)
    elif case.skipped:
        Tree.SubElement(element, "skipped", message=_clean(case.skipped))
    Tree.SubElement(element, "system-out").text = _clean(case.out)


def _clean(text: str) -> str:
    """Text that may stand in XML 1.0; line breaks stay."""
    return printable_lines(text)


def _answer(run: RunReport) -> Iterator[Case]:
    top = head(run.verified)
    rows = [f"{name}: {text}" for name, text in top.rows]
    ran, came_out = rows[: len(top.ran)], rows[len(top.ran) :]
    text = "\n".join([top.on_paper, *ran, *top.notes, *came_out])
    out = f"{top.first}\n{text}"
    if top.exit_code == EXIT_FAILED:
        yield Case(top.first, out, (top.outcome, top.why, text))
    else:
        yield Case(top.first, out, skipped=top.first if top.exit_code else "")


def _facts(run: RunReport) -> Iterator[Case]:
    """A case for the run and for each fine-tune, with the facts that are not equal."""
    by_subject: dict[str, list[FactCheck]] = {}
    for check in run.verified.facts:
        by_subject.setdefault(check.subject, []).append(check)
    for subject, checks in by_subject.items():
        wrong = [fact_text(c) for c in checks if c.verdict is not Verdict.REPRODUCED]
        text = "\n".join(wrong or [f"{len(checks)} facts are equal to the stored ones"])
        yield _judged(subject, worst(check.verdict for check in checks), text)


def _groups(run: RunReport) -> Iterator[Case]:
    for group in run.verified.groups:
        name = f"{group.level} {group.name}: {group.what}"
        yield _judged(name, group.verdict, group_text(group), Level.L2)


def _numbers(run: RunReport) -> Iterator[Case]:
    for number in run.verified.judged:
        yield _judged(number.name, number.verdict, number_text(number), number.level)
    for figure in run.verified.figures:
        yield _judged(figure.name, figure.verdict, figure.reason, Level.L3)


def _judged(name: str, verdict: Verdict, text: str, level: Level | None = None) -> Case:
    """A case of a number, with its verdict on the first line of its output."""
    told, out = outcome(verdict, level), f"{verdict}\n{text}"
    if verdict is Verdict.NOT_REPRODUCED:
        return Case(name, out, (verdict, told, text))
    return Case(name, out, skipped="" if verdict.passes else told)


def _claims(run: RunReport) -> Iterator[Case]:
    for claim in run.verified.claims:
        name, answer = f"{claim.claim.id}: {claim.claim.finding}", claim.verdict
        text = "\n".join(f"{item.verdict}: {contrast_text(item)}" for item in claim.contrasts)
        failure = None
        if claim.contradicts and run.verified.claims_count and answer is not Answer.NOT_RUN:
            failure = (answer, answer, "\n".join([*claim.contradicts, text]))
        skipped = answer if answer is Answer.NOT_RUN else ""
        yield Case(name, f"{answer}\n{text}", failure, skipped)
