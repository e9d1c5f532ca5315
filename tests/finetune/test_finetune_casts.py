"""Linear layers in bfloat16 against autocast's own, bit for bit, and the memory that they take."""

from contextlib import closing
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from repro.finetune import objective as module
from repro.finetune.casts import Casts
from repro.finetune.encode import Sample
from repro.finetune.objective import objective
from repro.finetune.schedule import Weighted
from repro.machine.peak import peak_bytes
from repro.models.memory import Placement, finetune_peak_bytes
from repro.models.spec import Architecture

WIDE = Architecture(
    layers=3, hidden=256, intermediate=688, heads=4, kv_heads=4, vocabulary=600, context=512
)
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "tied": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "with bias": (Qwen2Config, Qwen2ForCausalLM, {}),
}


def model_of(kind: str) -> Any:
    torch.manual_seed(0)
    config, model, more = KINDS[kind]
    return model(config(**(WIDE.llama | more))).train()


def samples(shared: int, own: int = 12) -> list[Weighted]:
    generator = torch.Generator().manual_seed(1)
    start = torch.randint(3, 600, (shared,), generator=generator).tolist()
    rows = torch.randint(3, 600, (6, own), generator=generator).tolist()
    return [
        (Sample((*start, number + 1, *row), masked=shared + own - 3), 0.1)
        for number, row in enumerate(rows)
    ]


def gradients(model: Any, *, shared: int, budget: int, kept: bool = True) -> list[torch.Tensor]:
    """Of one step, the loss first."""
    with closing(objective(model, pad=0, autocast=True, kept_casts=kept)) as computes:
        loss = computes.backward(samples(shared), budget)
    return [loss, *(parameter.grad for parameter in model.parameters())]


class Plain:
    """Autocast does it, with its cache."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def forget(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(("shared", "budget"), [(0, 1000), (0, 30), (20, 50)])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "again for each use"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_bits_are_those_of_autocast(
    kind: str, kept: bool, shared: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gradients(model_of(kind), shared=shared, budget=budget, kept=kept)
    monkeypatch.setattr(module, "Casts", Plain)
    expected = gradients(model_of(kind), shared=shared, budget=budget)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_layers_compute_as_before_after_closing() -> None:
    layer = torch.nn.Linear(4, 4)
    states = torch.ones(2, 4)
    before = layer(states)
    casts = Casts(layer, kept=True)
    assert layer(states).dtype == torch.bfloat16
    casts.close()
    assert torch.equal(layer(states), before)


def test_frozen_weights_get_no_gradient() -> None:
    layer = torch.nn.Linear(4, 4)
    layer.weight.requires_grad_(False)
    states = torch.ones(2, 4, requires_grad=True)
    with closing(Casts(layer, kept=True)):
        layer(states).sum().backward()
    assert layer.weight.grad is None
    assert states.grad is not None
    torch.testing.assert_close(states.grad[0], layer.weight.sum(0), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("shared", [0, 20])
def test_copies_are_forgotten_when_weights_change(shared: int, recomputed: bool) -> None:
    model = model_of("llama")
    if recomputed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    with closing(objective(model, pad=0, autocast=True)) as computes:
        first = computes.backward(samples(shared), 50)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        second = computes.backward(samples(shared), 50)
    fresh = model_of("llama")
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.mul_(1.5)
    assert torch.equal(second, gradients(fresh, shared=shared, budget=50)[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shared", [0, 20])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "again for each use"])
def test_weights_weigh_as_planned(kept: bool, shared: int) -> None:
    """With few tokens a pass, weights' copies and gradients are nearly all that there is."""
    model = model_of("llama")
    moments = [torch.zeros_like(p) for p in model.parameters() for _ in range(2)]
    budget = shared + 30
    with closing(objective(model, pad=0, autocast=True, kept_casts=kept)) as computes:
        computes.backward(samples(shared), budget)
        model.zero_grad()
        found = peak_bytes(
            lambda: computes.backward(samples(shared), budget),
            torch.device("cpu"),
            [*model.parameters(), *model.buffers(), *moments],
        )
    planned = finetune_peak_bytes(
        WIDE,
        bfloat16=True,
        tokens=budget,
        placement=Placement(recast=not kept),
        shared=shared,
        copies=2,
    )
    assert planned == pytest.approx(found, rel=0.03)
