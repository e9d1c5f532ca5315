"""The JUnit XML face, for CI servers: facts, groups, cells and findings as test cases.

The first case of a run is its answer: it fails with exit code 1 and is skipped with 3. What differs
fails; what is missing or not to be decided is skipped, since it makes the exit code 3. A finding
fails where it counts for the exit code; else it passes, with its answer in its output.
"""

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as Tree

from repro.errors import EXIT_FAILED
from repro.printable import printable
from repro.report.answer import first_line, head
from repro.report.model import Report, RunReport
from repro.report.words import contrast_text, fact_text, group_text, number_text, outcome
from repro.verify.claimverdicts import Answer
from repro.verify.fingerprint import FactCheck
from repro.verify.verdicts import Level, Verdict, worst


def junit(report: Report) -> bytes:
    """The whole report as an XML file; its name is the first line of every face."""
    suites = (suite for run in report.runs for suite in _suites(run))
    return document(suites, name=first_line(report.verification))


def document(suites: Iterable[Tree.Element], name: str = "repro") -> bytes:
    """Suites as an XML file."""
    root = Tree.Element("testsuites", name=clean(name))
    root.extend(suites)
    for attribute in ("tests", "failures", "errors"):
        root.set(attribute, str(sum(int(suite.attrib[attribute]) for suite in root)))
    Tree.indent(root)
    return Tree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _suites(run: RunReport) -> Iterator[Tree.Element]:
    yield _answer(run)
    yield _facts(run)
    yield _groups(run)
    yield _numbers(run)
    yield _claims(run)


def _answer(run: RunReport) -> Tree.Element:
    suite, top = new_suite(f"{run.name}: answer"), head(run.verified)
    case = new_case(suite, top.first)
    lines = [top.on_paper, *(f"{name}: {text}" for name, text in top.ran), *top.notes]
    text = "\n".join([*lines, f"numbers: {top.numbers}", f"findings: {top.findings}"])
    if top.exit_code == EXIT_FAILED:
        Tree.SubElement(case, "failure", type=top.outcome, message=clean(top.why)).text = clean(
            text
        )
    elif top.exit_code:
        Tree.SubElement(case, "skipped", message=clean(top.first))
    Tree.SubElement(case, "system-out").text = clean(f"{top.first}\n{text}")
    return counted(suite)


def _facts(run: RunReport) -> Tree.Element:
    """A case for the run and for each fine-tune, with the facts that are not equal."""
    suite = new_suite(f"{run.name}: facts")
    by_subject: dict[str, list[FactCheck]] = {}
    for check in run.verified.facts:
        by_subject.setdefault(check.subject, []).append(check)
    for subject, checks in by_subject.items():
        verdict = worst(check.verdict for check in checks)
        wrong = [fact_text(c) for c in checks if c.verdict is not Verdict.REPRODUCED]
        text = "\n".join(wrong or [f"{len(checks)} facts are equal to the stored ones"])
        _judged(suite, subject, verdict, text)
    return counted(suite)


def _groups(run: RunReport) -> Tree.Element:
    suite = new_suite(f"{run.name}: groups")
    for group in run.verified.groups:
        name = f"{group.level} {group.name}: {group.what}"
        _judged(suite, name, group.verdict, group_text(group), Level.L2)
    return counted(suite)


def _numbers(run: RunReport) -> Tree.Element:
    suite = new_suite(f"{run.name}: cells")
    for number in run.verified.judged:
        _judged(suite, number.name, number.verdict, number_text(number), number.level)
    for figure in run.verified.figures:
        _judged(suite, figure.name, figure.verdict, figure.reason, Level.L3)
    return counted(suite)


def _claims(run: RunReport) -> Tree.Element:
    suite = new_suite(f"{run.name}: findings")
    for claim in run.verified.claims:
        case = new_case(suite, f"{claim.claim.id}: {claim.claim.finding}")
        text = "\n".join(f"{item.verdict}: {contrast_text(item)}" for item in claim.contrasts)
        if claim.verdict is Answer.NOT_RUN:
            Tree.SubElement(case, "skipped", message=claim.verdict)
        elif claim.contradicts and run.verified.claims_count:
            failure = Tree.SubElement(case, "failure", type=claim.verdict, message=claim.verdict)
            failure.text = clean("\n".join([*claim.contradicts, text]))
        Tree.SubElement(case, "system-out").text = clean(f"{claim.verdict}\n{text}")
    return counted(suite)


def new_suite(name: str) -> Tree.Element:
    """A suite without cases."""
    return Tree.Element("testsuite", name=clean(name))


def new_case(suite: Tree.Element, name: str) -> Tree.Element:
    """A case that passes, appended to a suite."""
    return Tree.SubElement(
        suite, "testcase", classname=suite.attrib["name"], name=clean(name), time="0"
    )


def _judged(
    suite: Tree.Element, name: str, verdict: Verdict, text: str, level: Level | None = None
) -> None:
    """A case of a number, with its verdict on the first line of its output."""
    case = new_case(suite, name)
    if verdict is Verdict.NOT_REPRODUCED:
        failure = Tree.SubElement(case, "failure", type=verdict, message=outcome(verdict, level))
        failure.text = clean(text)
    elif not verdict.passes:
        Tree.SubElement(case, "skipped", message=outcome(verdict, level))
    Tree.SubElement(case, "system-out").text = clean(f"{verdict}\n{text}")


def counted(suite: Tree.Element) -> Tree.Element:
    """A suite with the numbers of its cases."""
    cases = suite.findall("testcase")
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": 0,
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    suite.attrib.update({name: str(count) for name, count in counts.items()}, time="0")
    return suite


def clean(text: str) -> str:
    """Text that may stand in XML 1.0; line breaks stay."""
    return "\n".join(map(printable, text.split("\n")))
