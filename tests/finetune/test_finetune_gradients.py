"""The gradients of a step equal those of plain micro-batches, on the authors' rows of all tasks.

The plain side tokenises and masks by itself, runs the model's own attention over padded
micro-batches of two, and adds up losses over a full tensor of logits.
"""

import random

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from repro.finetune import objective as objectives
from repro.finetune.attention import Packing
from repro.finetune.batches import passes, shared_tokens, weigh
from repro.finetune.encode import Sample, encode
from repro.finetune.objective import Packed, Padded, objective
from repro.paper.tasks import TASKS

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
    kit = encode(rows, demonstrations, TASKS[task], llama_tokenizer, recipe(max_length=limit))
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
