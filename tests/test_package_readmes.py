"""Every package says what it holds and how to change it, and names what is there."""

import re
from pathlib import Path

import pytest

import repro

ROOT = Path(repro.__file__).parents[1]
PACKAGES = sorted(
    path.parent for path in (ROOT / "repro").glob("*/__init__.py") if path.parent.name[0] != "_"
)
NAMED = re.compile(r"`([\w.-]*(?:/[\w.-]*)*\.(?:py|toml))`")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_it_says_what_it_holds_and_how_to_change_it(package: Path) -> None:
    text = (package / "README.md").read_text(encoding="utf-8")
    assert "How to change it" in text
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    words = set(re.findall(r"\w+", text))
    assert modules - words == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_files_that_it_names_are_there(package: Path) -> None:
    named = NAMED.findall((package / "README.md").read_text(encoding="utf-8"))
    folders = (package, ROOT, ROOT / "tests" / package.name)
    assert [n for n in named if not any((folder / n).is_file() for folder in folders)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_constants_that_it_names_are_there(package: Path) -> None:
    text = (package / "README.md").read_text(encoding="utf-8")
    constants = set(re.findall(r"`([A-Z][A-Z]+(?:_[A-Z]+)+)`", text))
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "repro").rglob("*.py"))
    code += (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert [name for name in constants if not re.search(rf"\b{name}\b", code)] == []
