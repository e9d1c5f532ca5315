"""Imports run one way, as the design draws them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "repro"

# What every package may import, besides what these import in turn and the small modules below.
ARROWS: dict[str, set[str]] = {
    "spec": set(),
    "profiles": {"spec"},
    "studies": {"spec"},
    "machine": set(),
    "data": {"spec"},
    "models": {"machine"},
    "metrics": {"spec"},
    "finetune": {"models", "spec"},
    "evaluate": {"models", "metrics"},
    "selftest": {"finetune", "evaluate"},
    "plan": {"finetune", "evaluate", "data", "profiles", "selftest"},
    "execute": {"plan", "results"},
    "results": {"spec", "metrics"},
    "verify": {"results", "studies", "metrics"},
    "report": {"verify", "profiles"},
    "audit": {"finetune", "evaluate", "data", "studies", "report"},
    "container": set(),
    "cli": {"plan", "execute", "export", "audit", "container", "studies", "profiles"},
    "api": {"report"},
    "export": {"api", "plan"},
}
# Modules of no package, which import each other only.
SMALL = {
    "bars",
    "clock",
    "console",
    "errors",
    "extras",
    "files",
    "late",
    "lines",
    "locks",
    "printable",
    "resources",
    "tables",
}
NO_TORCH = ("spec", "results", "studies", "profiles", "metrics", "verify", "report")


def package(module: str) -> str:
    """The package of a module; the self-test trains and evaluates, the rest of machine does not."""
    if module.startswith("repro.machine.selftest"):
        return "selftest"
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """All modules of the kit that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("repro."))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            parts = node.module.split(".")
            if parts[0] == "repro":
                yield from (f"{node.module}.{name.name}" for name in node.names)


def allowed(name: str) -> set[str]:
    found = {name}
    for other in ARROWS[name]:
        found |= allowed(other)
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    module = ".".join(["repro", *path.relative_to(ROOT).with_suffix("").parts])
    own = package(module)
    if own == "__init__":
        return
    for name in imports(path):
        other = package(name)
        if other in ("__version__", *SMALL):
            continue
        assert own not in SMALL, f"{module} imports {name}"
        assert other in allowed(own), f"{module} imports {name}"


def test_every_package_has_its_arrows() -> None:
    there = {
        package(".".join(["repro", *p.relative_to(ROOT).with_suffix("").parts])) for p in FILES
    }
    assert there - {"__init__", *SMALL} == set(ARROWS)


def test_the_engine_knows_no_study() -> None:
    for name in ("data", "models", "finetune", "evaluate", "metrics", "plan", "execute"):
        assert "studies" not in allowed(name)


def test_what_a_reviewer_needs_is_light() -> None:
    """No engine behind verdicts and reports."""
    for name in NO_TORCH:
        assert not allowed(name) & {"finetune", "evaluate", "models", "plan", "execute", "data"}
