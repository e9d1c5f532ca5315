"""Target formats: what a fine-tune is to write instead of a row's output, by rule from the row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.spec.prompts import fields_of
from repro.spec.tasks import Task

OUTPUT = "{output}"
PIECES = ("output", "first", "last", "longest", "words", "cue")
"""What a text can hold of a row: its output; that one's first, last and longest word and number of
words; and the longest word of its inputs. Of equally long words the first."""

BEFORE = "before"
"""The field of test rows with what a model has written before it comes to the label."""


@dataclass(frozen=True)
class TargetFormat:
    """One way to write the outputs of a task."""

    # With pieces of the row as `{name}`; of several each row has one, by its inputs.
    texts: tuple[str, ...] = (OUTPUT,)
    # Number of fixed strings: an output becomes the nearest of the first so many different outputs
    # of the training rows. 0 for the output itself.
    strings: int = 0
    names: tuple[str, ...] = ()  # what is written for each fixed string instead of it

    def __post_init__(self) -> None:
        for text in self.texts:
            named = fields_of(text)
            if not named or not named <= set(PIECES):
                wanted = ", ".join(f"{{{name}}}" for name in PIECES)
                raise ValueError(f"{text!r} must have one or more of {wanted}, and no other field")
        if len(set(self.texts)) < max(1, len(self.texts)):
            raise ValueError("a target format needs texts, each once")
        if self.strings == 1 or self.strings < 0:
            raise ValueError("there are two fixed strings or more")
        if self.names and len(set(self.names)) != self.strings:
            raise ValueError(f"{self.strings} fixed strings need as many different names")

    def check(self, task: Task) -> None:
        """Raise ValueError unless the label of a classification task can be read back and scored.

        It stands once in each text, and what stands before it does not depend on the row, so that
        it can be scored behind that.
        """
        if not task.labels:
            return
        if self.strings:
            raise ValueError(f"the task {task.name} has labels, which fixed strings would hide")
        for text in self.texts:
            if text.count(OUTPUT) != 1 or "{" in text[: text.index(OUTPUT)].replace("{{", ""):
                raise ValueError(
                    f"{text!r} must have the label once, and other pieces only behind it"
                )

    @property
    def settings(self) -> Mapping[str, Any]:
        """For content keys."""
        return {"texts": self.texts, "strings": self.strings, "names": self.names}
