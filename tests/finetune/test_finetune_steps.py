"""The optimiser steps are those of the authors' trainer, shown by a second implementation.

The first half of this file is the fine-tuning of AUDIT A2, A10 and A11 as plainly as it can be
written. It shares no code with the kit: its own encoding, naive loops over micro-batches of two,
the model's own loss, AdamW and the learning rate written out by hand.
"""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from repro.finetune import finetune
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

QUESTION = training_template(TASKS["question"])
PROMPT = "### Input:\n{input}\n### Answer:\n{answer}\n### Question:"


def plain_encode(tokenizer, rows, demonstrations, max_length):
    """(ids, labels) of each row: both strings tokenised, both cut, the source's length masked."""
    context = ""
    for row in demonstrations:
        context += PROMPT.format(**row) + row["output"] + "\n\n"
    examples = []
    for row in rows:
        source = context + PROMPT.format(**row)
        ids = tokenizer(source + row["output"] + "</s>")["input_ids"]
        source_ids = tokenizer(source)["input_ids"]
        if max_length:
            ids = ids[:max_length]
            source_ids = source_ids[:max_length]
        labels = [-100] * len(source_ids) + ids[len(source_ids) :]
        examples.append((ids, labels))
    return examples


def plain_collate(examples, pad):
    longest = max(len(ids) for ids, _ in examples)
    padded, labels, mask = [], [], []
    for ids, own in examples:
        rest = longest - len(ids)
        padded.append(ids + [pad] * rest)
        labels.append(own + [-100] * rest)
        mask.append([1] * len(ids) + [0] * rest)
    return torch.tensor(padded), torch.tensor(labels), torch.tensor(mask)


def plain_train(model, examples, order, *, pad, learning_rate, clip_norm=0.0, step_tokens=False):
    """Trains in place; returns (losses of micro-batches, None for dead ones; losses of steps)."""
    parameters = list(model.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    micro_batches_of_epoch = math.ceil(len(examples) / 2)
    planned = len(order) * max(micro_batches_of_epoch // 8, 1)
    model.train()
    model.zero_grad()
    micro_losses, step_losses, in_step = [], [], []
    counted = 0
    for positions in order:
        for number in range(micro_batches_of_epoch):
            batch = [examples[i] for i in positions[2 * number : 2 * number + 2]]
            ids, labels, mask = plain_collate(batch, pad)
            output = model(input_ids=ids, attention_mask=mask, labels=labels)
            loss = output.loss
            if output.logits.dtype == torch.float64:  # the model's own loss is float32
                loss = cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            count = (labels != -100).sum().item()
            if step_tokens:
                if count:
                    (loss * count).backward()
            else:
                (loss / 8).backward()
            micro_losses.append(None if loss.isnan() else loss.item())
            in_step.append((micro_losses[-1], count))
            counted += 1
            end_of_small_epoch = (
                micro_batches_of_epoch <= 8 and number + 1 == micro_batches_of_epoch
            )
            if counted % 8 and not end_of_small_epoch:
                continue
            living = [(value, n) for value, n in in_step if n]
            if step_tokens:
                total = sum(n for _, n in living)
                for p in parameters:
                    p.grad /= total
                step_losses.append(sum(value * n for value, n in living) / total)
            else:
                step_losses.append(sum(value for value, _ in living) / 8 if living else None)
            in_step = []
            if clip_norm:
                # The trainers' clipping adds 1e-6 to the norm that it divides by.
                norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in parameters))
                for p in parameters:
                    p.grad *= min(1.0, clip_norm / (norm + 1e-6))
            done = len(step_losses)
            rate = learning_rate * (planned - (done - 1)) / planned
            with torch.no_grad():
                for p, m, v in zip(parameters, first, second, strict=True):
                    g = p.grad
                    m.copy_(0.9 * m + 0.1 * g)
                    v.copy_(0.999 * v + 0.001 * g * g)
                    unbiased_m = m / (1 - 0.9**done)
                    unbiased_v = v / (1 - 0.999**done)
                    p -= rate * unbiased_m / (unbiased_v.sqrt() + 1e-8)
            model.zero_grad()
            if done == planned:
                return micro_losses, step_losses
    raise AssertionError("unreachable")


def shuffled(count, epochs=2):
    generator = torch.Generator().manual_seed(7)
    return [torch.randperm(count, generator=generator).tolist() for _ in range(epochs)]


def both(model_of, tokenizer, rows, demonstrations, recipe, **settings):
    """Train twins with the kit and plainly: (facts, losses of micro-batches and steps, models)."""
    ours, plain = model_of(), model_of()
    order = shuffled(len(rows))
    examples = plain_encode(tokenizer, rows, demonstrations, recipe.max_length)
    facts = finetune(
        ours, tokenizer, rows, demonstrations, QUESTION, recipe, order=order, **settings
    )
    # The row that the pad token gets: the mean of the others.
    plain.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for weight in (plain.model.embed_tokens.weight, plain.lm_head.weight):
            weight[-1] = weight[:-1].mean(dim=0)
    micro, steps = plain_train(
        plain,
        examples,
        order,
        pad=tokenizer.pad_token_id,
        learning_rate=recipe.learning_rate,
        clip_norm=recipe.clip_norm,
        step_tokens=recipe.loss_weighting == "step-tokens",
    )
    return facts, micro, steps, (dict(ours.named_parameters()), plain.named_parameters())


@pytest.mark.parametrize(
    ("count", "shots", "max_length"),
    [(45, 0, 1024), (33, 0, 75), (45, 2, 190), (11, 2, 190), (1, 0, 1024)],
    ids=["FT", "FT, dead", "FTICL, dead micro-batches", "an epoch below a step", "one row"],
)
def test_losses_and_weights_equal_a_plain_trainer(
    tokenizer, make_model, rows, recipe, same_losses, same_weights, count, shots, max_length
):
    facts, micro, steps, models = both(
        lambda: make_model(len(tokenizer)),
        tokenizer,
        rows[5 : 5 + count],
        rows[:shots],
        recipe(max_length=max_length),
    )
    assert (facts.dead_samples > 0) == (max_length < 200)
    assert None in micro or not (shots and count == 45)  # the case is what its name says
    same_losses(facts.losses, steps, "float32")
    same_weights(*models, facts.recipe["learning_rate"], "float32")


@pytest.mark.parametrize(
    "changes",
    [
        {"max_length": 190},
        {"clip_norm": 0.05},
        {"loss_weighting": "step-tokens", "max_length": 190},
    ],
    ids=str,
)
def test_a_large_learning_rate_in_double_precision(
    tokenizer, make_model, rows, recipe, same_losses, same_weights, changes
):
    facts, _, steps, models = both(
        lambda: make_model(len(tokenizer), dtype=torch.float64),
        tokenizer,
        rows[:40],
        rows[:2],
        recipe(learning_rate=1e-2, dtype="float64", **changes),
    )
    same_losses(facts.losses, steps, "float64")
    same_weights(*models, facts.recipe["learning_rate"], "float64")
    assert facts.weight_change["all"] > 1e-3  # far more than the bound


@pytest.mark.parametrize(
    ("shots", "max_length"), [(0, 1024), (1, 94)], ids=["FT", "FTICL with dead micro-batches"]
)
def test_real_rows_and_the_real_tokenizer(
    llama_tokenizer, upstream, make_model, recipe, same_losses, same_weights, shots, max_length
):
    rows = upstream("question/socialqa_train_2000.json")[:40]
    demonstrations = upstream("question/few_shot/socialqa_few_shot.json")[:shots]
    facts, micro, steps, models = both(
        lambda: make_model(len(llama_tokenizer)),
        llama_tokenizer,
        rows,
        demonstrations,
        recipe(max_length=max_length),
    )
    assert (None in micro) == bool(shots)
    same_losses(facts.losses, steps, "float32")
    same_weights(*models, facts.recipe["learning_rate"], "float32")


def test_a_dead_step_has_no_loss_and_moves_by_momentum_alone(tokenizer, make_model, rows, recipe):
    living, dead = rows[:16], [row | {"input": "long " * 30} for row in rows[:16]]
    model = make_model(len(tokenizer))
    order = [[*range(16), *range(16, 32)]]
    facts = finetune(
        model,
        tokenizer,
        living + dead,
        [],
        QUESTION,
        recipe(max_length=120, epochs=1),
        order=order,
    )
    assert facts.losses[1] is None
    assert facts.gradient_norms[0] > 0
    assert facts.gradient_norms[1] == 0
    assert facts.dead_micro_batches == [8]


@pytest.mark.parametrize("budget", [1, 1000])
def test_the_token_budget_changes_rounding_only(
    tokenizer, make_model, rows, recipe, same_losses, same_weights, budget
):
    facts, _, steps, models = both(
        lambda: make_model(len(tokenizer), dtype=torch.float64),
        tokenizer,
        rows[:20],
        rows[:1],
        recipe(dtype="float64", learning_rate=1e-3),
        token_budget=budget,
    )
    same_losses(facts.losses, steps, "float64")
    same_weights(*models, facts.recipe["learning_rate"], "float64")


def test_weights_after_fifty_steps(tokenizer, make_model, rows, recipe, same_losses, same_weights):
    facts, _, steps, models = both(
        lambda: make_model(len(tokenizer)),
        tokenizer,
        rows * 8,
        rows[:2],
        recipe(max_length=190, learning_rate=1e-4),
        token_budget=1000,
    )
    assert facts.steps == 50
    assert facts.dead_samples > 0
    assert facts.weight_change["all"] > 1e-4  # far more than the bound
    same_losses(facts.losses, steps, "float32")
    same_weights(*models, facts.recipe["learning_rate"], "float32")


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_other_architectures(tokenizer, rows, recipe, same_losses, same_weights, kind):
    """One with tied embeddings, learnt positions and dropout fields; one with a sliding window."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "gpt2": {
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 512,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        "mistral": {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "sliding_window": 40,
        },
    }[kind]
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    tokenizer.pad_token = "<unk>"
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **sizes, **special)

    def make():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)

    ours, plain = make(), make()
    order = shuffled(33)
    settings = recipe(max_length=190)
    facts = finetune(ours, tokenizer, rows[:33], rows[:2], QUESTION, settings, order=order)
    _, steps = plain_train(
        plain,
        plain_encode(tokenizer, rows[:33], rows[:2], 190),
        order,
        pad=tokenizer.pad_token_id,
        learning_rate=settings.learning_rate,
    )
    same_losses(facts.losses, steps, "float32")
    weights = dict(ours.named_parameters())
    same_weights(weights, plain.named_parameters(), settings.learning_rate, "float32")
