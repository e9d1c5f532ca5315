"""Links to the sections of docs/AUDIT.md, which switches and findings name by their codes."""

import re
from pathlib import Path

from rich.text import Text

AUDIT = Path(__file__).parents[2] / "docs" / "AUDIT.md"
NAME = "docs/AUDIT.md"
"""What the document is called in texts; an installed wheel does not hold it."""


def linked(sections: str) -> Text:
    """Codes such as "A2, A10", in a checkout each a link to its section."""
    found = Text()
    for part in re.split(r"([A-G]\d*)", sections):
        link = AUDIT.is_file() and re.fullmatch(r"[A-G]\d*", part)
        style = f"link {AUDIT.as_uri()}#{part.lower()}" if link else ""
        found.append(part, style=style)
    return found
