"""What the audit reads: rows of a source, and encodings that several findings share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from repro import profiles
from repro.data.source import Source
from repro.evaluate.encode import Job, Tokenizer, common_prefix
from repro.evaluate.encode import encode as encode_prompts
from repro.finetune.encode import Sample, encode
from repro.finetune.recipe import recipe_from
from repro.profiles import Profile
from repro.spec.cells import BASE, Cell, Demonstrations
from repro.spec.protocol import Protocol
from repro.spec.tasks import Kind, Part, Task
from repro.studies.paper.prompts import training_template
from repro.studies.paper.protocols import protocol
from repro.studies.paper.study import study
from repro.studies.paper.tasks import DATASETS, SIZES, TRAIN_SETS, task_of, training_of

Row = dict[str, str]
Value = int | float | str
Values = dict[str, Value]
"""What a finding measures -> its value; the names are those of the stored values."""

FIRST = 250
"""Rows of a test file that the published code scores (AUDIT A7)."""

SCOPES = (("all", None), ("first 250", FIRST))

PAPER = "llama2-7b"
"""The profile of the paper's own sizes and lengths."""

# The snapshot that was audited lacks the two larger XSum training files.
TRAINED = tuple(
    (train, size) for train in TRAIN_SETS for size in SIZES if train != "xsum" or size == SIZES[0]
)
"""The audited training files: name and size as the paper counts it."""

GENERATION = tuple(d.name for d in DATASETS.values() if d.task.kind is Kind.GENERATION)
CLASSIFICATION = tuple(d.name for d in DATASETS.values() if d.task.kind is Kind.CLASSIFICATION)


@dataclass(frozen=True)
class Length:
    """Tokens of a training sample before cutting, BOS, demonstrations and EOS included.

    Attributes:
        source: tokens that carry no label.
        total: source and target.
        kept: label tokens that are left after cutting.
        after: tokens that are left after cutting.
        fused: whether the target's first character shares a token with the prompt's end; not
            looked at with demonstrations, which stand far from it, but for XSum.
    """

    source: int
    total: int
    kept: int
    after: int
    fused: bool

    @property
    def target(self) -> int:
        return self.total - self.source


@dataclass(frozen=True)
class Prompts:
    """The prompts of a cell, as the published code makes them of the first 250 rows.

    Attributes:
        lengths: tokens of each, BOS included.
        context: tokens of the demonstrations, BOS included; 0 without any.
        common: leading tokens that all prompts share.
        openings: the first four ids of each, the different ones.
        joints: the two ids behind the demonstrations, the different ones.
        labels: label -> id of its scored token; empty for generation.
    """

    lengths: list[int]
    context: int
    common: int
    openings: list[tuple[int, ...]]
    joints: list[tuple[int, ...]]
    labels: dict[str, int]


def scored(profile: Profile) -> int:
    """Rows of a test file that are scored, if it has as many."""
    return min(FIRST, profile.sizes.test or FIRST)


class Material:
    """Rows and a tokenizer; what was read or encoded once is kept.

    Args:
        tokenizer: of the model; None where only findings that need none are asked for.
        profile: how many rows are used, and how lengths are scaled; as in the paper by default.
    """

    def __init__(
        self, source: Source, tokenizer: Tokenizer = None, profile: Profile | None = None
    ) -> None:
        self._source = source
        self.tokenizer = tokenizer
        self.profile = profile or profiles.load(PAPER)
        self._rows: dict[Part, list[Row]] = {}
        self._lengths: dict[tuple[str, int], dict[tuple[str, ...], Length]] = {}
        self._prompts: dict[tuple[str, str, int], Prompts] = {}
        self.published: Protocol = protocol("published-code")
        factor = self.profile.scale.length
        self.recipe = recipe_from(self.published, seed=0, dtype="float32", length_factor=factor)
        self.new_tokens = self.profile.new_tokens(self.published)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, without BOS."""
        found = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return list(found)

    def _read(self, part: Part, first: int | None = None) -> list[Row]:
        if part not in self._rows:
            self._rows[part] = self._source.rows(part, task_of(part), first).to_list()[:first]
        return self._rows[part]

    def train(self, name: str, size: int) -> list[Row]:
        """The rows of a training file that are used, all as in the paper."""
        return self._read(Part("train", name, size), self.profile.train_limit(size))

    def test(self, dataset: str, first: int | None = None) -> list[Row]:
        """The rows of a test file, or its first ones, of which a profile may use fewer."""
        rows = self._read(Part("test", dataset))
        return rows if first is None else rows[: min(first, scored(self.profile))]

    def scopes(self, dataset: str) -> list[tuple[str, list[Row]]]:
        """The rows of a test file, and those that are scored, by what they are called."""
        return [(f"{dataset}, {scope}", self.test(dataset, first)) for scope, first in SCOPES]

    def scoped(self) -> Iterator[tuple[str, Task, list[Row]]]:
        """The same of all test files, and the rows of the training files, with their tasks."""
        for dataset in DATASETS.values():
            for scope, rows in self.scopes(dataset.name):
                yield f"test/{scope}", dataset.task, rows
        for train, size in TRAINED:
            yield f"train/{train}/{size}", TRAIN_SETS[train].task, self.train(train, size)

    def demonstrations(self, dataset: str) -> list[Row]:
        """All in-context examples of a test set."""
        return self._read(Part("demonstrations", dataset))

    def shown(self, task: Task, shots: int) -> list[Row]:
        """The in-context examples that FTICL puts before every training sample."""
        return self.demonstrations(training_of(task).dataset)[:shots]

    def lengths(self, train: str, size: int, shots: int) -> list[Length]:
        """The lengths of all samples of a training run, by the kit's own encoder."""
        # Smaller training sets lie inside larger ones; a row's length does not depend on others.
        known = self._lengths.setdefault((train, shots), {})
        task, rows = TRAIN_SETS[train].task, self.train(train, size)
        keys = [tuple(row[field] for field in (*task.fields, "output")) for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        if new:
            known.update(zip(new, _lengths(self, train, shots, list(new.values())), strict=True))
        return [known[key] for key in keys]

    def prompts(self, dataset: str, prompt: str, shots: int) -> Prompts:
        """The prompts of a cell, by the kit's own encoder."""
        key = (dataset, prompt, shots)
        if key not in self._prompts:
            asked = study().evaluation(Cell(BASE, dataset, prompt, Demonstrations(shots)))
            rows = self._source.rows(Part("test", dataset), asked.task)
            shown = self._source.rows(Part("demonstrations", dataset), asked.task)
            rows = rows.select(range(min(scored(self.profile), len(rows))))
            made = encode_prompts(Job(asked, rows, shown), self.tokenizer, self.published)
            context = len(made.contexts[-1]) if made.contexts else 0
            self._prompts[key] = Prompts(
                lengths=[len(ids) for ids in made.prompts],
                context=context,
                common=common_prefix(made.prompts),
                openings=[*dict.fromkeys(tuple(ids[:4]) for ids in made.prompts)],
                joints=[*dict.fromkeys(tuple(ids[context : context + 2]) for ids in made.prompts)],
                labels=made.labels,
            )
        return self._prompts[key]


def _lengths(material: Material, train: str, shots: int, rows: list[Row]) -> list[Length]:
    task, recipe = TRAIN_SETS[train].task, material.recipe
    shown, template = material.shown(task, shots), training_template(task)

    def encoded(**settings: Any) -> list[Sample]:
        own = replace(recipe, **settings)
        return encode(rows, shown, template, material.tokenizer, own)

    whole = cut = apart = encoded(max_length=0)
    if not shots or train == "xsum":
        apart = encoded(max_length=0, label_boundary="separate")
    if max(len(sample.ids) for sample in whole) > recipe.max_length:
        cut = encoded()
    return [
        Length(a.masked, len(a.ids), b.labels, len(b.ids), a.ids != c.ids)
        for a, b, c in zip(whole, cut, apart, strict=True)
    ]
