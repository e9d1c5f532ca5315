"""Every section of docs/AUDIT.md that the kit cites is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from repro.audit.findings import FINDINGS
from repro.report.citations import linked
from repro.studies.paper.protocols import switches

ROOT = Path(__file__).parents[1]
AUDIT = (ROOT / "docs" / "AUDIT.md").read_text(encoding="utf-8")
HEADINGS = set(re.findall(r"^##+ ([A-G]\d*)\. \S", AUDIT, re.M))
FOLDERS = ("repro", "tests", "tools", "benchmarks", "docs", "docker", "expected_results/audit")
KINDS = (".py", ".md", ".toml", ".json")
# "C12" is a claim, and "A100" a GPU.
CODE = r"(?:[ABDEFG]\d{0,2}|C)\b"
# "AUDIT A2, A10 and A11", "audit (A4, A5)", and whole pairs of brackets such as "(A8, D3)".
CITED = re.compile(
    rf"(?:AUDIT|[Aa]udit)(?:\.md`?)?,?:? ?\(?({CODE}(?:(?:,| and| to|, and) {CODE})*)"
    rf"|\(([ADE]\d\d?(?:, {CODE})*)\)"
)


def citations() -> Iterator[tuple[str, str]]:
    """File and code of every citation."""
    paths = [ROOT / "README.md"]
    for folder in FOLDERS:
        paths += [
            p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".md", ".toml", ".json")
        ]
    for path in paths:
        for match in CITED.finditer(path.read_text(encoding="utf-8")):
            for code in re.findall(CODE, match[1] or match[2]):
                yield str(path.relative_to(ROOT)), code


def test_every_cited_section_exists() -> None:
    found = [*citations()]
    assert len(found) > 100
    assert [(path, code) for path, code in found if code not in HEADINGS] == []


def test_switches_and_findings_name_sections() -> None:
    for switch in switches().values():
        assert set(switch.audit.split(", ")) <= HEADINGS, switch.name
    assert {finding.section for finding in FINDINGS} <= HEADINGS


@pytest.mark.parametrize("section", sorted(HEADINGS))
def test_sections_can_be_linked(section: str) -> None:
    assert f'<a id="{section.lower()}"></a>\n\n##' in AUDIT
    assert f"- [{section}](#{section.lower()}) " in AUDIT


def test_terminals_get_links() -> None:
    console = Console(force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(linked("A2, A10"))
    shown = capture.get()
    for code in ("a2", "a10"):
        assert f"{(ROOT / 'docs' / 'AUDIT.md').as_uri()}#{code}\x1b" in shown
    assert linked("A2, A10").plain == "A2, A10"
