"""The type of options that name a folder."""

import os
from pathlib import Path
from typing import Any

import click


class Folder(click.Path):
    """A folder that need not exist; "~" is the user's home, also after "=" as in --store=~/x."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path, with "~" expanded."""
        if not str(value).strip():
            self.fail("a folder's name is missing", param, ctx)
        return super().convert(os.path.expanduser(value), param, ctx)


FOLDER = Folder()

STUDY = click.option(
    "--study",
    metavar="NAME|FILE",
    help="Take claims, labels and panels from this study. [default: that of the results]",
)
"""The option of commands that read results."""
