"""The rules of the micro-English world, on the rows it makes."""

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import pytest

from repro.data.embedded import EmbeddedData
from repro.data.embedded.source import _made
from repro.errors import ReproError
from repro.spec.prompts import context, fill
from repro.spec.tasks import Kind, Part, Role
from repro.studies.paper.prompts import TEMPLATES, template
from repro.studies.paper.tasks import DATASETS, SIZES, TRAIN_SETS, task_of, training_of
from tools.embedded_model.documents import EVERY_WORD, TASKS, Options, task_document
from tools.embedded_model.tokenizer import build_tokenizer

SOURCE = EmbeddedData()
TESTS = [Part("test", name) for name in DATASETS]
DEMONSTRATIONS = [Part("demonstrations", name) for name in DATASETS]
TRAIN = [Part("train", name, SIZES[-1]) for name in TRAIN_SETS]
FUNCTION_WORDS = set(
    re.findall(
        r"\w+", "the a an is was in on at by of to from and not it i we this that with for as so"
    )
)
PAIRS = [dataset for dataset in DATASETS.values() if "input_1" in dataset.task.fields]


@cache
def inputs(part: Part) -> list[tuple[str, ...]]:
    return [
        tuple(row[field] for field in task_of(part).fields)
        for row in SOURCE.rows(part, task_of(part))
    ]


@pytest.fixture(scope="module")
def documents() -> str:
    """A sample of pre-training: 120 documents of every kind, words parted by blanks."""
    rng = Random(2024)
    made = [
        task_document(rng, kind, 300, Options(meaning=0.5)) for kind in TASKS for _ in range(120)
    ]
    return "\n\n".join(" ".join(token.text for token in document) for document in made)


def digest(part: Part) -> str:
    rows = [
        {name: value for name, value in row.items() if name != "row"}
        for row in SOURCE.rows(part, task_of(part)).to_list()
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_the_rows_are_the_recorded_ones() -> None:
    stored = json.loads(Path(__file__).with_name("embedded_digests.json").read_text())
    sizes = [Part("train", name, size) for name in TRAIN_SETS for size in SIZES]
    found = {str(part): digest(part) for part in [*TESTS, *DEMONSTRATIONS, *sizes]}
    assert found == stored


def test_sizes_and_columns() -> None:
    for part in TESTS:
        rows = SOURCE.rows(part, task_of(part))
        assert len(rows) == 500
        assert rows.column_names == ["row", *task_of(part).fields, "output"]
        assert rows["row"][:] == list(range(500))
    for part in DEMONSTRATIONS:
        four = part.name in ("xsum", "xlsum", "peerread", "cnndm", "tweetqa")
        assert len(SOURCE.rows(part, task_of(part))) == (4 if four else 8)


@pytest.mark.parametrize("name", TRAIN_SETS)
def test_smaller_training_sets_begin_larger_ones(name: str) -> None:
    small, middle, large = (
        list(SOURCE.rows(Part("train", name, size), task_of(Part("train", name, size))))
        for size in SIZES
    )
    assert [len(rows) for rows in (small, middle, large)] == list(SIZES)
    assert large[:4000] == middle
    assert middle[:2000] == small


def test_no_two_splits_share_inputs() -> None:
    for task in {dataset.task.name: dataset.task for dataset in DATASETS.values()}.values():
        parts = [part for part in [*TESTS, *DEMONSTRATIONS, *TRAIN] if task_of(part) == task]
        for part in parts:
            assert len(set(inputs(part))) == len(inputs(part)), part
        for one, two in itertools.combinations(parts, 2):
            assert not set(inputs(one)) & set(inputs(two)), (one, two)


def test_no_training_text_of_a_question_is_tested() -> None:
    # The same text with another answer would be another row, but half of it known.
    train = {row[0] for row in inputs(Part("train", "socialqa", 6000))}
    assert not train & {row[0] for row in inputs(Part("test", "socialqa"))}


def test_few_shots_show_every_label() -> None:
    for part in DEMONSTRATIONS:
        if task_of(part).kind is Kind.CLASSIFICATION:
            shown = SOURCE.rows(part, task_of(part))["output"][: task_of(part).shots[1]]
            expected = task_of(part).labels[:2] if part.name == "rte" else task_of(part).labels
            assert set(shown) == set(expected), part


def test_labels_are_balanced() -> None:
    for part in [*TESTS, *TRAIN]:
        if task_of(part).kind is Kind.CLASSIFICATION:
            counts = Counter(SOURCE.rows(part, task_of(part))["output"])
            assert set(counts) <= set(task_of(part).labels)
            even = 1 / len(counts)
            n = sum(counts.values())
            assert all(
                abs(count / n - even) < 4 * math.sqrt(even * (1 - even) / n)
                for count in counts.values()
            ), (part, counts)


def naive_bayes(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> float:
    """Accuracy on `test` of multinomial naive Bayes on words and pairs of neighbours."""

    def grams(text: str) -> list[str]:
        words = re.findall(r"\w+|[^\w\s]", text)
        return words + [" ".join(pair) for pair in itertools.pairwise(words)]

    counts: dict[str, Counter[str]] = {}
    for text, label in train:
        counts.setdefault(label, Counter()).update(grams(text))
    known = len(set().union(*counts.values()))
    totals = {label: sum(found.values()) + known for label, found in counts.items()}
    prior = Counter(label for _, label in train)

    def best(text: str) -> str:
        return max(
            counts,
            key=lambda label: (
                math.log(prior[label])
                + sum(math.log((counts[label][gram] + 1) / totals[label]) for gram in grams(text))
            ),
        )

    return sum(best(text) == label for text, label in test) / len(test)


@pytest.mark.parametrize("field", ["input_1", "input_2"])
@pytest.mark.parametrize("name", [dataset.name for dataset in PAIRS])
def test_one_input_alone_does_not_tell_the_label(name: str, field: str) -> None:
    """Within 5 points of the majority; out-of-domain baselines train on more of the generator."""
    dataset = DATASETS[name]
    scored = [
        (row[field], row["output"])
        for row in SOURCE.rows(Part("test", name), task_of(Part("test", name)))
    ]
    if dataset.role is Role.IN_DOMAIN:
        rows = list(
            SOURCE.rows(
                Part("train", training_of(dataset.task).name, 6000),
                task_of(Part("train", training_of(dataset.task).name, 6000)),
            )
        )
    else:
        rows = more_rows(name)
    train = [(row[field], row["output"]) for row in rows]
    majority = max(Counter(label for _, label in scored).values()) / len(scored)
    assert naive_bayes(train, scored) < majority + 0.05


def more_rows(name: str) -> list[dict[str, str]]:
    """Rows of an out-of-domain generator beyond its test set, to train a baseline on."""
    from repro.data.embedded.rows import labels_of, make

    task, rng = DATASETS[name].task, Random(77)
    labels = labels_of(name, task)
    return [make(name, task, rng.choice(labels), rng) for _ in range(3000)]


def test_sentiment_can_be_told_from_words() -> None:
    """The baseline is able: it solves what can be solved from one input's words."""
    rows = SOURCE.rows(Part("train", "amazon", 6000), task_of(Part("train", "amazon", 6000)))
    train = [(row["input"], row["output"]) for row in rows]
    tests = [
        (row["input"], row["output"])
        for row in SOURCE.rows(Part("test", "amazon"), task_of(Part("test", "amazon")))
    ]
    assert naive_bayes(train, tests) > 0.8


def test_every_word_has_a_token() -> None:
    tokenizer = build_tokenizer()
    for part in [*TESTS, *DEMONSTRATIONS, *TRAIN]:
        # The rows' words once; those of the other prompts around a few.
        for prompt, count in zip(TEMPLATES, (2000, *[5] * len(TEMPLATES)), strict=False):
            text = template(task_of(part), prompt)
            rows = SOURCE.rows(part, task_of(part))
            whole = context(task_of(part), text, rows.to_list()[:count])
            ids = tokenizer(whole).input_ids
            assert tokenizer.unk_token_id not in ids, (part, tokenizer.decode(ids))
            assert ids[0] == tokenizer.bos_token_id


def test_decoded_text_is_what_was_encoded() -> None:
    tokenizer = build_tokenizer()
    for part in TESTS:
        for row in SOURCE.rows(part, task_of(part)).select(range(20)):
            ids = tokenizer(row["output"], add_special_tokens=False).input_ids
            assert tokenizer.decode(ids) == row["output"]


def test_labels_are_one_token_behind_any_prompt() -> None:
    tokenizer = build_tokenizer()
    for dataset in DATASETS.values():
        row = SOURCE.rows(
            Part("demonstrations", dataset.name), task_of(Part("demonstrations", dataset.name))
        )[0]
        for prompt, label in itertools.product(TEMPLATES, dataset.task.labels):
            text = fill(dataset.task, template(dataset.task, prompt), row)
            alone = tokenizer(text).input_ids
            assert tokenizer(text + label).input_ids == [
                *alone,
                tokenizer.convert_tokens_to_ids(label),
            ]


def test_a_query_is_short() -> None:
    tokenizer = build_tokenizer()
    for part in TESTS:
        text = context(
            task_of(part),
            template(task_of(part), "p1"),
            SOURCE.rows(part, task_of(part)).select(range(100)),
        )
        assert len(tokenizer(text).input_ids) / 100 < 46, part


def test_the_prompts_of_the_paper_are_not_in_pretraining(documents: str) -> None:
    tokenizer = build_tokenizer()
    for prompt in TEMPLATES.values():
        for text in prompt.values():
            for piece in re.split(r"\{\w+\}", text):
                for line in piece.split("\n"):
                    tokens = tokenizer.tokenize(line)
                    if len(tokens) > 1:
                        assert f" {' '.join(tokens)} " not in documents, line


def test_sentence_patterns_of_held_out_sets_are_not_in_pretraining(documents: str) -> None:
    """Content words masked, no sentence of an out-of-domain row occurs in pre-training."""
    content = set(EVERY_WORD) - FUNCTION_WORDS
    tokenizer = build_tokenizer()

    def masked(words: list[str]) -> str:
        return " ".join("_" if word in content and word.islower() else word for word in words)

    seen = masked(documents.split())
    for dataset in DATASETS.values():
        if dataset.role is Role.OUT_OF_DOMAIN:
            field = dataset.task.fields[0]
            for row in SOURCE.rows(
                Part("test", dataset.name), task_of(Part("test", dataset.name))
            ).select(range(60)):
                assert masked(tokenizer.tokenize(row[field])) not in seen, row[field]


def test_pretraining_shares_no_row_with_any_set(documents: str) -> None:
    tokenizer = build_tokenizer()
    flat = " " + " ".join(documents.split()) + " "
    for part in [*TESTS, *DEMONSTRATIONS, *TRAIN]:
        if task_of(part).kind is Kind.GENERATION or task_of(part).name == "sentiment":
            for row in SOURCE.rows(part, task_of(part)).select(
                range(min(60, len(SOURCE.rows(part, task_of(part)))))
            ):
                text = " ".join(tokenizer.tokenize(row["input"]))
                assert f" {text} " not in flat, text


def test_more_rows_than_the_world_has_is_an_error_that_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as tries are in vain; with all of them the largest size of a study is there."""
    monkeypatch.setattr("repro.data.embedded.rows.TRIES", 1)
    _made.cache_clear()
    for _ in range(2):
        with pytest.raises(ReproError, match=r"train/xsum/50000: .* than \d+ different rows"):
            EmbeddedData().rows(Part("train", "xsum", 50000), TRAIN_SETS["xsum"].task)
    _made.cache_clear()
