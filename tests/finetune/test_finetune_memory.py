"""The formula for peak memory against torch's own tracker, and the profiles against the formula."""

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import LlamaConfig, LlamaForCausalLM

from repro import profiles
from repro.finetune.encode import Sample
from repro.finetune.objective import objective
from repro.finetune.offload import OffloadedAdamW
from repro.models import memory
from repro.models.memory import Placement, evaluation_bytes, finetune_peak_bytes
from repro.models.spec import Architecture, ModelSpec

SHAPES = [
    # layers, width, inner, heads, heads of keys, vocabulary, tokens of a sample, samples a pass
    (2, 64, 172, 4, 4, 100, 64, 8),
    (6, 64, 172, 4, 1, 1000, 64, 8),
    (4, 96, 400, 4, 2, 300, 128, 4),
    (3, 128, 344, 8, 8, 2000, 32, 40),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("offloaded", [False, True], ids=["whole", "offloaded"])
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_peak_of_a_step_is_as_planned(
    shape: tuple[int, ...], bfloat16: bool, offloaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BUCKET", 2000)
    layers, width, inner, heads, shared, vocabulary, length, samples = shape
    torch.manual_seed(0)
    sizes = Architecture(
        layers=layers,
        hidden=width,
        intermediate=inner,
        heads=heads,
        kv_heads=shared,
        vocabulary=vocabulary,
        context=4096,
    )
    model = LlamaForCausalLM(LlamaConfig(**sizes.llama)).train()
    optimiser: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    slots = []
    if offloaded:  # what lies in main memory is not tracked
        optimiser = offload = OffloadedAdamW(model.parameters(), lr=1e-3, bucket=memory.BUCKET)
        slots = offload.slots
    computes = objective(model, pad=0, autocast=bfloat16)
    ids = torch.randint(3, vocabulary, (2 * samples, length)).tolist()
    weighted = [(Sample(tuple(row), masked=length - 4), 0.1) for row in ids]
    tokens = samples * length
    computes.backward(weighted[:samples], tokens)  # gradients of the pass before
    optimiser.step()  # moments
    tracker = MemTracker()
    tracker.track_external(model, optimiser, *slots)
    with tracker:
        computes.backward(weighted[samples:], tokens)
        optimiser.step()
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    planned = finetune_peak_bytes(
        sizes, bfloat16=bfloat16, tokens=tokens, placement=Placement(offloaded=offloaded)
    )
    assert planned == pytest.approx(peak["Total"], rel=0.1)


@pytest.mark.parametrize("name", [n for n in profiles.names() if profiles.load(n).compute.gpus])
def test_profiles_ask_for_a_gpu_that_is_large_enough(name: str) -> None:
    profile = profiles.load(name)
    compute = profile.compute
    sizes = ModelSpec.from_table(profile.model, profile.origin).architecture
    assert sizes is not None
    bfloat16 = compute.dtype == "protocol"
    # The longest sample must fit; in the profile's own passes where several do.
    tokens = 1024 if bfloat16 else compute.train_tokens
    peak = finetune_peak_bytes(sizes, bfloat16=bfloat16, tokens=tokens) / 1e9
    assert peak <= compute.gpu_memory_gb <= 1.2 * peak
    alone = evaluation_bytes(sizes, "bfloat16" if bfloat16 else "float32", tokens=1024) / 1e9
    assert alone <= compute.gpu_memory_gb
