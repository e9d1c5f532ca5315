"""What is computed, and from a cell and its rows to token ids by the protocol's switches.

See AUDIT A3, A5, A11.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from repro.errors import ReproError
from repro.spec.cells import Cell
from repro.spec.prompts import Row, common_prefix, context, fill
from repro.spec.protocol import Protocol
from repro.spec.study import Evaluation
from repro.spec.targets import BEFORE
from repro.spec.tasks import Kind, Task

Tokenizer = Any
"""A tokenizer of transformers."""

_OTHER = "use a model whose tokenizer splits these labels differently"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cells are computed."""

    token_budget: int  # rows times tokens that a batch may hold, tokens to come included
    max_new_tokens: int  # length of a generation, already scaled to the profile's model
    share_prefix: bool = True  # compute what prompts begin with once, where the model allows it


@dataclass(frozen=True)
class Job:
    """A cell with its rows."""

    asked: Evaluation
    rows: datasets.Dataset  # to score, with "row", the task's input fields and "output"
    demonstrations: datasets.Dataset  # in the order shown; the first `cell.shots` are used

    @property
    def cell(self) -> Cell:
        return self.asked.cell


@dataclass(frozen=True)
class Encoded:
    """The prompts of a cell."""

    rows: list[dict[str, Any]]
    hashes: list[str]  # sha256 of each prompt's text (UTF-8, without BOS)
    prompts: Sequence[Sequence[int]]  # token ids, BOS included
    # Of the demonstrations alone, BOS included, for every non-zero shot count of the task up to the
    # cell's: each is meant to begin the next, and the last to begin every prompt.
    contexts: list[list[int]]
    labels: dict[str, int]  # id of each one's scored token, in Table 4's order; none to generate


@dataclass(frozen=True)
class Texts:
    """The prompts of a cell as text: `before` + query each."""

    contexts: list[str]  # as of `Encoded`
    before: str  # the last of them; at 0 shots the stray blank of `zero_shot_blank`, or nothing
    queries: list[str]  # a row each; they depend neither on the model nor on the shot count


def adds_bos(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts its BOS before a text by itself.

    Where it does not (SmolLM2), the model has not been trained with one, and no prompt gets any.
    """
    bos = tokenizer.bos_token_id
    return bos is not None and tokenizer("a")["input_ids"][:1] == [bos]


def bos_count(asked: Evaluation, tokenizer: Tokenizer, protocol: Protocol) -> int:
    """How many BOS tokens open the cell's prompts (AUDIT A3).

    The published code differs between paths: 0-shot generation and few-shot classification are
    switches, the two others have one under every protocol.
    """
    if not adds_bos(tokenizer):
        return 0
    generation, shots = asked.task.kind is Kind.GENERATION, asked.cell.shots
    if generation and shots == 0:
        return protocol.bos_zero_shot_generation
    if not generation and shots > 0:
        return protocol.bos_few_shot_classification
    return 1


def texts(
    asked: Evaluation, rows: Sequence[Row], demonstrations: Sequence[Row], protocol: Protocol
) -> Texts:
    """The prompts of a cell as text; raises ReproError for too few demonstrations."""
    cell, task = asked.cell, asked.task
    shown = demonstrations[: cell.shots]
    if len(shown) < cell.shots:
        raise ReproError(
            f"{cell.name} needs {cell.shots} demonstrations, {asked.shown.name} has {len(shown)}",
            hint="check the file of demonstrations with: repro data check",
        )
    text, _ = _template(asked, task, protocol)
    other = asked.shown.task
    shown_text, joint = _template(asked, other, protocol)
    counts = [shots for shots in task.shots if 0 < shots < cell.shots]
    counts += [cell.shots] if cell.shots else []
    contexts = [context(other, shown_text, shown[:shots], joint=joint) for shots in counts]
    blank = " " if protocol.zero_shot_blank else ""
    queries = [fill(task, text, row) + _written(row)[0] for row in rows]
    return Texts(contexts, contexts[-1] if contexts else blank, queries)


def _written(row: Row) -> tuple[str, str]:
    """What a model has written when it comes to the label, and the blank before that."""
    before = row.get(BEFORE, "")
    text = before.rstrip(" ")
    return text, before[len(text) :]


def encode(job: Job, tokenizer: Tokenizer, protocol: Protocol) -> Encoded:
    """The prompts of a cell as token ids.

    Raises:
        ReproError: no rows, too few demonstrations, or labels that are not told apart.
    """
    asked, rows = job.asked, job.rows.to_list()
    head = [tokenizer.bos_token_id] * bos_count(asked, tokenizer, protocol)
    if not rows:
        raise ReproError(
            f"{job.cell.name} has no rows to score",
            hint="ask for more with --rows, or turn a switch that drops rows to keep",
        )
    parts = texts(asked, rows, job.demonstrations.to_list(), protocol)
    whole = [parts.before + query for query in parts.queries]
    contexts = [head + ids for ids in _tokenize(tokenizer, parts.contexts)]
    if protocol.query_tokens == "separate" and contexts:
        prompts = [contexts[-1] + ids for ids in _tokenize(tokenizer, parts.queries)]
    else:
        prompts = [head + ids for ids in _tokenize(tokenizer, whole)]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in whole]
    return Encoded(rows, hashes, prompts, contexts, _labels(asked, rows, tokenizer, protocol))


def first_tokens(
    tokenizer: Tokenizer, prompt: str, labels: Sequence[str], *, joint: str = ""
) -> dict[str, int]:
    """The first token of each label behind a prompt, found by tokenising both ways.

    It is the token at which prompt + label departs from the prompt's own tokens. Where the
    prompt's end fuses with the label (a trailing blank does), that lies before the prompt's end.

    Args:
        joint: put between prompt and label.

    Raises:
        ReproError: two labels begin with the same token there.
    """
    alone, *joined = _tokenize(tokenizer, [prompt, *(prompt + joint + label for label in labels)])
    found: dict[str, int] = {}
    for label, ids in zip(labels, joined, strict=True):
        departure = common_prefix([alone, ids])
        if departure == len(ids):
            raise ReproError(
                f"label '{label}' is no token of its own behind '{prompt[-20:]}'", hint=_OTHER
            )
        token = ids[departure]
        for other, taken in found.items():
            if taken == token:
                piece = tokenizer.convert_ids_to_tokens(token)
                raise ReproError(
                    f"labels '{other}' and '{label}' begin with the same token '{piece}' ({token})"
                    f" behind '{prompt[-20:]}', so one forward pass cannot tell them apart",
                    hint=_OTHER,
                )
        found[label] = token
    return found


def _template(asked: Evaluation, task: Task, protocol: Protocol) -> tuple[str, str]:
    """The cell's template for rows of a task, and what stands between a prompt and its answer.

    That is nothing, but where a trailing blank is stripped: it then belongs to the answer.
    """
    whole = asked.prompt.text(task, spacing=protocol.prompt2_spacing)
    if protocol.trailing_blank == "keep":
        return whole, ""
    text = asked.prompt.text(task, spacing=protocol.prompt2_spacing, strip=True)
    return text, whole[len(text) :]


def _labels(
    asked: Evaluation, rows: Sequence[Row], tokenizer: Tokenizer, protocol: Protocol
) -> dict[str, int]:
    """The scored token of each label. One row serves: all prompts end in the template's words.

    Where models have written something before the label, one row of each such text.
    """
    task = asked.task
    labels = task.labels
    if asked.dataset.occurring and protocol.rte_labels == "occurring":
        labels = asked.dataset.occurring
    if not labels:
        return {}
    text, joint = _template(asked, task, protocol)
    if protocol.label_tokens == "prompt-1":
        text, joint = asked.first.text(task), ""
    if BEFORE not in rows[0]:
        return first_tokens(tokenizer, fill(task, text, rows[0]), labels, joint=joint)
    found = {}
    for row in {row[BEFORE]: row for row in rows}.values():
        written, blank = _written(row)
        prompt = fill(task, text, row) + written
        found[row[BEFORE]] = first_tokens(tokenizer, prompt, labels, joint=blank or joint)
    first, *others = found.values()
    if any(other != first for other in others):
        raise ReproError(
            f"{asked.cell.name}: the tokens of the labels are not the same behind all texts of the "
            f"target format: {', '.join(map(repr, found))}",
            hint="let all of its texts, or none, have words and a blank before the label",
        )
    return first


def _tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
