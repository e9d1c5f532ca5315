"""What answers without a model score (AUDIT A8), in ROUGE-L F1 without a stemmer."""

import re
from collections import Counter
from collections.abc import Sequence

from repro.audit.material import FIRST, GENERATION, Material, Row, Values
from repro.audit.statistics import mean, percentile
from repro.metrics.rouge import rouge_l
from repro.spec.prompts import SEPARATOR, fill
from repro.studies.paper.prompts import template
from repro.studies.paper.tasks import DATASETS

TEMPLATES = 10
NAME = "NAME"
_WORD = re.compile(r"\w+")
_CAPITALISED = re.compile(r"\b[A-Z]\w*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def score(rows: Sequence[Row], texts: Sequence[str], *, stemmer: bool = False) -> float:
    """The mean ROUGE-L F1 of one text a row against its output."""
    return mean(
        [rouge_l(r["output"], text, stemmer=stemmer) for r, text in zip(rows, texts, strict=True)]
    )


def first_sentence(text: str) -> str:
    """Up to the first ".", "!" or "?" that white space follows; line breaks end none."""
    return _SENTENCE_END.split(text.strip())[0]


def simple_baselines(material: Material) -> Values:
    """Scores of the first sentence, and of demonstration 1's output for every row (A8)."""
    measured: Values = {}
    for name in GENERATION:
        rows = material.test(name, FIRST)
        constant = material.demonstrations(name)[0]["output"]
        first = [first_sentence(row["input"]) for row in rows]
        measured[f"{name}: first sentence"] = score(rows, first)
        measured[f"{name}: demonstration 1"] = score(rows, [constant] * len(rows))
    return measured


def token_baselines(material: Material) -> Values:
    """Scores of texts of 60 tokens: the reference, the input's beginning, and a run-on (A8).

    The run-on is the reference, a blank line and the prompt of demonstration 1.
    """
    limit = material.new_tokens

    def cut(text: str) -> str:
        return str(material.tokenizer.decode(material.ids(text)[:limit]))

    measured: Values = {}
    gains = []
    for name in GENERATION:
        task, rows = DATASETS[name].task, material.test(name, FIRST)
        rest = SEPARATOR + fill(task, template(task, "p1"), material.demonstrations(name)[0])
        lead = [cut(row["input"]) for row in rows]
        right = [cut(row["output"]) for row in rows]
        run_on = [cut(row["output"] + rest) for row in rows]
        measured[f"{name}: reference cut to 60 tokens"] = score(rows, right)
        measured[f"{name}: first 60 tokens"] = plain = score(rows, lead)
        measured[f"{name}: reference with a run-on"] = score(rows, run_on)
        gains.append(score(rows, lead, stemmer=True) - plain)
    measured["a stemmer's least gain on the first 60 tokens"] = min(gains)
    measured["a stemmer's largest gain on the first 60 tokens"] = max(gains)
    return measured


def reference_lengths(material: Material) -> Values:
    """References that 60 tokens cannot hold, of the first 250; CNN/DailyMail's lengths (A8)."""
    limit = material.new_tokens

    def lengths(name: str, first: int | None) -> list[int]:
        return [len(material.ids(row["output"])) for row in material.test(name, first)]

    measured: Values = {
        f"{name}: longer than 60": sum(length > limit for length in lengths(name, FIRST))
        for name in GENERATION
    }
    measured["cnndm: mean of all"] = mean(lengths("cnndm", None))
    measured["cnndm: 95th percentile of all"] = percentile(lengths("cnndm", None), 95)
    return measured


def may_be_names(rows: Sequence[Row]) -> re.Pattern[str]:
    """The words that may be names: capitalised ones; any, where no context has a capital."""
    capitals = any(row["input"] != row["input"].lower() for row in rows)
    return _CAPITALISED if capitals else _WORD


def without_names(row: Row, names: re.Pattern[str] = _CAPITALISED) -> str:
    """A question with those of the words replaced by NAME that its context has too."""
    words = set(_WORD.findall(row["input"]))
    return names.sub(lambda m: NAME if m.group() in words else m.group(), row["output"])


def names_asked_about(rows: Sequence[Row]) -> frozenset[str]:
    """The capitalised words that contexts and their questions share."""
    return frozenset(
        word
        for row in rows
        for word in {*_CAPITALISED.findall(row["output"])} & {*_WORD.findall(row["input"])}
    )


def first_name(text: str, names: frozenset[str]) -> str:
    """The first of these names in a text; "they" if there is none."""
    return next((word for word in _CAPITALISED.findall(text) if word in names), "they")


def socialqa_templates(material: Material) -> Values:
    """How few templates the Socialqa questions are made of, in questions (A8)."""
    train, test = material.train("socialqa", 6000), material.test("socialqa", FIRST)
    names = may_be_names(train)
    exact = Counter(without_names(row, names) for row in train)
    folded = Counter(without_names(row, names).casefold() for row in train)
    top = {template for template, _ in folded.most_common(TEMPLATES)}
    ((first, count),) = exact.most_common(1)
    return {
        "train, the most frequent template": first,
        "train, of the most frequent template": count,
        "train, percent of the ten templates": 100 * sum(folded[t] for t in top) / len(train),
        "first 250, percent of the ten templates": 100
        * mean([without_names(row, names).casefold() in top for row in test]),
    }


def template_scores(material: Material) -> Values:
    """What one template, or the best of ten, scores with the context's first name (A8)."""
    train, test = material.train("socialqa", 6000), material.test("socialqa", FIRST)
    names = names_asked_about(train)
    counted = Counter(without_names(row) for row in train)
    filled = []
    for row in test:
        name = first_name(row["input"], names)
        texts = [text.replace(NAME, name) for text, _ in counted.most_common(TEMPLATES)]
        filled.append([rouge_l(row["output"], text, stemmer=False) for text in texts])
    return {
        "the most frequent template": mean([scores[0] for scores in filled]),
        "the best of ten": mean([max(scores) for scores in filled]),
    }
