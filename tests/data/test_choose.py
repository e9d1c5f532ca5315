"""Row filters, and demonstrations of each row, on the rows themselves."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.data.choose import chosen, exchanged
from repro.data.demonstrations import chosen_for_each
from repro.data.embedded.source import EmbeddedData
from repro.data.filters import train_rows
from repro.data.similarity import similarities, text_of, tfidf
from repro.data.source import checked_rows
from repro.errors import ReproError
from repro.spec.cells import Demonstrations
from repro.spec.filters import RowFilter
from repro.spec.tasks import Part
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import DATASETS, TASKS, TRAIN_SETS

SENTIMENT, SUMMARY = TASKS["sentiment"], TASKS["summary"]
SOURCE = EmbeddedData()


def reviews(*texts: str, outputs: Sequence[str] = ()) -> datasets.Dataset:
    labels = outputs or ["positive", "negative"] * len(texts)
    tables = [{"input": t, "output": o} for t, o in zip(texts, labels, strict=False)]
    return checked_rows(tables, SENTIMENT, "here")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def cosine(one: str, other: str, texts: Sequence[str]) -> float:
    """Of TF-IDF vectors, from its definition."""

    def vector(text: str) -> dict[str, float]:
        counts = Counter(words(text))
        idf = {
            w: math.log((1 + len(texts)) / (1 + sum(w in words(t) for t in texts))) + 1
            for w in counts
        }
        return {word: count * idf[word] for word, count in counts.items()}

    a, b = vector(one), vector(other)
    norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return sum(a[word] * b.get(word, 0.0) for word in a) / norm


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "lamp", "is", "good", "bad", "coat"]), min_size=1, max_size=6)
    .map(" ".join),
    min_size=1, max_size=6,
)  # fmt: skip


@given(TEXTS, TEXTS)
def test_similarity_is_the_mean_cosine_of_tfidf_vectors(texts: list[str], to: list[str]) -> None:
    every = [*texts, *to]
    wanted = [sum(cosine(text, other, every) for other in to) / len(to) for text in texts]
    assert list(similarities(texts, to)) == pytest.approx(wanted, abs=1e-8)


def test_a_text_without_words_is_like_no_other() -> None:
    assert tfidf(["", "lamp"]).toarray().tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize("order", ["nearest", "farthest"])
def test_similar_rows_are_never_rows_of_the_test_set(order: str) -> None:
    tested = reviews("a good lamp", "Bad coat!")
    to = [text_of(SENTIMENT, row) for row in tested.to_list()]
    rows = reviews("A good lamp.", "a good big lamp", "the sun", "bad coat", "a sea")
    found = chosen(rows, RowFilter(order=order, to="sst2", share=0.34), SENTIMENT, to)  # type: ignore[arg-type]
    assert found["input"] == [{"nearest": "a good big lamp", "farthest": "the sun"}[order]]


@pytest.mark.parametrize(("train", "to"), [("xsum", "peerread"), ("amazon", "sst2")])
def test_nearest_and_farthest_thirds_of_the_embedded_world(train: str, to: str) -> None:
    """Equal sizes, apart, none a test row, and nearer in fact: by an own count of shared words."""
    training, dataset = TRAIN_SETS[train], DATASETS[to]

    def taken(order: str) -> list[dict[str, str]]:
        only = RowFilter(order=order, to=to, share=0.3334)  # type: ignore[arg-type]
        own = protocol("published-code")
        selected = train_rows(SOURCE, training, 6000, own, limit=480, only=only, to=dataset)
        assert selected.dropped == {"rows": 320}
        return selected.rows.to_list()

    near, far = taken("nearest"), taken("farthest")
    assert len(near) == len(far) == 160
    inputs = [{row["input"] for row in rows} for rows in (near, far)]
    tested = SOURCE.rows(Part("test", to), dataset.task).to_list()
    assert inputs[0].isdisjoint(inputs[1])
    assert all(own.isdisjoint(row["input"] for row in tested) for own in inputs)
    common = {word for row in tested for word in words(row["input"])}

    def shared(rows: list[dict[str, str]]) -> float:
        return sum(len(common.intersection(words(row["input"]))) for row in rows) / len(rows)

    assert shared(near) > shared(far)


def test_shares_lengths_and_order() -> None:
    rows = reviews("a", "a b c", "a b", "a b c d", outputs=["positive"] * 4)

    def inputs(**told: object) -> list[str]:
        return chosen(rows, RowFilter(**told), SENTIMENT)["input"]  # type: ignore[arg-type]

    assert inputs(share=0.5) == ["a", "a b c"]
    assert inputs(field="input", order="shortest", share=0.5) == ["a", "a b"]
    assert inputs(field="input", order="longest", share=0.5) == ["a b c", "a b c d"]
    assert inputs(field="input", min_words=2, share=0.34) == ["a b c"]


def test_few_rows_are_repeated_up_to_the_same_number() -> None:
    rows = reviews(*(f"text {number}" for number in range(10)))
    found = chosen(rows, RowFilter(share=0.25, repeat=True), SENTIMENT)
    assert found["row"] == [0, 1] * 5


@given(
    st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_labels_are_exchanged_at_exactly_the_rate(outputs: list[str], share: float) -> None:
    found = exchanged(outputs, ("x", "y", "z"), share)
    assert sum(a != b for a, b in zip(found, outputs, strict=True)) == round(share * len(outputs))
    half = exchanged(outputs, ("x", "y", "z"), share / 2)
    assert all(b == a or c != a for a, b, c in zip(outputs, half, found, strict=True))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.sampled_from([0.25, 0.5, 1.0]))
def test_texts_are_exchanged_among_rows(numbers: list[int], share: float) -> None:
    outputs = [f"text {number}" for number in numbers]
    if len(set(outputs)) < len(outputs):  # then it may be impossible, and says so
        try:
            found = exchanged(outputs, (), share)
        except ReproError:
            assert max(Counter(outputs).values()) * 2 > round(share * len(outputs))
            return
    elif round(share * len(outputs)) == 1:
        with pytest.raises(ReproError, match="1 of them are the same"):
            exchanged(outputs, (), share)
        return
    else:
        found = exchanged(outputs, (), share)
    assert sum(a != b for a, b in zip(found, outputs, strict=True)) == round(share * len(outputs))
    assert Counter(found) == Counter(outputs)


def test_a_filter_that_leaves_nothing_says_what_there_is() -> None:
    rows = reviews("a", "b")
    with pytest.raises(ReproError, match="none of 2 rows: 2 have what it asks for"):
        chosen(rows, RowFilter(share=0.1), SENTIMENT)


@pytest.mark.parametrize(
    "told",
    [
        {"share": 0.0}, {"share": 1.5}, {"exchange": -0.1}, {"order": "nearest", "share": 0.5},
        {"to": "sst2", "share": 0.5}, {"order": "longest"},
    ],
)  # fmt: skip
def test_filters_that_mean_nothing(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"rows|need"):
        RowFilter(**told)  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", ["each3", "diverse3"])
@pytest.mark.parametrize("train", ["xsum", "socialqa", "amazon", "mnli"])
@pytest.mark.parametrize("number", [1, 4, 8])
def test_demonstrations_of_each_row_are_other_rows(choice: str, train: str, number: int) -> None:
    task = TRAIN_SETS[train].task
    own = protocol("published-code")
    rows = train_rows(SOURCE, TRAIN_SETS[train], 2000, own, limit=60).rows.to_list()
    found = chosen_for_each(rows, task, Demonstrations(number, choice))
    assert len(found) == len(rows)
    for row, shown in zip(rows, found, strict=True):
        assert len({one["row"] for one in shown} | {row["row"]}) == number + 1
        assert all(one in rows for one in shown)
        if choice.startswith("diverse") and task.labels:
            counts = Counter(one["output"] for one in shown)
            spread = [counts[label] for label in task.labels]
            assert max(spread) - min(spread) <= 1
    assert found == chosen_for_each(rows, task, Demonstrations(number, choice))
    assert found != chosen_for_each(rows, task, Demonstrations(number, choice[:-1] + "4"))
    assert len({tuple(one["row"] for one in shown) for shown in found}) > 10


def test_diverse_texts_are_less_alike_than_random_ones() -> None:
    own = protocol("published-code")
    rows = train_rows(SOURCE, TRAIN_SETS["xsum"], 2000, own, limit=80).rows.to_list()

    def alike(choice: str) -> float:
        found = chosen_for_each(rows, SUMMARY, Demonstrations(4, choice))
        pairs = [
            len(set(words(a["input"])) & set(words(b["input"])))
            for shown in found
            for a in shown
            for b in shown
            if a is not b
        ]
        return sum(pairs) / len(pairs)

    assert alike("diverse1") < alike("each1") - 0.5


def test_rows_that_repeat_are_not_shown_to_themselves() -> None:
    rows = [{"input": f"text {n % 3}", "output": "positive", "row": n} for n in range(9)]
    found = chosen_for_each(rows, SENTIMENT, Demonstrations(2, "each1"))
    for row, shown in zip(rows, found, strict=True):
        assert len({one["input"] for one in shown} | {row["input"]}) == 3
    with pytest.raises(ReproError, match="have 2 others each") as caught:
        chosen_for_each(rows, SENTIMENT, Demonstrations(3, "each1"))
    assert caught.value.hint is not None
    assert "at most 2" in caught.value.hint
