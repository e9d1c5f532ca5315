"""Greedy generation: where it stops, and what counts as its text."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM

from repro.evaluate.batches import Budget
from repro.evaluate.forward import best_label
from repro.evaluate.generate import generate, stop_ids
from repro.evaluate.prefix import sharing

EOS, BLANK, BREAK = 2, 3, 4


class Parrot(torch.nn.Module):
    """A model that writes what it is told, whatever it reads: row by row, token by token."""

    def __init__(self, scripts, vocabulary):
        super().__init__()
        self.scripts, self.vocabulary, self.steps = scripts, vocabulary, 0
        self.device, self.generation_config = torch.device("cpu"), None

    def get_input_embeddings(self):
        return torch.nn.Embedding(self.vocabulary, 1)

    def forward(self, input_ids, position_ids, **inputs):
        # Prompts are one token long, so the position tells how much is written.
        place = int(position_ids[0, -1])
        logits = torch.zeros(len(input_ids), 1, self.vocabulary)
        for row, script in enumerate(self.scripts):
            logits[row, 0, script[min(place, len(script) - 1)]] = 1.0
        self.steps += 1
        return type("Output", (), {"logits": logits, "past_key_values": None})()


def told(tokenizer, scripts, *, limit=6, cut=True):
    """What comes of scripts, and in how many forward passes."""
    parrot = Parrot(scripts, len(tokenizer))
    prompts = [[7]] * len(scripts)
    found = generate(
        parrot,
        tokenizer,
        prompts,
        Budget(10_000),
        max_new_tokens=limit,
        cut_at_blank_line=cut,
    )
    return found, parrot.steps


def ids(words, text):
    return words(text, add_special_tokens=False)["input_ids"]


def test_text_ends_at_eos_blank_line_or_length(words):
    cat, dog, bird = ids(words, "cat dog bird")
    found, steps = told(
        words,
        [
            [cat, dog, EOS],
            [cat, BLANK, dog, dog, dog, dog],
            [cat, dog, bird, cat, dog, bird],
            [BLANK, cat, cat, cat, cat, cat],
            [EOS],
            [cat, BREAK, dog, EOS],
        ],
    )
    assert [generation.text.strip() for generation in found] == [
        "cat dog",
        "cat",
        "cat dog bird cat dog bird",
        "",
        "",
        "cat \n dog",
    ]
    assert [generation.stopped for generation in found] == [
        "eos",
        "blank-line",
        "length",
        "blank-line",
        "eos",
        "eos",
    ]
    assert [len(generation.tokens) for generation in found] == [3, 2, 6, 1, 1, 4]
    assert steps == 6


def test_stops_as_soon_as_all_rows_are_done(words):
    cat, dog = ids(words, "cat dog")
    _, steps = told(words, [[cat, EOS], [cat, dog, BLANK, dog, dog]], limit=50)
    assert steps == 3


def test_without_the_cut_a_blank_line_is_text(words):
    cat, dog = ids(words, "cat dog")
    (found,), _ = told(words, [[cat, BLANK, dog, EOS]], cut=False)
    assert found.text.split("\n\n") == ["cat ", " dog"]
    assert found.stopped == "eos"


@pytest.mark.parametrize("share", [True, False])
def test_stopping_early_leaves_every_text_as_it_would_be(words, llama, share):
    """Against the uncut text of the same model, cut afterwards."""
    prompts = [[1, *range(5, 5 + n), 9] for n in range(1, 25)]
    texts = {}
    for cut in (True, False):
        with sharing(llama) if share else nullcontext() as prefix:
            if prefix:
                prefix.move_to(((1, 5),))
            texts[cut] = generate(
                llama,
                words,
                prompts,
                Budget(10_000),
                max_new_tokens=12,
                cut_at_blank_line=cut,
                prefix=prefix,
            )
    assert {generation.stopped for generation in texts[True]} == {"eos", "blank-line", "length"}
    for early, whole in zip(texts[True], texts[False], strict=True):
        assert early.text == whole.text.split("\n\n")[0]
        assert early.tokens == whole.tokens[: len(early.tokens)]


def test_line_breaks_of_the_llama_2_tokenizer(llama2):
    """There a blank line is two tokens, and text carries no blank in front."""
    script = ids(llama2, "Will wants to go.\n\n### Input:")
    scripts = [script, [script[0], 13, *script[1:]], [13, 13, *script]]
    found, _ = told(llama2, scripts, limit=20)
    assert [generation.text for generation in found] == [
        "Will wants to go.",
        "Will\n wants to go.",
        "",
    ]
    assert {generation.stopped for generation in found} == {"blank-line"}


def test_all_stop_ids_of_a_model_count(words, llama: LlamaForCausalLM, monkeypatch):
    assert stop_ids(llama.generation_config, words) == {EOS}
    monkeypatch.setattr(llama.generation_config, "eos_token_id", [11, 12])
    assert stop_ids(llama.generation_config, words) == {EOS, 11, 12}


def test_of_equal_labels_the_first():
    assert best_label({"yes": 1.0, "no": 1.0}) == "yes"
    assert best_label({"entailment": -3.0, "neutral": 2.5, "contradiction": 2.5}) == "neutral"


def test_a_pad_token_that_the_embedding_lacks(words, llama):
    """Such a tokenizer comes with models whose authors never trained the token."""
    more = copy.deepcopy(words)
    more.add_special_tokens({"pad_token": "<beyond>"})
    assert more.pad_token_id >= llama.get_input_embeddings().num_embeddings
    prompts = [ids(words, "the cat"), ids(words, "the dog sees a house")]
    found, expected = (
        generate(llama, one, prompts, Budget(10_000), max_new_tokens=4, cut_at_blank_line=True)
        for one in (more, words)
    )
    assert [generation.text for generation in found] == [one.text for one in expected]


def test_a_step_waits_for_the_device_once(words, llama):
    """Every number that Python asks of a tensor is one wait for a GPU."""
    prompts = [[1, *range(5, 40), n, n + 1] for n in range(3, 8)]
    asked, steps = [], []

    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._local_scalar_dense.default:
                asked.append(func)
            return func(*args, **(kwargs or {}))

    forward = llama.forward

    def note(**inputs):
        steps.append(inputs["input_ids"].shape[1] == 1)
        return forward(**inputs)

    llama.forward = note
    with sharing(llama) as prefix, Asked():
        prefix.move_to((tuple(prompts[0][:36]),))
        before = len(asked)
        found = generate(
            llama,
            words,
            prompts,
            Budget(10_000),
            max_new_tokens=9,
            cut_at_blank_line=False,
            prefix=prefix,
        )
    assert sum(steps) >= 3
    assert max(len(generation.tokens) for generation in found) > 3
    # What a step has to say comes as one list, which is no question of this kind.
    assert len(asked) == before
