"""Nothing stays in the package that only a test, a benchmark or a tool uses."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import repro

ROOT = Path(repro.__file__).parent
# Called from outside: by whoever uses the Python interface, or by a library's base class.
CALLED_FROM_OUTSIDE = {
    "samples_of",
    "on_broken_pipe",
    "get_seq_length",
    "format_commands",
    "model_config",
}


def defined(tree: ast.Module) -> Iterator[str]:
    """Functions, classes, their methods and fields, and module constants."""
    bodies: list[ast.stmt] = [*tree.body]
    bodies += [part for node in tree.body if isinstance(node, ast.ClassDef) for part in node.body]
    for node in bodies:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            registered = {getattr(one, "attr", "") for one in node.decorator_list}
            if "register" not in registered:  # of functools.singledispatch
                yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def used(tree: ast.Module) -> Iterator[str]:
    """Names that are read, attributes, and words of short texts, such as names of fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value) if len(node.value) < 60 else ()


def test_every_name_of_the_package_is_used_in_the_package() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}
    uses = Counter(name for tree in trees.values() for name in used(tree))
    for path in ROOT.rglob("*.j2"):
        uses.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    unused = [
        f"{path.relative_to(ROOT.parent)}: {name}"
        for path, tree in trees.items()
        for name in defined(tree)
        if not uses[name] and not name.startswith("__") and name not in CALLED_FROM_OUTSIDE
    ]
    assert unused == []
