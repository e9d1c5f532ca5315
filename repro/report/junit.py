"""The JUnit XML face, for CI servers: a test case a claim and a number.

NOT RUN is skipped; NOT REPRODUCED and INCONCLUSIVE are failures, as for the exit code. A claim
fails where it counts and something is shown otherwise that the published figures have on the
claimed side; else it passes, with its verdict in its output.
"""

from collections.abc import Iterable
from xml.etree import ElementTree as Tree

from repro.report import terminal
from repro.report.model import Report, RunReport
from repro.report.printable import printable
from repro.verify.claimverdicts import Answer
from repro.verify.verdicts import Verdict


def junit(report: Report) -> bytes:
    """The whole report as an XML file: of each run a suite of claims and one of numbers."""
    return document(suite for run in report.runs for suite in (_claims(run), _numbers(run)))


def document(suites: Iterable[Tree.Element]) -> bytes:
    """Suites as an XML file."""
    root = Tree.Element("testsuites", name="repro")
    root.extend(suites)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.attrib[name]) for suite in root)))
    Tree.indent(root)
    return Tree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _claims(run: RunReport) -> Tree.Element:
    suite = new_suite(f"{run.name}: claims")
    for claim in run.verified.claims:
        case = new_case(suite, f"{claim.claim.id}: {claim.claim.finding}")
        text = "\n".join(
            f"{item.verdict}: {terminal.contrast_text(item)}" for item in claim.contrasts
        )
        if claim.verdict is Answer.NOT_RUN:
            Tree.SubElement(case, "skipped", message=claim.verdict)
        elif claim.contradicts and run.verified.claims_count:
            failure = Tree.SubElement(case, "failure", type=claim.verdict, message=claim.verdict)
            failure.text = clean("\n".join([*claim.contradicts, text]))
        Tree.SubElement(case, "system-out").text = clean(f"{claim.verdict}\n{text}")
    return counted(suite)


def _numbers(run: RunReport) -> Tree.Element:
    suite = new_suite(f"{run.name}: cells")
    for number in run.verified.judged:
        case = new_case(suite, number.name)
        text = terminal.number_text(number)
        _judge(case, number.verdict, text)
        Tree.SubElement(case, "system-out").text = clean(f"{number.verdict}\n{text}")
    for figure in run.verified.figures:
        case = new_case(suite, figure.name)
        _judge(case, figure.verdict, figure.reason)
        Tree.SubElement(case, "system-out").text = clean(f"{figure.verdict}\n{figure.reason}")
    return counted(suite)


def new_suite(name: str) -> Tree.Element:
    """A suite without cases."""
    return Tree.Element("testsuite", name=clean(name))


def new_case(suite: Tree.Element, name: str) -> Tree.Element:
    """A case that passes, appended to a suite."""
    return Tree.SubElement(
        suite, "testcase", classname=suite.attrib["name"], name=clean(name), time="0"
    )


def _judge(case: Tree.Element, verdict: Verdict, text: str) -> None:
    if verdict is Verdict.NOT_RUN:
        Tree.SubElement(case, "skipped", message=verdict)
    elif not verdict.passes:
        failure = Tree.SubElement(case, "failure", type=verdict, message=verdict)
        failure.text = clean(text)


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
