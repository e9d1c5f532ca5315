"""Tiny models and tokenizers, and the authors' rows where they are at hand."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, processors
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaRMSNorm

CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n"]


@pytest.fixture
def tokenizer():
    """One token a character, but ":(" is one; puts <s> first, has </s>, and no pad token."""
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", *CHARACTERS, ":("])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[(":", "(")], unk_token="<unk>"))
    inner.decoder = decoders.Fuse()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@pytest.fixture(scope="session")
def llama_folder():
    folder = os.environ.get("REPRO_LLAMA2_TOKENIZER")
    if not folder:
        pytest.skip("REPRO_LLAMA2_TOKENIZER names no folder with the Llama-2 tokenizer")
    return folder


@pytest.fixture
def llama_tokenizer(llama_folder):
    return AutoTokenizer.from_pretrained(llama_folder)


@pytest.fixture(scope="session")
def upstream():
    """Reads a file of the authors' data folder."""
    folder = os.environ.get("REPRO_UPSTREAM_DATA")
    if not folder:
        pytest.skip("REPRO_UPSTREAM_DATA names no copy of the authors' data")
    return lambda name: json.loads(Path(folder, name).read_text(encoding="utf-8"))


def _in_double_precision(module):
    """Replace transformers' norms, which compute in float32 whatever their weights are."""
    for name, child in module.named_children():
        if isinstance(child, LlamaRMSNorm):
            width, eps = child.weight.shape[0], child.variance_epsilon
            setattr(module, name, torch.nn.RMSNorm(width, eps=eps))
        else:
            _in_double_precision(child)


@pytest.fixture
def make_model():
    """Makes a randomly initialised Llama; the same numbers for the same seed."""

    def make(vocabulary, *, seed=0, dtype=torch.float32, **settings):
        torch.manual_seed(seed)
        sizes = {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            "initializer_range": 0.2,  # large enough that attention matters
        }
        model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **(sizes | settings)))
        if dtype == torch.float64:
            _in_double_precision(model)
        return model.to(dtype).eval()

    return make


@pytest.fixture
def rows():
    """50 generated rows of the question task, of many lengths."""
    words = ["ann", "ben", "saw", "a", "red", "fox", "near", "the", "old", "barn", "ran"]
    return [
        {
            "input": " ".join(words[i % 7 : i % 7 + 1 + i * 5 % 11]),
            "answer": words[i % len(words)],
            "output": ("(" if i % 9 == 4 else "")
            + " ".join(words[i % 5 : i % 5 + 1 + i % 4])
            + "?",
        }
        for i in range(50)
    ]


@pytest.fixture
def recipe():
    """Makes a recipe of published-code with other values for single fields."""
    from dataclasses import replace

    from repro.finetune import recipe_from
    from repro.studies.paper.protocols import protocol

    def make(**changes):
        base = recipe_from(protocol("published-code"), seed=1, dtype="float32")
        return replace(base, **changes)

    return make


def _same_losses(ours: Sequence[float | None], plain: Sequence[float | None], dtype: str) -> None:
    """A loss is a mean of logarithms of sums, each off by some units in the last place."""
    assert [loss is None for loss in ours] == [loss is None for loss in plain]
    living = [loss for loss in plain if loss is not None]
    bound = 32 * torch.finfo(getattr(torch, dtype)).eps
    assert [loss for loss in ours if loss is not None] == pytest.approx(living, rel=bound)


@pytest.fixture
def same_losses() -> Callable[[Sequence[float | None], Sequence[float | None], str], None]:
    """Asserts that two lists of losses differ by no more than rounding in a dtype."""
    return _same_losses


@pytest.fixture
def same_weights() -> Callable[[Mapping, Iterable, float, str], None]:
    """Asserts that weights after a fine-tune differ by no more than rounding.

    AdamW's step is about the learning rate whatever the size of a gradient. Where a gradient is
    little more than its own rounding, the step is off by a part of the learning rate; elsewhere by
    rounding alone. A lost micro-batch shifts most weights by a large part of it.
    """

    def check(ours: Mapping, plain: Iterable, learning_rate: float, dtype: str) -> None:
        eps = torch.finfo(getattr(torch, dtype)).eps
        apart = torch.cat(
            [(ours[name] - weight.detach()).abs().flatten() for name, weight in plain]
        )
        few = learning_rate * 1e5 * eps
        assert (apart > few).double().mean() < 1e-3
        assert apart.max() < 10 * few

    return check
