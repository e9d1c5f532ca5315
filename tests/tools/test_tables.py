"""The computed tables in the documentation are those that the code computes."""

from pathlib import Path

from tools import tables

ROOT = Path(__file__).parents[2]


def test_the_readme_has_the_table_of_gpus() -> None:
    assert tables.gpu_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_documentation_has_the_table_of_memory() -> None:
    assert tables.memory_table() in (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
