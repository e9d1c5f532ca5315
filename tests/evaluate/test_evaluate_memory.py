"""The formula for peak memory against torch's own tracker."""

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import LlamaConfig, LlamaForCausalLM

from repro.evaluate.forward import prefill, step
from repro.evaluate.prefix import sharing
from repro.models.memory import evaluation_peak_bytes
from repro.models.spec import Architecture

SHAPES = [
    # layers, width, inner, heads, heads of keys, vocabulary; rows, own tokens, new ones, shared
    (2, 64, 172, 4, 4, 100, 16, 64, 8, 0),
    (2, 64, 172, 4, 4, 100, 16, 64, 8, 200),
    (6, 64, 172, 4, 1, 1000, 8, 32, 16, 300),
    (3, 128, 344, 8, 8, 2000, 8, 100, 4, 40),
    (4, 64, 172, 4, 2, 500, 32, 8, 60, 100),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("cached", [False, True], ids=["labels", "generation"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_peak_of_a_batch_is_as_planned(
    shape: tuple[int, ...], dtype: str, cached: bool
) -> None:
    layers, width, inner, heads, kv_heads, vocabulary, rows, own, new, shared = shape
    torch.manual_seed(0)
    sizes = Architecture(
        layers=layers,
        hidden=width,
        intermediate=inner,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        context=4096,
    )
    model = LlamaForCausalLM(LlamaConfig(**sizes.llama)).to(getattr(torch, dtype)).eval()
    ids = torch.randint(3, vocabulary, (rows, shared + own))
    ids[:, :shared] = ids[0, :shared]
    prompts = ids.tolist()
    with sharing(model) as prefix:
        prefix.move_to((tuple(prompts[0][:shared]),) if shared else ())
        tracker = MemTracker()
        tracker.track_external(model, *(states for pair in prefix.layers for states in pair))
        with tracker:
            batch = prefill(model, prompts, prefix, pad=0, room=new if cached else None)
            for _ in range((new - 1) * cached):
                tracker.reset_mod_stats()  # it wants every pass announced
                batch = step(model, batch, batch.logits.argmax(-1))
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    planned = evaluation_peak_bytes(
        sizes, dtype, rows=rows, own=own, new=new, shared=shared, cached=cached
    )
    assert planned == pytest.approx(peak["Total"], rel=0.1)
