"""Scores of answers without a model, by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from repro.audit import scores
from repro.audit.material import Material
from repro.metrics.rouge import rouge_l


def test_rouge_is_f1_without_a_stemmer() -> None:
    # Longest common subsequence 2 of 2 and 4 words: precision 1, recall 1/2.
    assert rouge_l("a b c d", "a c", stemmer=False) == pytest.approx(2 / 3)
    assert rouge_l("walking dogs", "walked dog", stemmer=False) == 0


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (" It is 3.5 m. Yes! ", "It is 3.5 m."),
        ("Why?\nBecause.", "Why?"),
        ("no end\nat all", "no end\nat all"),
        ("", ""),
    ],
)
def test_first_sentence(text: str, first: str) -> None:
    assert scores.first_sentence(text) == first


def _asked(context: str, question: str) -> dict[str, str]:
    return {"input": context, "answer": "x", "output": question}


def test_names_are_capitalised_words_of_the_context() -> None:
    row = _asked("Ash met Jan.", "What will Jan and Others do?")
    assert scores.without_names(row) == "What will NAME and Others do?"
    names = scores.names_asked_about([row])
    assert names == {"Jan"}
    assert scores.first_name("Ash met Jan.", names) == "Jan"
    assert scores.first_name("nobody", names) == "they"


def test_templates_of_socialqa(hand_made: Callable[..., Any]) -> None:
    train = [_asked(f"{n} ran.", f"Why did {n} run?") for n in ("Ash", "Jan", "Lee")]
    train += [_asked("Ash sat.", f"Odd question {i}?") for i in range(12)]
    test = [_asked("Then Lee ran.", "Why did Lee run?"), _asked("Jan sat.", "Who is it?")]
    material = Material(hand_made({"train/socialqa/6000": train, "test/socialqa": test}))
    found = scores.socialqa_templates(material)
    assert found["train, the most frequent template"] == "Why did NAME run?"
    assert found["train, of the most frequent template"] == 3
    assert found["train, percent of the ten templates"] == pytest.approx(100 * 12 / 15)
    assert found["first 250, percent of the ten templates"] == 50
    # "why did lee run" in full, and nothing of "who is it".
    assert scores.template_scores(material)["the most frequent template"] == pytest.approx(0.5)


def test_templates_where_no_context_has_a_capital(hand_made: Callable[..., Any]) -> None:
    rows = [_asked(f"{n} ran home .", f"why did {n} run ?") for n in ("ash", "jan", "lee")]
    rows += [_asked("ash sat .", f"odd {i} ?") for i in range(20)]
    source = hand_made({"train/socialqa/6000": rows, "test/socialqa": rows[:4]})
    found = scores.socialqa_templates(Material(source))
    assert found["train, the most frequent template"] == "why did NAME run ?"
    assert found["train, of the most frequent template"] == 3
    # A single capital, and words in lower case are no names any more.
    rows.append(_asked("Ash sat .", "odd ?"))
    assert scores.socialqa_templates(Material(source))["train, of the most frequent template"] == 1


def test_baselines_of_a_set(hand_made: Callable[..., Any]) -> None:
    source = hand_made(
        {
            "test/xsum": [
                {"input": "One two. Three.", "output": "one two"},
                {"input": "Four.", "output": "five"},
            ],
            "demonstrations/xsum": [{"input": "-", "output": "five"}],
        }
    )
    found = scores.simple_baselines(Material(source))
    assert found["xsum: first sentence"] == pytest.approx(0.5)
    assert found["xsum: demonstration 1"] == pytest.approx(0.5)
