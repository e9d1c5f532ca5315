"""The two prompt sets and how demonstrations are joined (paper Table 5; AUDIT A11).

The wording is that of the authors' prompt map, which differs from Table 5 in its blanks.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from repro.paper.tasks import TASKS, Task

Spacing = Literal["code", "paper"]
Row = Mapping[str, str]

SEPARATOR = "\n\n"
"""What stands between demonstrations, and before the query (a blank line)."""

TEMPLATES: dict[str, dict[str, str]] = {
    "p1": {
        "summary": "### Input:\n{input}\n### Summary:",
        "question": "### Input:\n{input}\n### Answer:\n{answer}\n### Question:",
        "sentiment": "### Input:\n{input}\n### Sentiment:",
        "paraphrase": "### Input_1:\n{input_1}\n### Input_2:\n{input_2}\n"
        "### Paraphrase Classification:",
        "nli": "### Input_1:\n{input_1}\n### Input_2:\n{input_2}\n### Inference:",
    },
    "p2": {
        "summary": "Please read the following text:{input}\nProvide a summary:",
        "question": "Given the context:{input}\nAnd the answer:{answer}\n"
        "Generate a suitable question:",
        "sentiment": "Analyze the sentiment of the following text:{input}\nSentiment:",
        "paraphrase": "Let's compare the two sentences: Sentence_1:{input_1}\n"
        "Sentence_2:{input_2}\n"
        "Are they paraphrasing?:",
        "nli": "Consider the following texts: Text 1:{input_1}\nText 2:{input_2}\nThe relation is ",
    },
}


def template(task: Task, prompt: str, *, spacing: Spacing = "code", strip: bool = False) -> str:
    """The prompt of a task with its fields as `{name}`.

    Args:
        prompt: "p1" or "p2".
        spacing: "code" as in the authors' prompt map; "paper" puts a blank between a colon and
            a field and runs lines together in p2, as Table 5 prints it (AUDIT A11).
        strip: drop a trailing blank (only p2 of nli has one; AUDIT A5).
    """
    text = TEMPLATES[prompt][task.name]
    if spacing == "paper" and prompt == "p2":
        text = text.replace(":{", ": {").replace("\n", " ")
    return text.rstrip(" ") if strip else text


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


assert all(set(templates) == set(TASKS) for templates in TEMPLATES.values())
