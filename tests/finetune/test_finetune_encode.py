"""Rows to token ids and labels: counts of the audit, boundaries, cutting."""

import pytest

from repro.audit.tokenizer import load
from repro.errors import ReproError
from repro.finetune.encode import encode
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

QUESTION, SUMMARY = (training_template(TASKS[name]) for name in ("question", "summary"))


def text(tokenizer, ids):
    """What ids say, character by character."""
    return "".join(tokenizer.convert_ids_to_tokens(list(ids)))


def test_a_sample_is_bos_prompt_output_eos(tokenizer, recipe):
    row = {"input": "ann ran", "answer": "home", "output": "where?"}
    demonstration = {"input": "x", "answer": "y", "output": "z?"}
    (sample,) = encode([row], [demonstration], QUESTION, tokenizer, recipe())
    source = (
        "<s>### Input:\nx\n### Answer:\ny\n### Question:z?\n\n"
        "### Input:\nann ran\n### Answer:\nhome\n### Question:"
    )
    assert text(tokenizer, sample.ids[: sample.masked]) == source
    assert text(tokenizer, sample.ids[sample.masked :]) == "where?</s>"


def test_a_target_that_fuses_with_the_colon(tokenizer, recipe):
    row = {"input": "ann ran", "answer": "home", "output": "(where?"}
    (joint,) = encode([row], [], QUESTION, tokenizer, recipe(label_boundary="joint"))
    (apart,) = encode([row], [], QUESTION, tokenizer, recipe(label_boundary="separate"))
    assert text(tokenizer, joint.ids[joint.masked - 1 :]) == ":(where?</s>"
    assert text(tokenizer, joint.ids[joint.masked :]) == "where?</s>"  # the bracket is not learnt
    assert text(tokenizer, apart.ids[apart.masked - 1 :]) == ":(where?</s>"
    assert text(tokenizer, apart.ids[apart.masked :]) == "(where?</s>"


@pytest.mark.parametrize(("limit", "kept"), [(53, "whe"), (50, ""), (49, ""), (20, "")])
def test_cutting_from_the_right_takes_the_target_first(tokenizer, recipe, limit, kept):
    row = {"input": "ann ran", "answer": "home", "output": "where?"}
    whole = encode([row], [], QUESTION, tokenizer, recipe(max_length=0))[0]
    (sample,) = encode([row], [], QUESTION, tokenizer, recipe(max_length=limit))
    assert sample.ids == whole.ids[:limit]
    assert text(tokenizer, sample.ids[sample.masked :]) == kept
    assert sample.labels + sample.cut == whole.labels == 7


def test_cutting_the_source_keeps_cue_and_target(tokenizer, recipe):
    settings = recipe(max_length=54, truncation_side="source")
    row = {"input": "ann ran fast", "answer": "home", "output": "where?"}
    short, (sample,) = (
        encode([row | {"input": kept}], [], QUESTION, tokenizer, settings)
        for kept in ("ann ", "ann ran fast")
    )
    assert len(sample.ids) == 54
    assert [sample] == short
    assert sample.cut == 0


def test_cutting_the_source_takes_the_longest_field_first(tokenizer, recipe):
    row = {"input_1": "a" * 10, "input_2": "b" * 30, "output": "yes"}
    whole = encode(
        [row], [], training_template(TASKS["paraphrase"]), tokenizer, recipe(max_length=0)
    )[0]
    settings = recipe(max_length=len(whole.ids) - 35, truncation_side="source")
    (sample,) = encode([row], [], training_template(TASKS["paraphrase"]), tokenizer, settings)
    shown = text(tokenizer, sample.ids)
    assert "aaaaa\n### Input_2:\n\n### Paraphrase Classification:yes</s>" in shown
    assert "aaaaaa" not in shown


def test_a_context_that_leaves_no_room_is_an_error(tokenizer, recipe, rows):
    settings = recipe(max_length=100, truncation_side="source")
    with pytest.raises(ReproError, match="training row 0 does not fit into 100 tokens") as caught:
        encode(rows[:3], rows[:3], QUESTION, tokenizer, settings)
    assert "--set max_length=0" in caught.value.hint


def test_a_tokenizer_that_closes_texts_by_itself(tokenizer, recipe, rows):
    from tokenizers import processors

    plain = encode(rows[:3], [], QUESTION, tokenizer, recipe())
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert encode(rows[:3], [], QUESTION, tokenizer, recipe()) == plain


def test_a_tokenizer_without_eos_is_an_error(tokenizer, recipe, rows):
    tokenizer.eos_token = None
    with pytest.raises(ReproError, match="no EOS token"):
        encode(rows, [], QUESTION, tokenizer, recipe())


@pytest.fixture(scope="module")
def by_lines(llama_folder):
    """Llama-2's tokens, for all of the authors' rows: `tests/audit` holds it against the whole."""
    return load(llama_folder)


@pytest.mark.parametrize(
    ("shots", "tokens", "dead", "cut"),
    [(0, 845_643, 3, 3), (1, 1_663_956, 357, 66), (2, 1_892_999, 866, 119)],
)
def test_xsum_loses_the_targets_that_the_audit_counted(
    by_lines, upstream, recipe, shots, tokens, dead, cut
):
    rows = upstream("summary/xsum_train_2000.json")
    demonstrations = upstream("summary/few_shot/xsum_few_shot.json")[:shots]
    samples = encode(rows, demonstrations, SUMMARY, by_lines, recipe())
    assert sum(len(sample.ids) for sample in samples) == tokens
    assert sum(not sample.labels for sample in samples) == dead
    assert sum(bool(sample.cut and sample.labels) for sample in samples) == cut


def test_thirteen_xsum_targets_fuse_with_the_colon(llama_tokenizer, upstream, recipe):
    # Only what stands around the boundary matters; short inputs make it fast.
    rows = [row | {"input": "x"} for row in upstream("summary/xsum_train_2000.json")]
    joint, apart = (
        encode(rows, [], SUMMARY, llama_tokenizer, recipe(max_length=0, label_boundary=boundary))
        for boundary in ("joint", "separate")
    )
    differ = [i for i, sample in enumerate(joint) if sample != apart[i]]
    assert len(differ) == 13
    assert {rows[i]["output"][0] for i in differ} <= set('("\u201c\u2018' + "'")
    for i in differ:
        labels = llama_tokenizer.convert_ids_to_tokens(apart[i].ids[apart[i].masked : -1])
        assert "".join(labels).replace("▁", " ") == rows[i]["output"]
        assert apart[i].ids[: apart[i].masked - 1] == joint[i].ids[: joint[i].masked - 1]


@pytest.mark.parametrize(
    ("task", "name", "dataset", "shots", "tokens"),
    [
        ("question", "question/socialqa_train_2000", "question/few_shot/socialqa", 2, 311_774),
        ("sentiment", "sentiment/amazon_train_2000", "sentiment/few_shot/amazon", 0, 175_961),
        ("paraphrase", "detection/paws_train_6000", "detection/few_shot/paws", 0, 517_832),
        ("nli", "inference/multinli_train_2000", "inference/few_shot/multinli", 3, 596_172),
    ],
)
def test_input_tokens_of_the_other_tasks(
    by_lines, upstream, recipe, task, name, dataset, shots, tokens
):
    rows = upstream(f"{name}.json")
    demonstrations = upstream(f"{dataset}_few_shot.json")[:shots]
    samples = encode(rows, demonstrations, training_template(TASKS[task]), by_lines, recipe())
    assert sum(len(sample.ids) for sample in samples) == tokens
    assert not any(sample.cut for sample in samples)
