"""Texts of others, made safe to show: what cannot be printed is written out as an escape."""


def printable(text: object) -> str:
    """The text with control characters, line breaks and the like as `\\x1b`.

    Such characters could move a terminal's cursor, turn a line round, or stand in no XML file.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )
