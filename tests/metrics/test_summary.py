"""Scores and intervals, against scipy and by hand."""

import subprocess
import sys
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from repro.metrics import summarise
from repro.metrics.summary import wilson
from repro.studies.paper.tasks import TASKS

NLI, SENTIMENT, SUMMARY = (TASKS[name] for name in ("nli", "sentiment", "summary"))


def labelled(pairs):
    return [
        {"row": row, "gold": gold, "prediction": told, "score": int(gold == told)}
        for row, (gold, told) in enumerate(pairs)
    ]


def scored(scores):
    return [{"row": row, "score": score} for row, score in enumerate(scores)]


@given(st.integers(1, 600), st.data())
def test_wilson_equals_scipy(n, data):
    hits = data.draw(st.integers(0, n))
    expected = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= wilson(hits, n)[0] <= hits / n <= wilson(hits, n)[1] <= 1


def test_accuracy_by_hand():
    """Five rows: entailment right 1 of 2, neutral 0 of 1, contradiction 1 of 1; one '-'."""
    found = summarise(
        NLI,
        labelled(
            [
                ("entailment", "entailment"),
                ("entailment", "neutral"),
                ("neutral", "entailment"),
                ("contradiction", "contradiction"),
                ("-", "entailment"),
            ]
        ),
    )
    assert found["metric"] == "accuracy"
    assert (found["value"], found["n"]) == (0.4, 5)
    assert found["stderr"] == pytest.approx((0.4 * 0.6 / 5) ** 0.5)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found["histogram"] == {"entailment": 3, "neutral": 1, "contradiction": 1}
    assert found["constant"] is None


def test_a_model_that_always_says_the_same():
    """Balanced accuracy then is one over the labels that occur, whatever the accuracy."""
    golds = ["positive"] * 9 + ["negative"]
    found = summarise(SENTIMENT, labelled([(gold, "positive") for gold in golds]))
    assert (found["value"], found["balanced_accuracy"]) == (0.9, 0.5)
    assert found["constant"] == "positive"
    assert found["histogram"] == {"positive": 10, "negative": 0}


def test_no_label_among_the_golds():
    found = summarise(NLI, labelled([("-", "neutral"), ("-", "neutral")]))
    assert (found["value"], found["balanced_accuracy"]) == (0.0, None)


def test_standard_error_of_the_paper_sizes():
    """Audit A7: on 250 rows .032 at one half, .023 at .85, .009 at .98."""
    for share, error in ((0.5, 0.032), (0.85, 0.023), (0.98, 0.009)):
        right = round(share * 250)
        pairs = [("positive", "positive")] * right + [("positive", "negative")] * (250 - right)
        assert summarise(SENTIMENT, labelled(pairs))["stderr"] == pytest.approx(error, abs=6e-4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_rouge_is_a_mean_with_its_normal_interval(scores):
    found = summarise(SUMMARY, scored(scores))
    error = stdev(scores) / len(scores) ** 0.5
    low, high = norm.interval(0.95, loc=mean(scores), scale=error or 1e-300)
    assert found["metric"] == "rougeL"
    assert found["n"] == len(scores)
    assert found["value"] == pytest.approx(mean(scores), abs=1e-12)
    assert found["stderr"] == pytest.approx(error, abs=1e-9)
    assert found["interval"] == pytest.approx([max(0, low), min(1, high)], abs=1e-8)
    assert set(found) == {"metric", "value", "n", "stderr", "interval"}


def test_one_row_says_little():
    assert summarise(SUMMARY, scored([0.3]))["interval"] == [0.0, 1.0]


def test_no_samples():
    with pytest.raises(ValueError, match="no samples"):
        summarise(SUMMARY, [])


def test_metrics_need_no_torch():
    code = "import sys, repro.metrics; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
