"""Pre-training documents: few-shot documents of many task formats, lists, repeats, plain text.

A document of a task has one format (cue words, marks, line breaks), one set of label words and
one output style, drawn for it; what they are can only be told from its examples. The paper's
prompts and the generators of the out-of-domain sets never occur.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tools.embedded_model import words as own
from tools.embedded_model.carriers import CATEGORIES, Example
from tools.embedded_model.makers import TASKS, Options

NEWLINE, BLANK, BOS, EOS = "\n", "\n\n", "<s>", "</s>"

INPUT_WEIGHT, OUTPUT_WEIGHT = 0.1, 1.0


class Token(NamedTuple):
    """A token's text and the weight of predicting it."""

    text: str
    weight: float


@dataclass(frozen=True)
class Format:
    """How the examples of one document are written."""

    cues: tuple[tuple[str, ...], ...]
    line_before_field: bool
    between: str
    separator: str

    def tokens(self, example: Example) -> list[Token]:
        """One example, with the separator after it."""
        found: list[str] = []
        for cue, field in zip(self.cues, example.fields, strict=False):
            found += cue
            if self.line_before_field and cue:
                found.append(NEWLINE)
            found += field.split()
            if self.between:
                found.append(self.between)
        found += self.cues[-1]
        return [
            *(Token(text, INPUT_WEIGHT) for text in found),
            *(Token(text, OUTPUT_WEIGHT) for text in example.output.split()),
            Token(self.separator, OUTPUT_WEIGHT),
        ]


_LEADS = ("", "", "###", "##", "#", "-", "*", "@")
_TAILS = (":", ":", "=", "->", "|", "=>", "")


def draw_format(rng: Random, fields: int, terse: float) -> Format:
    """A format for a document; with probability `terse` one mark and no cue words.

    The paper's cue words never come with its marks.
    """
    if terse and rng.random() < terse:
        mark = rng.choice(("->", "=", ":", "|", "=>"))
        between = rng.choice((";", "/", NEWLINE)) if fields > 1 else ""
        return Format(((),) * fields + ((mark,),), False, between, BLANK)
    lead, tail = rng.choice(_LEADS), rng.choice(_TAILS)
    plain = lead == "###" or tail == ":"
    cues: list[tuple[str, ...]] = []
    for name in rng.sample(own.CUES, fields + 1):
        word = name if plain or rng.random() < 0.7 else rng.choice(own.PROMPT_WORDS)
        more = (rng.choice(own.CUES),) if rng.random() < 0.15 else ()
        cues.append(tuple(text for text in (lead, word, *more, tail) if text))
    if rng.random() < 0.25:
        cues[0] = ()
    if not cues[-1]:
        cues[-1] = ("->",)
    lines = rng.random() < 0.6
    return Format(
        tuple(cues),
        line_before_field=lines and rng.random() < 0.6,
        between=NEWLINE if lines else rng.choice(("", ";", "|", "/")),
        separator=BLANK if lines or rng.random() < 0.7 else NEWLINE,
    )


EVERY_WORD = tuple(
    dict.fromkeys(
        word
        for words in (*CATEGORIES, own.CUES, own.ARBITRARY_LABELS, own.GRAMMAR, own.PROMPT_WORDS)
        for word in words
    )
)


def repeats(rng: Random, length: int) -> list[Token]:
    """A list of any words, again and again."""
    listed = rng.sample(EVERY_WORD, rng.randint(3, 24))
    found = [Token(BOS, 0.0), *(Token(text, INPUT_WEIGHT) for text in listed)]
    while len(found) < length:
        mark = rng.choice((NEWLINE, BLANK))
        found += [Token(mark, INPUT_WEIGHT), *(Token(text, 0.5) for text in listed)]
    return found[:length]


def task_document(rng: Random, name: str, length: int, options: Options) -> list[Token]:
    """A few-shot document of a kind of task (a key of TASKS), cut to so many tokens."""
    draw, fields = TASKS[name]
    make, style = draw(rng, options), draw_format(rng, fields, options.terse)
    found = [Token(BOS, 0.0)]
    low, high = options.examples
    # A length of so many tokens cannot hold as many examples.
    left = rng.randint(low, high) if high > low else low or length
    while left and len(found) < length:
        found += style.tokens(make(rng))
        left -= 1
    if not left and len(found) < length + (high == 1):
        found[-1] = Token(EOS, OUTPUT_WEIGHT)
    return found[:length]


def document(rng: Random, mix: Mapping[str, float], length: int, options: Options) -> list[Token]:
    """A document of a kind drawn from the mix ("repeats", keys of TASKS, and their weights)."""
    name = rng.choices(list(mix), weights=list(mix.values()))[0]
    if name == "repeats":
        return repeats(rng, length)
    return task_document(rng, name, length, options)
