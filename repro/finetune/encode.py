"""Rows to token ids and label masks, with what was cut on the way (AUDIT A2, A3, A11)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from repro.errors import ReproError
from repro.finetune.recipe import Recipe
from repro.spec.prompts import Template, context, fill

Row = Mapping[str, Any]

# Texts after which a target is tokenised on its own; a line break fuses with nothing in the
# tokenizers in use, and what an anchor really does is checked for every target.
_ANCHORS = ("\n", "\n\n", ".", "a")

_CONTEXT = ""
"""Where a row keeps the text before it; no field has an empty name."""


@dataclass(frozen=True)
class Sample:
    """One training sequence: BOS (if the tokenizer adds one), source, target, EOS."""

    ids: tuple[int, ...]  # after cutting
    masked: int  # leading tokens that carry no label; `ids[masked:]` are the labels
    cut: int = 0  # label tokens lost to cutting

    @property
    def labels(self) -> int:
        """Number of label tokens; 0 for a dead sample."""
        return len(self.ids) - self.masked


def encode(
    rows: Sequence[Row],
    demonstrations: Sequence[Row],
    template: Template,
    tokenizer: Any,
    recipe: Recipe,
    contexts: Sequence[str] = (),
) -> list[Sample]:
    """Encode training rows: [demonstrations +] prompt + output + EOS.

    Under `label_boundary` "joint" the tokens of the source alone count how many leading tokens of
    source + target carry no label, as in the authors' dataset class. Under "separate" the target
    keeps its joint tokens where the source's tokens are a prefix of them, and is otherwise
    tokenised behind a line break, so that its first character is a label and no blank is added.

    Under `truncation_side` "right" tokens and mask are cut at `max_length`, which can leave no
    label. Under "source" the end of the row's longest input field is shortened, character by
    character, until the whole sample fits; the cue and the target stay. (A sample may end a few
    characters short of the longest text that fits.)

    Args:
        demonstrations: put before every row, in this order; empty for plain FT.
        contexts: the text before each row, instead of the demonstrations.

    Raises:
        ReproError: a tokenizer without EOS, or a sample that cannot be cut to `max_length`.
    """
    encoder = _Encoder(tokenizer, separate=recipe.label_boundary == "separate")
    task, text = template.task, template.text
    before = contexts or [context(task, text, demonstrations)] * len(rows)

    def encoded(chosen: Sequence[Row]) -> list[Sample]:
        sources = [row[_CONTEXT] + fill(task, text, row) for row in chosen]
        return encoder.samples(sources, [row["output"] for row in chosen])

    rows = [{**row, _CONTEXT: own} for row, own in zip(rows, before, strict=True)]
    samples = encoded(rows)
    limit = recipe.max_length
    long = [i for i, sample in enumerate(samples) if 0 < limit < len(sample.ids)]
    if recipe.truncation_side == "right":
        for i in long:
            whole = samples[i]
            lost = whole.labels - max(0, limit - whole.masked)
            samples[i] = Sample(whole.ids[:limit], min(whole.masked, limit), lost)
    elif long:
        fitted = _shorten(
            [rows[i] for i in long], task.fields, [samples[i] for i in long], limit, encoded
        )
        for i, sample in zip(long, fitted, strict=True):
            if sample is None:
                raise ReproError(
                    f"training row {rows[i].get('row', i)} does not fit into {limit} tokens even "
                    "without its input text",
                    hint="raise the profile's scale of length, or cut nothing: "
                    "repro run --set max_length=0",
                )
            samples[i] = sample
    return samples


def _shorten(
    rows: Sequence[Row],
    names: Sequence[str],
    long: Sequence[Sample],
    limit: int,
    encoded: Callable[[Sequence[Row]], list[Sample]],
) -> list[Sample | None]:
    """Each row's sample with as much input text as fits, or None where none does.

    Searches the number of characters to remove, for all rows at once, between a number known to
    be too small and one known to do. Tokens are nearly proportional to characters, so the first
    rounds interpolate; a sample of exactly `limit` tokens ends the search.
    """
    small = [0] * len(rows)
    excess = [len(sample.ids) - limit for sample in long]
    large = [sum(len(row[name]) for name in names) for row in rows]
    shortest = encoded([_without(row, names, n) for row, n in zip(rows, large, strict=True)])
    best = [sample if len(sample.ids) <= limit else None for sample in shortest]
    for attempt in count():
        middle: dict[int, int] = {}
        for i, sample in enumerate(best):
            if sample and len(sample.ids) < limit and large[i] - small[i] > 1:
                room = large[i] - small[i]
                share = excess[i] / (excess[i] + limit - len(sample.ids)) if attempt < 4 else 0.5
                middle[i] = small[i] + min(max(1, round(room * share)), room - 1)
        if not middle:
            return best
        tried = encoded([_without(rows[i], names, n) for i, n in middle.items()])
        for (i, n), sample in zip(middle.items(), tried, strict=True):
            if len(sample.ids) <= limit:
                best[i], large[i] = sample, n
            else:
                small[i], excess[i] = n, len(sample.ids) - limit
    raise AssertionError("the search above always ends")


def _without(row: Row, names: Sequence[str], count: int) -> Row:
    """The row without `count` characters, from the end of its longest field, then the next."""
    cut = dict(row)
    for name in sorted(names, key=lambda name: -len(row[name])):
        kept = max(0, len(row[name]) - count)
        count -= len(row[name]) - kept
        cut[name] = row[name][:kept]
    return cut


class _Encoder:
    """Tokenises sources and targets with one tokenizer, whatever that tokenizer adds by itself."""

    def __init__(self, tokenizer: Any, *, separate: bool) -> None:
        if tokenizer.eos_token_id is None:
            raise ReproError(
                "the tokenizer has no EOS token, so targets cannot end",
                hint="set eos_token in the tokenizer_config.json beside the weights",
            )
        self._tokenizer = tokenizer
        self._separate = separate
        plain = self._ids(["a"])[0]
        whole = list(tokenizer("a")["input_ids"])
        # What the tokenizer puts first by its own default (Llama: one BOS). A closing token it
        # may add is left out: every target brings its EOS.
        self._first = whole[: whole.index(plain[0])]

    def samples(self, sources: Sequence[str], targets: Sequence[str]) -> list[Sample]:
        alone = self._ids(sources)
        joint = self._ids([a + b for a, b in zip(sources, targets, strict=True)])
        for i, ids in enumerate(alone) if self._separate else ():
            if joint[i][: len(ids)] != ids:
                joint[i] = ids + self._continuation(targets[i])
        first, end = self._first, (self._tokenizer.eos_token_id,)
        pairs = zip(alone, joint, strict=True)
        return [Sample((*first, *ids, *end), len(first) + len(source)) for source, ids in pairs]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [list(ids) for ids in found["input_ids"]]

    def _continuation(self, target: str) -> list[int]:
        """The tokens of a target as they stand behind other text, without fusing with it."""
        for anchor in _ANCHORS:
            before, both = self._ids([anchor, anchor + target])
            if both[: len(before)] == before:
                return both[len(before) :]
        return self._ids([target])[0]
