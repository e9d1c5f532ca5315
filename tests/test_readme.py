"""What the README tells people to type exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from repro import profiles
from repro.cli.main import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Commands stand in code blocks, a line each, or between single backquotes.
BLOCKS = re.findall(r"^```\n(.*?)^```", README, flags=re.M | re.S)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S))
TYPED = [line for block in BLOCKS for line in block.splitlines()] + INLINE
COMMANDS = [re.sub(r"\s+#.*", "", text) for text in TYPED if text.startswith("repro ")]


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_parse(text: str) -> None:
    command: click.Command = cli
    words = shlex.split(text)[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(text, words)


def test_options_of_the_main_job_exist() -> None:
    known = {name for parameter in cli.commands["run"].params for name in parameter.opts}
    named = {word.split("=")[0] for text in INLINE for word in text.split() if word[:2] == "--"}
    assert named <= known


def test_every_profile_is_in_the_table() -> None:
    for name in profiles.names():
        assert f"`{name}`" in README


def test_files_that_it_names_exist() -> None:
    for name in re.findall(r"`((?:repro|expected_results|docker|tests)/[\w./-]*)`", README):
        assert (ROOT / name).exists(), name
