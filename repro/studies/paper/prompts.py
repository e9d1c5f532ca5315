"""The two prompt formats (paper Table 5; AUDIT A11).

The wording is that of the authors' prompt map, which differs from Table 5 in its blanks.
"""

from repro.spec.prompts import PromptFormat, Spacing, Template
from repro.spec.tasks import Task
from repro.studies.paper.tasks import TASKS

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


def _as_printed(text: str) -> str:
    """A blank between a colon and a field, and no line breaks."""
    return text.replace(":{", ": {").replace("\n", " ")


PROMPTS = {
    "p1": PromptFormat("p1", TEMPLATES["p1"], fixed=True),
    "p2": PromptFormat(
        "p2",
        TEMPLATES["p2"],
        {task: _as_printed(text) for task, text in TEMPLATES["p2"].items()},
        fixed=True,
    ),
}


def template(task: Task, prompt: str, *, spacing: Spacing = "code", strip: bool = False) -> str:
    """The prompt of a task with its fields as `{name}`, as of `PromptFormat.text`."""
    return PROMPTS[prompt].text(task, spacing=spacing, strip=strip)


def training_template(task: Task) -> Template:
    """How models are trained on a task: prompt 1."""
    return Template(task, template(task, "p1"))


assert all(set(templates) == set(TASKS) for templates in TEMPLATES.values())
