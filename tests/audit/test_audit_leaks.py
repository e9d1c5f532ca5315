"""What sets share, on rows whose answer can be read off."""

from collections.abc import Callable
from typing import Any

from repro.audit import leaks
from repro.audit.material import Material


def _pair(one: str, two: str, label: str) -> dict[str, str]:
    return {"input_1": one, "input_2": two, "output": label}


def test_paws_labels_follow_by_transitivity(hand_made: Callable[..., Any]) -> None:
    small = [
        _pair("a b c", "d e f", "yes"),
        _pair("D e f .", "g h i", "yes"),  # case and marks do not matter
        _pair("g h i", "x y z", "no"),
    ]
    large = [*small, _pair("n o w", "p q r", "no")]
    test = [
        _pair("a b c", "g h i", "yes"),  # by the chain a-d-g
        _pair("a b c", "x y z", "yes"),  # follows as "no": the gold label disagrees
        _pair("n o w", "p q r", "no"),
    ]
    rows = {"train/paws/2000": small, "train/paws/4000": large, "train/paws/6000": large}
    found = leaks.paws_leakage(Material(hand_made({**rows, "test/paws": test})))
    expected = {
        "a sentence in training": (2, 3),
        "both sentences in other pairs": (2, 2),
        "identical pair": (0, 1),
        "near-duplicate pair": (0, 1),
        "label follows": (2, 3),
        "label follows, correctly": (1, 2),
        "no sentence in training": (1, 0),
    }
    for what, counts in expected.items():
        assert (found[f"2000, all: {what}"], found[f"4000, first 250: {what}"]) == counts, what


def test_demonstrations_among_test_and_training_rows(hand_made: Callable[..., Any]) -> None:
    def row(text: str) -> dict[str, str]:
        return {"input": text, "output": "positive"}

    source = hand_made(
        {
            "demonstrations/sst2": [row(f"shown {i}") for i in range(8)],
            "test/sst2": [row("new"), row("Shown 7!"), row("shown 3")],
            "demonstrations/amazon": [row("first"), row("second")],
            "train/amazon/2000": [row("x"), row("second")],
        }
    )
    tested = leaks.demonstrations_in_test(Material(source))
    assert tested["sst2: rows"] == "1, 2"
    assert tested["sst2, row 2: shot counts"] == "4, 6"
    assert tested["sst2, row 1: shot counts"] == "none"
    assert tested["qqp: rows"] == "none"
    trained = leaks.demonstrations_in_train(Material(source))
    assert trained["amazon 2000: demonstrations"] == "2"
    assert trained["amazon 4000: number"] == 0


def test_repeated_and_empty_inputs(hand_made: Callable[..., Any]) -> None:
    def asked(tweet: str, answer: str) -> dict[str, str]:
        return {"input": tweet, "answer": answer, "output": "who?"}

    tweets = [asked("", "a"), asked(" ", "b"), asked("so it is", "c"), asked("So it is!", "d")]
    material = Material(hand_made({"test/tweetqa": tweets}))
    repeated = leaks.repeated_inputs(material)
    assert repeated["tweetqa, all: repeated"] == 2
    assert repeated["tweetqa, first 250: repeated tweets"] == 1
    assert repeated["tweetqa, all: near pairs"] == 2
    assert repeated["xsum, all: repeated"] == 0
    assert leaks.empty_inputs(material)["test/tweetqa, all"] == 2


def test_nesting_counts_rows_that_moved_and_rows_that_are_gone(
    hand_made: Callable[..., Any],
) -> None:
    a, b, c, d = (_pair(x, x, "no") for x in "abcd")
    source = hand_made(
        {
            "train/paws/2000": [a, b],
            "train/paws/4000": [b, a, c],
            "train/paws/6000": [b, a, d, d],
        }
    )
    found = leaks.nesting(Material(source))
    assert found["paws, 2000 in 4000: rows elsewhere"] == 2
    assert found["paws, 2000 in 4000: rows absent"] == 0
    assert found["paws, 4000 in 6000: rows absent"] == 1
    assert leaks.duplicates(Material(source))["paws 6000: identical rows"] == 1


def test_other_leakage_ignores_empty_texts(hand_made: Callable[..., Any]) -> None:
    def row(text: str) -> dict[str, str]:
        return {"input": text, "answer": "x", "output": "why?"}

    source = hand_made(
        {
            "train/socialqa/6000": [row(""), row("one two three four five six")],
            "test/tweetqa": [row(""), row("one two three four five")],  # 3 of 4 grams
            "test/socialqa": [row("One two three four five six.")],
        }
    )
    found = leaks.other_leakage(Material(source))
    assert (found["tweetqa: identical"], found["tweetqa: near-duplicate"]) == (0, 1)
    assert (found["socialqa: identical"], found["socialqa: near-duplicate"]) == (1, 1)
