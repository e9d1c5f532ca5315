"""Tiny models, a word-level tokenizer, and small jobs."""

import os
from collections.abc import Callable, Iterator

import datasets
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from repro.data.upstream import UpstreamData
from repro.evaluate import Job
from repro.spec.cells import Cell
from repro.spec.tasks import Part
from repro.studies.paper.prompts import TEMPLATES
from repro.studies.paper.study import study
from repro.studies.paper.tasks import DATASETS, task_of

WORDS = ["the", "red", "blue", "cat", "dog", "bird", "sees", "finds", "a", "house", "tree", "near"]
LABELS = ["positive", "negative", "yes", "no", "entailment", "neutral", "contradiction"]
PATTERN = r"\n\n|\n|\w+|[^\w\s]"


def word_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """A word-level tokenizer in which line breaks are tokens, as a micro model has it."""
    pieces = Regex(PATTERN)
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pieces, "isolated"), pre_tokenizers.Split(" ", "removed")]
    )
    texts = [
        *WORDS,
        *LABELS,
        *(text for prompts in TEMPLATES.values() for text in prompts.values()),
    ]
    found = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    vocabulary = ["<unk>", "<s>", "</s>", "\n\n", *sorted(found - {"\n\n"})]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = split
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def tiny_llama(vocabulary: int) -> LlamaForCausalLM:
    """A random Llama with large weights, so that its answers vary from row to row.

    EOS (2) and blank lines (3) are made likely.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[2:4] *= 2
    return model


def _text(generator: torch.Generator, low: int, high: int) -> str:
    count = int(torch.randint(low, high, (), generator=generator))
    picks = torch.randint(len(WORDS), (count,), generator=generator).tolist()
    return " ".join(WORDS[pick] for pick in picks)


def make_rows(dataset: str, count: int, seed: int) -> datasets.Dataset:
    """Random rows of a data set's task."""
    task = DATASETS[dataset].task
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for position in range(count):
        row: dict[str, object] = {"row": position}
        row |= {field: _text(generator, 1, 12) for field in task.fields}
        label = task.labels[position % len(task.labels)] if task.labels else ""
        row["output"] = label or _text(generator, 3, 8)
        rows.append(row)
    return datasets.Dataset.from_list(rows)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads, much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """A job of random rows from a cell's name."""

    def make(name: str, count: int = 7) -> Job:
        cell = Cell.parse(name)
        return Job(
            study().evaluation(cell),
            make_rows(cell.dataset, count, 1),
            make_rows(cell.dataset, 8, 2),
        )

    return make


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that puts a BOS in front."""
    return word_tokenizer(bos=True)


@pytest.fixture(scope="session")
def bare() -> PreTrainedTokenizerFast:
    """The same without a BOS of its own."""
    return word_tokenizer(bos=False)


@pytest.fixture(scope="session")
def llama(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A tiny random Llama for `words`."""
    return tiny_llama(len(words))


@pytest.fixture(scope="session")
def llama2() -> PreTrainedTokenizerFast:
    """The true Llama-2 tokenizer."""
    folder = os.environ.get("REPRO_LLAMA2_TOKENIZER")
    if not folder:
        pytest.skip("REPRO_LLAMA2_TOKENIZER names no folder with the Llama-2 tokenizer")
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def real_job(upstream: UpstreamData) -> Callable[..., Job]:
    """A job on the authors' rows, from a cell's name; the first 250, as they score."""

    def make(name: str, count: int = 250) -> Job:
        cell = Cell.parse(name)
        return Job(
            study().evaluation(cell),
            upstream.rows(Part("test", cell.dataset), task_of(Part("test", cell.dataset))).select(
                range(count)
            ),
            upstream.rows(
                Part("demonstrations", cell.dataset), task_of(Part("demonstrations", cell.dataset))
            ),
        )

    return make
