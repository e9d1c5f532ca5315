import dataclasses
from collections.abc import Iterable

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.data import filters
from repro.data.source import features
from repro.data.upstream import UpstreamData
from repro.errors import ReproError
from repro.spec.cells import Demonstrations, Variant
from repro.spec.protocol import Protocol
from repro.spec.tasks import Part, Task
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import DATASETS, TRAIN_SETS, task_of

KEEP = protocol("published-code")
DROP = protocol("corrected")
SWITCHES = (
    "gold_dash",
    "repeated_inputs",
    "empty_inputs",
    "demonstrations_in_test",
    "leaked_rows",
    "demonstrations_in_train",
)


class Rows:
    """A source of a few rows, given as tuples in the order of the task's fields."""

    name = "upstream"

    def __init__(self, **parts: Iterable[tuple[str, ...]]) -> None:
        self.parts = parts

    def rows(self, part: Part, task: Task, first: int | None = None) -> datasets.Dataset:
        keys = (*task.fields, "output")
        rows = [tuple(row) for row in self.parts.get(str(part).replace("/", "_"), [])]
        columns = {key: [row[column] for row in rows] for column, key in enumerate(keys)}
        table = {"row": list(range(len(rows))), **columns}
        return datasets.Dataset.from_dict(table, features=features(task))

    def missing(self, parts: Iterable[Part]) -> list[ReproError]:
        return []


def with_only(switch: str) -> Protocol:
    kept = dataclasses.replace(KEEP, **dict.fromkeys(SWITCHES, "keep"), rows=500)
    return dataclasses.replace(kept, **{switch: "drop"}) if switch else kept


def numbers(selected: filters.Selected) -> list[int]:
    return list(selected.rows["row"])


NLI = Rows(
    test_mnli1=[
        ("A man eats.", "He sleeps.", "contradiction"),
        ("A man eats.", "He eats.", "-"),
        ("a man EATS", "he sleeps!", "neutral"),
        (" ", "He eats.", "entailment"),
        ("Shown.", "This one.", "neutral"),
        ("Shown.", "Too late for any context.", "neutral"),
    ],
    demonstrations_mnli1=[
        ("shown", "this one", "entailment"),
        *((f"Filler {i}.", "None.", "neutral") for i in range(6)),
        ("Shown.", "Too late for any context.", "neutral"),
    ],
)


@pytest.mark.parametrize(
    ("switch", "left"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("gold_dash", [0, 2, 3, 4, 5]),
        ("repeated_inputs", [0, 1, 3, 4, 5]),
        ("empty_inputs", [0, 1, 2, 4, 5]),
        ("demonstrations_in_test", [0, 1, 2, 3, 5]),
        ("leaked_rows", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_each_switch_drops_its_own_rows(switch: str, left: list[int]) -> None:
    selected = filters.test_rows(NLI, DATASETS["mnli1"], with_only(switch))
    assert numbers(selected) == left
    assert selected.dropped == ({switch: 1} if len(left) < 6 else {})


def test_first_rows_are_taken_before_any_is_dropped() -> None:
    for cap, left in ((6, [0, 5]), (5, [0]), (2, [0])):
        everything = dataclasses.replace(DROP, rows=cap)
        assert numbers(filters.test_rows(NLI, DATASETS["mnli1"], everything)) == left
        assert numbers(filters.test_rows(NLI, DATASETS["mnli1"], DROP, limit=cap)) == left
    assert numbers(filters.test_rows(NLI, DATASETS["mnli1"], with_only(""), limit=3)) == [0, 1, 2]


def test_question_asked_again_of_one_text_counts_as_repeated() -> None:
    source = Rows(
        test_tweetqa=[
            ("A tweet.", "one", "What?"),
            ("a tweet", "two", "Who?"),
            ("Other.", "x", "How?"),
        ]
    )
    assert numbers(
        filters.test_rows(source, DATASETS["tweetqa"], with_only("repeated_inputs"))
    ) == [0, 2]


PAWS = Rows(
    test_paws=[("a b", "c d", "yes"), ("a b", "e f", "no"), ("a b", "g h", "no")],
    test_qqp=[("a b", "c d", "yes")],
    train_paws_6000=[("a b", "x y", "yes"), ("x y", "c d", "yes"), ("c d", "e f", "no")],
)


def test_leaked_rows_go_by_the_largest_training_set_and_for_paws_alone() -> None:
    selected = filters.test_rows(PAWS, DATASETS["paws"], with_only("leaked_rows"))
    assert (numbers(selected), selected.dropped) == ([2], {"leaked_rows": 2})
    assert numbers(filters.test_rows(PAWS, DATASETS["qqp"], with_only("leaked_rows"))) == [0]
    # The second test row's label needs the third training row, which the profile does not use.
    fewer = filters.test_rows(PAWS, DATASETS["paws"], with_only("leaked_rows"), leaking=2)
    assert (numbers(fewer), fewer.dropped) == ([1, 2], {"leaked_rows": 1})


def test_nothing_left_is_an_error_that_names_the_switches() -> None:
    with pytest.raises(ReproError) as caught:
        filters.test_rows(PAWS, DATASETS["paws"], with_only("leaked_rows"), limit=2)
    assert "test/paws" in str(caught.value)
    assert "leaked_rows drops 2" in str(caught.value)
    with pytest.raises(ReproError):
        filters.test_rows(PAWS, DATASETS["paws"], dataclasses.replace(KEEP, rows=0))


TRAINING = Rows(
    train_amazon_2000=[
        ("Fine.", "positive"),
        ("  ", "negative"),
        ("Good, I say!", "positive"),
        ("Bad.", "negative"),
        ("Good, I say!", "positive"),
    ],
    demonstrations_amazon=[("good i say", "positive")],
)


@pytest.mark.parametrize("variant", ["amazon-ft-2000", "amazon-fticl2-2000"])
def test_training_rows_drop_what_is_empty_or_shown(variant: str) -> None:
    chosen = VARIANTS[variant]
    selected = filters.train_rows(TRAINING, TRAIN_SETS[chosen.train], chosen.size, DROP)
    assert numbers(selected) == [0, 3]
    assert selected.dropped == {"empty_inputs": 1, "demonstrations_in_train": 2}
    assert numbers(
        filters.train_rows(TRAINING, TRAIN_SETS[chosen.train], chosen.size, DROP, limit=4)
    ) == [0, 3]
    kept = filters.train_rows(TRAINING, TRAIN_SETS[chosen.train], chosen.size, KEEP)
    assert (numbers(kept), kept.dropped) == ([0, 1, 2, 3, 4], {})


words = st.sampled_from(["a", "b", "A", "", " ", "a b"])
labels = st.sampled_from(["yes", "no", "-"])
pairs = st.lists(st.tuples(words, words, labels), max_size=12)


@settings(max_examples=50)
@given(pairs, pairs, pairs, st.integers(0, 14), st.sets(st.sampled_from(SWITCHES)))
def test_rows_are_kept_in_order_or_counted(
    test: list[tuple[str, ...]],
    shown: list[tuple[str, ...]],
    train: list[tuple[str, ...]],
    cap: int,
    switches: set[str],
) -> None:
    source = Rows(test_paws=test, demonstrations_paws=shown, train_paws_6000=train)
    chosen = dataclasses.replace(with_only(""), **dict.fromkeys(switches, "drop"), rows=cap)
    asked = min(cap, len(test))
    try:
        selected = filters.test_rows(source, DATASETS["paws"], chosen)
    except ReproError:
        assert asked == 0 or switches
        return
    left = numbers(selected)
    assert left == sorted(set(left))
    assert max(left) < asked
    assert len(left) + sum(selected.dropped.values()) == asked
    assert set(selected.dropped) <= switches
    assert (
        selected.rows.features
        == source.rows(Part("test", "paws"), task_of(Part("test", "paws"))).features
    )
    for index in left:
        one, two, label = test[index]
        assert selected.rows[left.index(index)] == {
            "row": index,
            "input_1": one,
            "input_2": two,
            "output": label,
        }
        assert not ("gold_dash" in switches and label == "-")
        assert not ("empty_inputs" in switches and not (one.strip() and two.strip()))


# The authors' files: (dataset, switch) -> rows dropped of the first 250 and of all 500.
AUDITED = {
    ("mnli1", "gold_dash"): (2, 8),  # A5
    ("mnli2", "gold_dash"): (6, 16),
    ("tweetqa", "empty_inputs"): (15, 20),  # A8, D4
    ("gptnli", "empty_inputs"): (1, 6),
    ("tweetqa", "repeated_inputs"): (19, 33),  # D3
    ("gptnli", "repeated_inputs"): (0, 1),
    ("sciqa", "repeated_inputs"): (0, 1),
    ("paws", "leaked_rows"): (106, 209),  # A4
}
# A9, those among the demonstrations that a shot count of the paper shows.
SHOWN = {
    "cnndm": [67, 159, 321, 340],
    "socialqa": [229],
    "tweetqa": [111],
    "sciqa": [154],
    "sst2": [145, 277],
    "paws": [248, 406],
    "stsb": [313],
    "mnli1": [18],
    "rte": [163],
}


@pytest.mark.parametrize("switch", ["gold_dash", "empty_inputs", "repeated_inputs", "leaked_rows"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_authors_rows_are_dropped_as_audited(
    upstream: UpstreamData, dataset: str, switch: str
) -> None:
    expected = AUDITED.get((dataset, switch), (0, 0))
    for cap, count in zip((250, 500), expected, strict=True):
        selected = filters.test_rows(upstream, DATASETS[dataset], with_only(switch), limit=cap)
        assert selected.dropped == ({switch: count} if count else {})


@pytest.mark.parametrize("dataset", DATASETS)
def test_authors_demonstrations_are_found_in_their_test_sets(
    upstream: UpstreamData, dataset: str
) -> None:
    selected = filters.test_rows(upstream, DATASETS[dataset], with_only("demonstrations_in_test"))
    everything = len(upstream.rows(Part("test", dataset), task_of(Part("test", dataset))))
    assert sorted(set(range(everything)) - set(numbers(selected))) == SHOWN.get(dataset, [])


def test_published_code_scores_the_first_250_rows(upstream: UpstreamData) -> None:
    for dataset in DATASETS:
        selected = filters.test_rows(upstream, DATASETS[dataset], KEEP)
        assert numbers(selected) == list(range(250))
        assert selected.dropped == {}


@pytest.mark.parametrize(
    ("variant", "gone"),
    [  # A9 and D4: XSum row 178 is empty
        (Variant("xsum", 2000), {178, 435}),
        (Variant("xsum", 2000, Demonstrations(2)), {178, 435}),
        (Variant("socialqa", 2000), {639, 1165}),
        (Variant("amazon", 2000, Demonstrations(2)), {863, 1195, 1510}),
        (Variant("paws", 2000), {1905}),
        (Variant("mnli", 6000), set()),
    ],
    ids=lambda value: value.name if isinstance(value, Variant) else "",
)
def test_authors_training_rows_are_dropped_as_audited(
    upstream: UpstreamData, variant: Variant, gone: set[int]
) -> None:
    left = numbers(filters.train_rows(upstream, TRAIN_SETS[variant.train], variant.size, DROP))
    assert set(range(variant.size)) - set(left) == gone
    assert numbers(
        filters.train_rows(upstream, TRAIN_SETS[variant.train], variant.size, KEEP)
    ) == list(range(variant.size))
