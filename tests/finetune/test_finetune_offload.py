"""AdamW with its moments in main memory takes the steps of torch's own, bit for bit."""

import pytest
import torch

from repro.finetune import finetune
from repro.finetune import loop as loops
from repro.finetune.offload import OffloadedAdamW
from repro.models.memory import SLOTS
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

SHAPES = [(33, 7), (1,), (64, 64), (5,), (129, 31), (2, 3, 11)]


def twins(dtype):
    torch.manual_seed(3)
    values = [torch.randn(shape, dtype=dtype) for shape in SHAPES]
    return [[torch.nn.Parameter(value.clone()) for value in values] for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bucket", [64, 200, 1000, 10**6])
def test_the_bits_of_plain_adamw_after_many_steps(bucket, dtype):
    plain, own = twins(dtype)
    expected = torch.optim.AdamW(plain, lr=1e-2, weight_decay=0.0, fused=True)
    found = OffloadedAdamW(own, lr=1e-2, bucket=bucket)
    generator = torch.Generator().manual_seed(5)
    for step in range(30):
        for a, b in zip(plain, own, strict=True):
            a.grad = torch.randn(a.shape, dtype=dtype, generator=generator) * 10.0 ** (step % 7 - 5)
            b.grad = a.grad.clone()
        for optimiser in (expected, found):
            optimiser.param_groups[0]["lr"] = 1e-2 / (step + 1)
            optimiser.step()
            optimiser.zero_grad()
        assert all(torch.equal(a, b) for a, b in zip(plain, own, strict=True)), step
    assert all(parameter.grad is None for parameter in own)


@pytest.mark.parametrize("bucket", [64, 200, 10**6])
def test_a_bucket_holds_no_more_than_it_may(bucket):
    own, _ = twins(torch.float32)
    weights = sum(parameter.numel() for parameter in own)
    optimiser = OffloadedAdamW(own, lr=1e-2, bucket=bucket)
    assert len(optimiser.slots) == min(SLOTS, -(-weights // bucket))
    assert all(slot.numel() <= 2 * bucket for slot in optimiser.slots)
    assert sum(moments.numel() for moments in optimiser._moments) == 2 * weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fine_tune_with_moments_in_main_memory(
    tokenizer, make_model, rows, recipe, dtype, monkeypatch
):
    plain, model = make_model(100), make_model(100)
    settings = recipe(dtype=dtype, learning_rate=1e-3, clip_norm=0.5)
    expected = finetune(
        plain, tokenizer, rows, rows[:1], training_template(TASKS["question"]), settings
    )
    monkeypatch.setattr(loops, "OffloadedAdamW", small := Small())
    facts = finetune(
        model,
        tokenizer,
        rows,
        rows[:1],
        training_template(TASKS["question"]),
        settings,
        offloaded=True,
    )
    assert small.buckets > 3
    assert facts.losses == expected.losses
    assert facts.gradient_norms == expected.gradient_norms
    assert facts.weight_change == expected.weight_change
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Small:
    """Makes the optimiser with buckets that a tiny model fills."""

    def __call__(self, parameters, *, lr):
        made = OffloadedAdamW(parameters, lr=lr, bucket=1000)
        self.buckets = len(made._buckets)
        return made
