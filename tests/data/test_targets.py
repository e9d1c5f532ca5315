"""Target formats on rows: what is written, what comes back, and the entropy of targets."""

import re
from math import log2
from random import Random

import pytest

from repro.data.embedded import EmbeddedData
from repro.data.targets import Writer, entropy, writer
from repro.errors import ReproError
from repro.spec.targets import TargetFormat
from repro.spec.tasks import Part
from repro.studies import load
from repro.studies.paper.tasks import TASKS, TRAIN_SETS

FORMATS = load("output_space").targets
ROWS = {
    name: EmbeddedData().rows(Part("train", name, 160), training.task)
    for name, training in TRAIN_SETS.items()
}
CLASSES = ("amazon", "paws", "mnli")


def of_classes() -> list[str]:
    found = []
    for name, form in FORMATS.items():
        try:
            form.check(TASKS["nli"])
        except ValueError:
            continue
        found.append(name)
    return found


def test_the_study_opens_classification_in_steps() -> None:
    assert set(of_classes()) == {"plain", "sentence", "wordings", "reason"}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("form", of_classes())
def test_the_label_can_be_read_back_from_every_target(name: str, form: str) -> None:
    """By an inversion written here: the texts as patterns, of which exactly one label fits."""
    rows, task = ROWS[name], TRAIN_SETS[name].task
    written = writer(FORMATS[form], task, rows.to_list(), form).rows(rows)
    label = "|".join(sorted(task.labels, key=len, reverse=True))
    patterns = [
        re.escape(text).replace(r"\{output\}", f"(?P<label>{label})").replace(r"\{cue\}", ".*")
        for text in FORMATS[form].texts
    ]
    for row, target in zip(rows, written, strict=True):
        found = {
            match["label"] for text in patterns if (match := re.fullmatch(text, target["output"]))
        }
        assert found == {row["output"]}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("form", of_classes())
def test_a_label_is_scored_where_its_target_has_it(name: str, form: str) -> None:
    """Without knowing it: a row with any other label has the same text before."""
    task = TRAIN_SETS[name].task
    written = writer(FORMATS[form], task, ROWS[name].to_list(), form)
    tested = written.tested(ROWS[name])
    for row, shown in zip(ROWS[name], tested, strict=True):
        assert shown["output"] == row["output"], "labels stay what they are"
        for label in task.labels:
            target = written.target({**row, "output": label})
            assert target.startswith(shown["before"] + label)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ROWS)
def test_a_format_changes_outputs_only(name: str, form: str) -> None:
    task = TRAIN_SETS[name].task
    if task.labels and form not in of_classes():
        with pytest.raises(ValueError, match="label"):
            FORMATS[form].check(task)
        return
    rows = ROWS[name]
    written = writer(FORMATS[form], task, rows.to_list(), form).rows(rows)
    assert len(written) == len(rows)
    assert all(written.to_list())
    for field in ("row", *task.fields):
        assert written[field] == rows[field]
    if FORMATS[form].strings:
        assert len(set(written["output"])) <= FORMATS[form].strings
    elif form == "plain":
        assert written["output"] == rows["output"]


def test_an_output_becomes_the_nearest_of_the_first_different_ones() -> None:
    rows = [
        {"input": "x", "output": text}
        for text in ("a red lamp.", "a red lamp.", "the old map", "one more red lamp", "old map?")
    ]
    form = TargetFormat(strings=2)
    written = writer(form, TASKS["summary"], rows, "two")
    assert written.strings == ("a red lamp.", "the old map")
    assert [written.target(row) for row in rows] == [
        *["a red lamp."] * 2, "the old map", "a red lamp.", "the old map",
    ]  # fmt: skip
    named = writer(TargetFormat(strings=2, names=("A", "B")), TASKS["summary"], rows, "two")
    assert [named.target(row) for row in rows] == ["A", "A", "B", "A", "B"]


def test_pieces_of_a_row() -> None:
    row = {"input": "in berlin, hugo sang. nothing else", "output": "hugo brought the shirt."}
    form = TargetFormat(("{first}-{last}-{longest}-{words}-{cue} {{x}}",))
    assert Writer(form, TASKS["summary"]).target(row) == "hugo-shirt-brought-4-nothing {x}"


def test_fewer_different_outputs_than_strings_is_an_error_that_says_how_many() -> None:
    rows = [{"input": "x", "output": str(i % 5)} for i in range(20)]
    with pytest.raises(ReproError, match="20 training rows have 5 different outputs") as caught:
        writer(TargetFormat(strings=16), TASKS["summary"], rows, "sixteen")
    assert caught.value.exit_code == 2
    assert "at most 5" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"texts": ("{label}",)}, "one or more of"),
        ({"texts": ("yes",)}, "one or more of"),
        ({"texts": ("{output",)}, "no template"),
        ({"texts": ("{output}", "{output}")}, "each once"),
        ({"strings": 1}, "two fixed strings"),
        ({"strings": 3, "names": ("A", "B")}, "as many different names"),
    ],
)
def test_wrong_formats_are_named(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TargetFormat(**arguments)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (TargetFormat(strings=4), "hide"),
        (TargetFormat(("{cue} {output}",)), "only behind it"),
        (TargetFormat(("{output} {output}",)), "once"),
        (TargetFormat(("{first}",)), "once"),
    ],
)
def test_a_format_that_would_hide_labels_is_refused(form: TargetFormat, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        form.check(TASKS["sentiment"])
    form.check(TASKS["summary"])


def test_entropy_has_its_closed_form() -> None:
    assert entropy(["yes"] * 9) == 0
    assert entropy(["yes", "no"] * 8) == 1
    assert entropy(["a", "a", "a", "b"]) == pytest.approx(2 - 0.75 * log2(3))
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    strings = [f"{w}a {w}b {w}c" for w in words]
    assert entropy(strings * 3) == pytest.approx(3), "of eight strings that share no word"
    sentences = [f"it is {w} ." for w in words[:4]]
    assert entropy(sentences) == pytest.approx(2), "fixed words around it add nothing"
    # Two independent words of four each: 4 bits, though 16 texts drawn from them are all there is.
    free = [f"{a} x {b}" for a in words[:4] for b in words[4:]]
    assert entropy(free) == pytest.approx(4)


def test_entropy_does_not_stop_at_the_number_of_rows() -> None:
    rng = Random(1)
    words = [f"w{i}" for i in range(4)]
    texts = [" x ".join(rng.choices(words, k=8)) for _ in range(64)]
    assert len(set(texts)) == 64
    ends = -(7 / 8 * log2(7 / 8) + 1 / 8 * log2(1 / 8))  # a chain does not know where it is
    assert entropy(texts) == pytest.approx(8 * (2 + ends), abs=0.5)
    assert entropy(texts) > log2(64)
