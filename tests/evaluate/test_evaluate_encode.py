"""Prompts as token ids: the numbers are those measured on the authors' code and data."""

import hashlib
from dataclasses import replace

import datasets
import pytest

from repro.errors import ReproError
from repro.evaluate.encode import common_prefix, encode, first_tokens
from repro.evaluate.prefix import segments
from repro.studies.paper.protocols import protocol

PUBLISHED = protocol("published-code")
CORRECTED = protocol("corrected")


# First ids of prompts, audit A3: 835 is "▁###", 29871 a lone blank, 1 is BOS.
@pytest.mark.parametrize(
    ("cell", "ids"),
    [
        ("base.socialqa.p1.0", [1, 1, 29871, 835, 10567]),
        ("base.socialqa.p1.2", [1, 835, 10567]),
        ("base.amazon.p1.0", [1, 29871, 835, 10567]),
        ("base.amazon.p1.4", [835, 10567]),
        ("base.mnli1.p1.0", [1, 29871, 835, 10567]),
        ("base.paws.p1.2", [835, 10567]),
    ],
)
def test_published_prompts_begin_as_the_authors_code_makes_them(llama2, real_job, cell, ids):
    for prompt in encode(real_job(cell, 20), llama2, PUBLISHED).prompts:
        assert prompt[: len(ids)] == ids


@pytest.mark.parametrize("name", ["socialqa", "amazon"])
def test_corrected_prompts_all_begin_as_in_training(llama2, real_job, name):
    training = llama2("### Input:")["input_ids"]
    for shots in real_job(f"base.{name}.p1.0", 1).asked.task.shots:
        for prompt in encode(real_job(f"base.{name}.p1.{shots}", 5), llama2, CORRECTED).prompts:
            assert prompt[: len(training)] == training


def test_query_behind_a_blank_line_splits_otherwise_unless_separate(llama2, real_job):
    job = real_job("base.amazon.p1.2", 5)
    alone = encode(real_job("base.amazon.p1.0", 5), llama2, CORRECTED).prompts
    for switch, begins in (("joint", [2277, 29937]), ("separate", [835])):
        encoded = encode(job, llama2, protocol("corrected", {"query_tokens": switch}))
        behind = len(encoded.contexts[-1])
        for prompt, own in zip(encoded.prompts, alone, strict=True):
            assert prompt[behind - 2 : behind] == [13, 13]
            assert prompt[behind : behind + len(begins)] == begins
            assert (prompt[behind:] == own[1:]) == (switch == "separate")


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("amazon", {"positive": 1066, "negative": 22198}),
        ("paws", {"yes": 3582, "no": 1217}),
        ("mnli1", {"entailment": 296, "neutral": 17821, "contradiction": 9996}),
        ("rte", {"entailment": 296, "neutral": 17821, "contradiction": 9996}),
    ],
)
def test_published_label_ids(llama2, real_job, name, ids):
    for prompt in ("p1", "p2"):
        assert encode(real_job(f"base.{name}.{prompt}.0", 3), llama2, PUBLISHED).labels == ids


def test_label_ids_in_context(llama2, real_job):
    found = encode(real_job("base.mnli1.p2.3", 3), llama2, CORRECTED).labels
    assert found == {"entailment": 875, "neutral": 21104, "contradiction": 23949}
    kept = protocol("corrected", {"trailing_blank": "keep"})
    assert encode(real_job("base.mnli1.p2.3", 3), llama2, kept).labels == found
    assert encode(real_job("base.rte.p2.3", 3), llama2, CORRECTED).labels == {
        "entailment": 875,
        "neutral": 21104,
    }
    sentiment = encode(real_job("base.amazon.p2.2", 3), llama2, CORRECTED).labels
    assert sentiment == {"positive": 1066, "negative": 22198}


ENDS = {
    ("amazon", "p1"): "### Input:\n{input}\n### Sentiment:",
    ("amazon", "p2"): "Analyze the sentiment of the following text:{input}\nSentiment:",
    ("mnli1", "p1"): "### Input_1:\n{input_1}\n### Input_2:\n{input_2}\n### Inference:",
    ("mnli1", "p2"): "Consider the following texts: Text 1:{input_1}\nText 2:{input_2}\n"
    "The relation is ",
}


@pytest.mark.parametrize(("name", "prompt"), ENDS)
def test_the_id_found_on_one_row_is_that_of_every_row(llama2, real_job, name, prompt):
    encoded = encode(real_job(f"base.{name}.{prompt}.0"), llama2, CORRECTED)
    for row, ids in zip(encoded.rows, encoded.prompts, strict=True):
        for label, token in encoded.labels.items():
            text = ENDS[name, prompt].format(**row) + label
            assert llama2(text)["input_ids"][: len(ids) + 1] == [*ids, token]


# Audit E2: cell, tokens of the context, of the common prefix (prompt 1), of all 250 prompts, the
# longest prompt.
@pytest.mark.parametrize(
    ("cell", "context", "common", "total", "longest"),
    [
        ("base.paws.p1.0", 0, 8, 21_056, 128),
        ("base.paws.p1.4", 342, 349, 106_306, 469),
        ("base.paws.p1.6", 527, 534, 152_556, 654),
        ("base.rte.p1.7", 742, 749, 210_851, 1_007),
        ("base.mnli1.p1.3", 230, 237, 73_394, 448),
        ("base.gptnli.p1.5", 300, 307, 89_024, 396),
        ("base.qqp.p1.2", 112, 119, 41_708, 215),
        ("base.sst2.p1.6", 224, 229, 65_231, 302),
        ("base.socialqa.p1.0", 0, 7, 10_429, 66),
        ("base.socialqa.p1.2", 107, 112, 36_679, 171),
        ("base.xsum.p1.1", 435, 440, 207_765, 1_290),
        ("base.paws.p2.4", 359, None, 111_556, None),
        ("base.mnli1.p2.7", 447, None, 127_390, None),
    ],
)
def test_prompt_tokens(llama2, real_job, cell, context, common, total, longest):
    encoded = encode(real_job(cell), llama2, PUBLISHED)
    lengths = [len(prompt) for prompt in encoded.prompts]
    assert sum(lengths) == total
    assert (len(encoded.contexts[-1]) if encoded.contexts else 0) == context
    if longest:
        assert max(lengths) == longest
    if common:
        assert common_prefix(encoded.prompts) == common
        assert sum(map(len, segments(encoded))) == common


@pytest.mark.parametrize("cell", ["base.sst2.p1.6", "base.mnli1.p2.7", "base.socialqa.p1.4"])
def test_contexts_begin_one_another_and_all_prompts(llama2, real_job, cell):
    encoded = encode(real_job(cell), llama2, PUBLISHED)
    assert len(encoded.contexts) == 3
    for short, long in zip(encoded.contexts, encoded.contexts[1:], strict=False):
        assert long[: len(short)] == short
    for prompt in encoded.prompts:
        assert prompt[: len(encoded.contexts[-1])] == encoded.contexts[-1]


def test_paper_spacing_of_prompt_2(llama2, real_job):
    job = real_job("base.amazon.p2.0", 2)
    ids = encode(job, llama2, protocol("paper-text")).prompts[0]
    text = f"Analyze the sentiment of the following text: {job.rows[0]['input']} Sentiment:"
    assert llama2.decode(ids[1:]) == text


def test_without_own_bos_no_prompt_has_any(bare, make_job):
    for name in ("base.socialqa.p1.0", "base.amazon.p1.0", "base.amazon.p1.2"):
        for prompt in encode(make_job(name), bare, PUBLISHED).prompts:
            assert bare.bos_token_id not in prompt


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        ("base.xsum.p1.0", 2),
        ("base.xsum.p1.1", 1),
        ("base.amazon.p1.0", 1),
        ("base.amazon.p1.2", 0),
    ],
)
def test_bos_of_a_word_level_tokenizer(words, make_job, cell, count):
    for prompt in encode(make_job(cell), words, PUBLISHED).prompts:
        assert prompt[:3].count(1) == count


def test_prompt_hash_is_that_of_the_text(words, make_job):
    job = make_job("base.amazon.p1.2", 3)
    rows, shown = job.rows.to_list(), job.demonstrations.to_list()
    text = "".join(
        f"### Input:\n{row['input']}\n### Sentiment:{row['output']}\n\n" for row in shown[:2]
    )
    text += f"### Input:\n{rows[2]['input']}\n### Sentiment:"
    encoded = encode(job, words, PUBLISHED)
    assert encoded.hashes[2] == hashlib.sha256(text.encode()).hexdigest()
    assert words.decode(encoded.prompts[2]) == words.decode(
        words(text, add_special_tokens=False)["input_ids"]
    )


def test_labels_of_a_word_level_tokenizer(words, make_job):
    for prompt in ("p1", "p2"):
        found = encode(make_job(f"base.mnli1.{prompt}.3"), words, CORRECTED).labels
        assert {label: words.decode([token]) for label, token in found.items()} == {
            label: label for label in ("entailment", "neutral", "contradiction")
        }


def test_labels_with_one_first_token_are_named(words):
    with pytest.raises(
        ReproError, match="'unheard' and 'unseen' begin with the same token '<unk>'"
    ):
        first_tokens(words, "the cat:", ["yes", "unheard", "unseen"])


def with_before(job, texts):
    """The job of a model that writes these texts before the label, in turn."""
    columns = {name: job.rows[name] for name in job.rows.column_names}
    before = [texts[i % len(texts)] for i in range(len(job.rows))]
    return replace(job, rows=datasets.Dataset.from_dict(columns | {"before": before}))


def test_labels_are_scored_behind_what_a_target_format_has_before_them(llama2, real_job):
    """By whole tokens of Llama-2: a blank belongs to the label, as it was trained."""
    job = real_job("base.amazon.p1.0", 4)
    plain = encode(job, llama2, CORRECTED)
    for texts in (["the answer is "], ["it is ", "i say "]):
        found = encode(with_before(job, texts), llama2, CORRECTED)
        for i, (prompt, row) in enumerate(zip(found.prompts, job.rows, strict=True)):
            text = f"### Input:\n{row['input']}\n### Sentiment:{texts[i % len(texts)].rstrip()}"
            assert prompt == llama2(text)["input_ids"]
            for label, token in found.labels.items():
                trained = llama2(f"{text} {label}")["input_ids"]
                assert trained[: len(prompt)] == prompt
                assert trained[len(prompt)] == token
    assert found.labels != plain.labels
    empty = encode(with_before(job, [""]), llama2, CORRECTED)
    assert (empty.prompts, empty.labels) == (plain.prompts, plain.labels)


def test_texts_behind_which_labels_have_other_tokens_are_named(llama2, real_job):
    job = with_before(real_job("base.amazon.p1.0", 4), ["it is ", "("])
    with pytest.raises(ReproError, match=r"not the same behind all texts.*'it is ', '\('"):
        encode(job, llama2, CORRECTED)


def test_too_few_demonstrations(words, make_job):
    job = make_job("base.amazon.p1.6")
    short = type(job)(job.asked, job.rows, job.demonstrations.select(range(3)))
    with pytest.raises(ReproError, match="needs 6 demonstrations, amazon has 3"):
        encode(short, words, PUBLISHED)


def test_no_rows(words, make_job):
    job = make_job("base.amazon.p1.0")
    with pytest.raises(ReproError, match=r"base\.amazon\.p1\.0 has no rows"):
        encode(type(job)(job.asked, job.rows.select([]), job.demonstrations), words, PUBLISHED)
