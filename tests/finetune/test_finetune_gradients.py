"""The gradients of a step equal those of plain micro-batches, on the authors' rows of all tasks.

The plain side tokenises and masks by itself, runs the model's own attention over padded
micro-batches of two, and adds up losses over a full tensor of logits.
"""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from repro.finetune import flex
from repro.finetune import objective as objectives
from repro.finetune.attention import Packing
from repro.finetune.encode import Sample, encode
from repro.finetune.objective import Packed, Padded, objective
from repro.finetune.schedule import passes, shared_tokens, weigh
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

# Task, its folder, training set and demonstrations.
SETS = {
    "summary": ("summary", "xsum_train_2000", "xsum_few_shot"),
    "question": ("question", "socialqa_train_2000", "socialqa_few_shot"),
    "sentiment": ("sentiment", "amazon_train_2000", "amazon_few_shot"),
    "paraphrase": ("detection", "paws_train_2000", "paws_few_shot"),
    "nli": ("inference", "multinli_train_2000", "multinli_few_shot"),
}


def plain_samples(tokenizer, prompt, rows, demonstrations, limit):
    context = "".join(prompt.format(**row) + row["output"] + "\n\n" for row in demonstrations)
    found = []
    for row in rows:
        source = tokenizer(context + prompt.format(**row))["input_ids"]
        both = tokenizer(context + prompt.format(**row) + row["output"] + "</s>")["input_ids"]
        found.append((both[:limit], min(len(source), limit)))
    return found


def plain_gradients(model, samples):
    """Gradients of the sum over micro-batches of two of their mean loss, divided by 8."""
    model.zero_grad()
    for number in range(0, len(samples), 2):
        pair = samples[number : number + 2]
        longest = max(len(ids) for ids, _ in pair)
        ids, labels, mask = (torch.full((len(pair), longest), fill) for fill in (0, -100, 0))
        for row, (own, masked) in enumerate(pair):
            ids[row, : len(own)] = torch.tensor(own)
            labels[row, masked : len(own)] = ids[row, masked : len(own)]
            mask[row, : len(own)] = 1
        if (labels == -100).all():
            continue
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        (loss / 8).backward()
    return [parameter.grad for parameter in model.parameters()]


def largest(gradients):
    return max(gradient.abs().max().item() for gradient in gradients)


def assert_equal(found, expected, bound):
    assert largest(expected) > 0.01  # the bounds are for gradients of about this size
    assert largest([a - b for a, b in zip(found, expected, strict=True)]) <= bound


def step_gradients(computed, samples, budget):
    """Gradients by the kit, of the step whose micro-batches are neighbours."""
    groups = weigh(
        [[i, i + 1] for i in range(0, len(samples), 2)], samples, "micro-batch", len(samples) // 2
    )
    weighted = [pair for group in groups for pair in group]
    model = computed._model
    model.zero_grad()
    computed.backward(weighted, budget)
    return [parameter.grad for parameter in model.parameters()], weighted


def compact(samples):
    """The same samples with ids counted from 0, for a small vocabulary, and its size."""
    known = {}
    renamed = [
        ([known.setdefault(token, len(known)) for token in ids], masked) for ids, masked in samples
    ]
    return renamed, len(known)


@pytest.mark.parametrize("shots", [0, 2], ids=["FT", "FTICL"])
@pytest.mark.parametrize("task", SETS)
def test_gradients_on_real_rows(llama_tokenizer, upstream, make_model, recipe, task, shots):
    folder, train, few = SETS[task]
    rows = upstream(f"{folder}/{train}.json")[:16]
    demonstrations = upstream(f"{folder}/few_shot/{few}.json")[:shots]
    prompt = upstream("prompt_map.json")[0][folder]
    whole = plain_samples(llama_tokenizer, prompt, rows, demonstrations, 10**6)
    # Cuts a part of some targets, and the whole of others.
    limit = next(
        limit
        for limit in range(max(len(ids) for ids, _ in whole), 0, -1)
        if any(masked >= limit for _, masked in whole)
        and any(masked < limit < len(ids) for ids, masked in whole)
    )
    plain = plain_samples(llama_tokenizer, prompt, rows, demonstrations, limit)
    kit = encode(
        rows,
        demonstrations,
        training_template(TASKS[task]),
        llama_tokenizer,
        recipe(max_length=limit),
    )
    assert [(list(sample.ids), sample.masked) for sample in kit] == plain
    assert 0 < sum(not sample.labels for sample in kit) < 8
    assert any(sample.cut and sample.labels for sample in kit)

    plain, vocabulary = compact(plain)
    samples = [Sample(tuple(ids), masked) for ids, masked in plain]
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-6)):
        model = make_model(vocabulary, dtype=dtype, initializer_range=0.1)
        expected = plain_gradients(model, plain)
        computed = objective(model, pad=0, autocast=False)
        assert isinstance(computed, Packed)
        for budget in (10**6, 2 * limit, 1):
            found, weighted = step_gradients(computed, samples, budget)
            shared = shared_tokens(weighted)
            assert (shared > 0) == (shots > 0)
            many = len(list(passes(weighted, shared, budget)))
            assert many == 1 if budget > 2 * limit else many > 2
            assert_equal(found, expected, bound)


@pytest.fixture
def samples():
    """16 samples of made-up ids below 90 that begin alike, 30 to 80 tokens, one of them dead."""
    generator = torch.Generator().manual_seed(3)

    def ids(count):
        return torch.randint(90, (count,), generator=generator).tolist()

    start = ids(20)
    found = [Sample((*start, *ids(10 + 7 * i % 50)), 23 + i % 5) for i in range(15)]
    return [*found, Sample((*start, *ids(30)), 50)]


def of_type(kind, **settings):
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "vocab_size": 90,
    }
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **sizes, **special, **settings)
    return AutoModelForCausalLM.from_config(config).train()


@pytest.mark.parametrize(
    ("kind", "settings", "way"),
    [
        ("llama", {"mlp_bias": True, "attention_bias": True, "tie_word_embeddings": True}, Packed),
        ("mistral", {"sliding_window": None}, Packed),
        ("mistral", {"sliding_window": 20}, Padded),
        ("qwen2", {}, Packed),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 0},
            Padded,
        ),
        ("gemma2", {"head_dim": 8, "sliding_window": 20}, Padded),
        ("olmo", {}, Padded),
    ],
    ids=str,
)
def test_models_are_packed_where_it_is_exact(samples, kind, settings, way):
    model = of_type(kind, **settings)
    before = model.config._attn_implementation
    expected = plain_gradients(model, [(list(s.ids), s.masked) for s in samples])
    computed = objective(model, pad=0, autocast=False)
    assert isinstance(computed, way)
    for budget in (10**6, 200):
        found, _ = step_gradients(computed, samples, budget)
        assert_equal(found, expected, 2e-6)
    computed.close()
    assert model.config._attn_implementation == before


def test_a_model_with_dropout_is_not_packed():
    assert isinstance(
        objective(of_type("llama", attention_dropout=0.1), pad=0, autocast=False), Padded
    )


def test_a_bounded_number_of_logits_at_once(samples, monkeypatch):
    model = of_type("llama")
    expected = plain_gradients(model, [(list(s.ids), s.masked) for s in samples])
    monkeypatch.setattr(objectives, "LOGITS", 90 * 7)
    sizes = []
    model.lm_head.register_forward_hook(lambda _, __, logits: sizes.append(len(logits)))
    computed = objective(model, pad=0, autocast=False)
    found, _ = step_gradients(computed, samples, 10**6)
    assert max(sizes) == 7
    assert_equal(found, expected, 1e-6)


def test_a_shared_beginning_is_computed_once_a_step(samples):
    model = of_type("llama")
    seen = []
    model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    computed = objective(model, pad=0, autocast=False)
    step_gradients(computed, samples, 120)
    rests = sum(len(sample.ids) - 20 for sample in samples if sample.labels)
    assert seen[0] == 20
    assert len(seen) > 4
    assert sum(seen[1:]) == rests  # no padding, nothing twice
    assert max(seen[1:]) <= 100


def dense_attention(query, key, value, shared, lengths):
    """Attention by its formula, one sample after the other; tensors (heads, tokens, size)."""
    before = shared[0].shape[1]
    key, value = (t.repeat_interleave(query.shape[0] // t.shape[0], dim=0) for t in (key, value))
    first_key, first_value = (
        t.repeat_interleave(query.shape[0] // t.shape[0], dim=0) for t in shared
    )
    outputs, begin = [], 0
    for length in lengths:
        for place in range(begin, begin + length):
            keys = torch.cat([first_key, key[:, begin : place + 1]], dim=1)
            values = torch.cat([first_value, value[:, begin : place + 1]], dim=1)
            assert keys.shape[1] == before + place - begin + 1
            scores = torch.einsum("hd,hkd->hk", query[:, place], keys) * 0.3
            outputs.append(torch.einsum("hk,hkd->hd", scores.softmax(1), values))
        begin += length
    return torch.stack(outputs)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("before", [0, 5, 140])
@pytest.mark.parametrize("way", ["grouped", "flex"])
def test_attention_never_mixes_samples(before, way, monkeypatch):
    # FlexAttention as it is defined: a CPU compiles no backward pass.
    monkeypatch.setattr(flex, "_compiled", partial(flex._plain, must_compile=False))
    lengths = [150, 140, 90, 30, 29, 7, 1]
    torch.manual_seed(0)
    query = torch.randn(1, 4, sum(lengths), 16)
    key, value = torch.randn(2, 1, 2, sum(lengths), 16)
    first = tuple(torch.randn(2, 1, 2, before, 16))
    packing = Packing(lengths, torch.device("cpu"), {0: first} if before else {}, way=way)
    layer = torch.nn.Module()
    layer.layer_idx = 0
    with torch.compiler.set_stance("force_eager"):
        found = packing.attend(layer, query, key, value, 0.3)
    expected = dense_attention(query[0], key[0], value[0], (first[0][0], first[1][0]), lengths)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.parametrize("way", ["grouped", "flex"])
def test_gradients_on_a_gpu(samples, way):
    model = of_type("llama", head_dim=16)
    expected = plain_gradients(model, [(list(s.ids), s.masked) for s in samples])
    # A copy: moving the model itself would move these gradients with it.
    computed = objective(deepcopy(model).cuda(), pad=0, autocast=False, way=way)
    for budget in (10**6, 200, 120):
        found, _ = step_gradients(computed, samples, budget)
        assert_equal([gradient.cpu() for gradient in found], expected, 1e-5)
