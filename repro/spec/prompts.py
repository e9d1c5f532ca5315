"""Prompt formats, and how demonstrations are joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal

from repro.spec.tasks import Task, check_name

Spacing = Literal["code", "paper"]
Row = Mapping[str, str]

SEPARATOR = "\n\n"
"""What stands between demonstrations, and before the query (a blank line)."""


@dataclass(frozen=True)
class PromptFormat:
    """One way to show a row to a model."""

    name: str
    texts: Mapping[str, str] = field(hash=False)  # by task name, with the task's fields as `{name}`
    # Texts that a paper prints otherwise than its code has them (AUDIT A11).
    printed: Mapping[str, str] = field(default_factory=dict, hash=False)
    fixed: bool = False  # shipped and tested by the kit, so that content keys name it only

    def __post_init__(self) -> None:
        check_name("prompt format", self.name)

    def text(self, task: Task, *, spacing: Spacing = "code", strip: bool = False) -> str:
        """The prompt of a task with its fields as `{name}`; raises ValueError if it has none.

        Args:
            spacing: "paper" for the text as it is printed, where that differs.
            strip: drop trailing blanks (AUDIT A5).
        """
        if task.name not in self.texts:
            raise ValueError(f"prompt format {self.name} has no text for the task {task.name}")
        text = self.texts[task.name]
        if spacing == "paper":
            text = self.printed.get(task.name, text)
        return text.rstrip(" ") if strip else text


@dataclass(frozen=True)
class Template:
    """The prompt of one task, its fields as `{name}`."""

    task: Task
    text: str


def fields_of(text: str) -> set[str]:
    """What a text has as `{name}`; raises ValueError if it is no template."""
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError("a field is its name alone, as {name}")
        return {str(name) for _, name, _, _ in parts}
    except ValueError as error:
        raise ValueError(f"{text!r} is no template: {error}") from None


def check_template(text: str, fields: Sequence[str]) -> None:
    """Raise ValueError unless a text has every field as `{name}`, and no other."""
    if fields_of(text) != set(fields):
        wanted = ", ".join(f"{{{name}}}" for name in fields)
        raise ValueError(f"{text!r} must have {wanted}, each at least once, and no other field")


def fill(task: Task, text: str, row: Row) -> str:
    """The template with the row's input fields; text in braces inside a field stays as it is."""
    return text.format(**{field: row[field] for field in task.fields})


def context(task: Task, text: str, demonstrations: Sequence[Row], *, joint: str = "") -> str:
    """Demonstrations in their order, each prompt + output + blank line; empty without any.

    Args:
        joint: put between prompt and output; empty as in the authors' code (AUDIT A11), a blank
            where the prompt's own trailing blank was stripped.
    """
    return "".join(
        fill(task, text, row) + joint + row["output"] + SEPARATOR for row in demonstrations
    )


def common_prefix(sequences: Sequence[Any]) -> int:
    """How many leading ids all prompts, of one type of sequence, share."""
    # Among sorted sequences, the first and the last share the least.
    low, high = min(sequences), max(sequences)
    for position, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return position
    return min(len(low), len(high))
