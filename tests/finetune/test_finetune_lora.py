"""LoRA against a closed form: a low-rank change gets the matrix's gradient, projected."""

from contextlib import closing
from copy import deepcopy

import pytest
import torch
from repro.paper.tasks import TASKS
from transformers import LlamaConfig, LlamaForCausalLM

from repro.finetune import finetune
from repro.finetune.encode import Sample
from repro.finetune.lora import SCALE, Changed, attach, merge
from repro.finetune.objective import objective
from repro.machine.peak import peak_bytes
from repro.models.memory import Placement, finetune_peak_bytes
from repro.models.spec import Architecture

WIDE = Architecture(
    layers=3, hidden=256, intermediate=688, heads=4, kv_heads=4, vocabulary=600, context=512
)
QUESTION = TASKS["question"]


def test_gradients_are_those_of_the_matrix_projected() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(6, 5, bias=False, dtype=torch.float64)
    layer = Changed(deepcopy(plain), 2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.up.weight.normal_()
        whole = plain.weight + SCALE * layer.up.weight @ layer.down.weight
    plain.weight = torch.nn.Parameter(whole)
    states = torch.randn(7, 6, dtype=torch.float64)
    for one in (plain, layer):
        one(states).square().sum().backward()
    torch.testing.assert_close(layer(states), plain(states))
    assert plain.weight.grad is not None
    up, down = SCALE * plain.weight.grad @ layer.down.weight.T, layer.up.weight.T
    torch.testing.assert_close(layer.up.weight.grad, up)
    torch.testing.assert_close(layer.down.weight.grad, SCALE * down @ plain.weight.grad)
    assert layer.frozen.weight.grad is None
    torch.testing.assert_close(layer.merged().weight, whole)


def test_a_fresh_change_changes_nothing_and_merging_leaves_the_model_as_it_was(make_model) -> None:
    model = make_model(100)
    names = [name for name, _ in model.named_parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attach(model, 3, seed=7)
    trained = [p for p in model.parameters() if p.requires_grad]
    layers = len(model.model.layers)
    assert len(trained) == 2 * 7 * layers
    merge(model)
    assert [name for name, _ in model.named_parameters()] == names
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fine_tune_moves_the_decoder_s_matrices_by_low_rank_alone(
    tokenizer, make_model, rows, recipe, dtype
) -> None:
    model = make_model(104)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = recipe(lora_rank=2, learning_rate=1e-2, dtype=dtype)
    facts = finetune(model, tokenizer, rows[:32], [], QUESTION, settings)
    assert facts.recipe["lora_rank"] == 2
    for name, after in model.named_parameters():
        if ".layers." in name and after.dim() == 2:
            moved = after.detach() - before[name]
            assert moved.abs().max() > 0, name
            if dtype == "float32":
                sizes = torch.linalg.svdvals(moved)
                assert sizes[2] < 1e-4 * sizes[0], name
        else:
            assert torch.equal(after.detach(), before[name].to(after.dtype)), name


def test_the_rank_is_named_where_it_is_used_alone(recipe) -> None:
    assert "lora_rank" not in recipe().table()
    assert recipe(lora_rank=4).table()["lora_rank"] == 4


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "again for each use"])
def test_memory_is_as_planned(kept: bool) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**WIDE.llama)).train()
    attach(model, 4, seed=1)
    trained = [p for p in model.parameters() if p.requires_grad]
    moments = [torch.zeros_like(p) for p in trained for _ in range(2)]
    ids = torch.randint(3, 600, (4, 16)).tolist()
    weighted = [(Sample(tuple(row), masked=12), 0.1) for row in ids]
    with closing(objective(model, pad=0, autocast=True, kept_casts=kept)) as computes:
        computes.backward(weighted, 64)
        held = [*model.parameters(), *model.buffers(), *moments]
        held += [p.grad for p in trained if p.grad is not None]
        found = peak_bytes(lambda: computes.backward(weighted, 64), torch.device("cpu"), held)
    where = Placement(recast=not kept)
    planned = finetune_peak_bytes(WIDE, bfloat16=True, tokens=64, placement=where, lora_rank=4)
    assert planned == pytest.approx(found, rel=0.15)
    assert planned < 0.5 * finetune_peak_bytes(WIDE, bfloat16=True, tokens=64, placement=where)
