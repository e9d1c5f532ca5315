"""Where the files lie that ship beside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def expected_results() -> Path:
    """The references and the paper's numbers: of the checkout, or inside an installed package."""
    inside = _PACKAGE / "expected_results"
    return inside if inside.is_dir() else _PACKAGE.parent / "expected_results"
