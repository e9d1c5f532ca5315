"""What may be the name of a task, data set, training set, prompt format, filter or target."""

import re

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""No dots, hyphens, commas or blanks: these separate names in cells, variants and options."""


def check_name(what: str, name: str) -> None:
    """Raise ValueError unless `name` can stand in the printed name of a cell."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"'{name}' cannot name a {what}: letters, digits and underscores, a letter first"
        )
