"""A group of commands whose help lists them under headings."""

from collections.abc import Mapping, Sequence

import click


class Headed(click.Group):
    """Commands under headings, in the order in which they were added."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.headings: dict[str, list[str]] = {}

    def add_under(self, headings: Mapping[str, Sequence[click.Command]]) -> None:
        """Add the commands of each heading."""
        for heading, commands in headings.items():
            for command in commands:
                self.add_command(command)
                self.headings.setdefault(heading, []).append(str(command.name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a heading, all columns at one place."""
        width = max(len(name) for name in self.commands)
        limit = formatter.width - 6 - width
        for heading, names in self.headings.items():
            with formatter.section(heading):
                rows = [
                    (name.ljust(width), self.commands[name].get_short_help_str(limit))
                    for name in names
                ]
                formatter.write_dl(rows)
