"""Texts for people: those of others made safe to show, and numbers of things."""


def printable(text: object) -> str:
    """The text with control characters, line breaks and the like as `\\x1b`.

    Such characters could move a terminal's cursor, turn a line round, or stand in no XML file.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def printable_lines(text: str) -> str:
    """`printable`, but for line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def counted(n: int, what: str) -> str:
    """A number of things: `1 cell`, `3 cells`."""
    return f"{n:,} {what}" + "s" * (n != 1)
