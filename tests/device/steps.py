"""Optimiser steps on a GPU that is not there: torch's fake tensors say "cuda" and hold no numbers.

Every operation still checks that its tensors are on one device, and FlexAttention is traced,
forward and backward, as it would be for kernels. Arguments: the library made of `stand_in.cpp`, the
way to attend, and 1 where activations are computed again. Prints the number of graphs.
"""

import ctypes
import os
import random
import sys
import warnings
from contextlib import closing
from typing import Any

LIBRARY = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
"""Loaded before torch, which asks once whether there is a device."""

import torch  # noqa: E402
from functorch.compile import make_boxed_func  # noqa: E402
from torch._dynamo.backends.common import aot_autograd  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from repro.finetune import flex  # noqa: E402
from repro.finetune.encode import Sample  # noqa: E402
from repro.finetune.objective import Packed, objective  # noqa: E402
from repro.finetune.schedule import Weighted  # noqa: E402

# Shared tokens, samples, shortest and longest behind them, tokens of a pass.
MIXES = [
    (0, 16, 300, 900, 2048),
    (0, 16, 10, 60, 2048),
    (0, 1, 5, 60, 2048),
    (0, 2, 10, 40, 2048),
    (500, 16, 200, 500, 2048),
    (300, 16, 20, 80, 2048),
    (600, 16, 30, 200, 1024),
    (20, 2, 2, 2, 2048),
    (700, 3, 5, 20, 2048),
    (0, 4, 32, 32, 2048),
]


def step(mix: tuple[int, ...], generator: random.Random) -> tuple[list[Weighted], int]:
    shared, count, shortest, longest, budget = mix
    start = [generator.randrange(3, 99) for _ in range(shared)]
    weighted: list[Weighted] = []
    for number in range(count):
        length = generator.randint(shortest, longest)
        own = [number + 100, *(generator.randrange(3, 99) for _ in range(length - 1))]
        weighted.append((Sample((*start, *own), shared + max(1, length - 4)), 0.1))
    return weighted, budget


def kernels(graph: Any, _: Any) -> Any:
    """In place of kernels: the graph as it is, whose every tensor must be an input.

    A tensor inside it would be of this process's device, and torch keeps no such graph on disk.
    """
    for part in graph.modules():
        for name, value in [*vars(part).items(), *part.named_buffers(recurse=False)]:
            assert not isinstance(value, torch.Tensor), name
    return make_boxed_func(graph.forward)


def main(way: Any, recomputed: bool) -> None:
    """Steps of all kinds; raises where an operation mixes devices."""
    LIBRARY.stand_in()
    warnings.simplefilter("ignore")
    torch.Tensor.pin_memory = lambda self, *_: self  # type: ignore[method-assign]  # fake ones cannot
    compiled = flex._compiled
    backend: Any = aot_autograd(fw_compiler=kernels, bw_compiler=kernels)
    flex._compiled = lambda *words: compiled(*words, backend)  # type: ignore[assignment]
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=500,
        max_position_embeddings=4096,
    )
    FakeTensorMode.avoid_device_init = True
    shapes = ShapeEnv()
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=shapes, static_shapes=True):
        with torch.device("cuda", 0):
            model: Any = LlamaForCausalLM(config).train()
        if recomputed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        generator = random.Random(0)
        with closing(objective(model, pad=0, autocast=True, way=way)) as computes:
            assert isinstance(computes, Packed)
            for mix in MIXES:
                loss = computes.backward(*step(mix, generator))
                assert loss.device.type == "cuda"
                for name, parameter in model.named_parameters():
                    assert parameter.grad is not None, name
                    assert parameter.grad.device.type == "cuda", name
                model.zero_grad()
    print(flex.graphs())


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3] == "1")
    # Threads of the autograd engine still run here. An orderly exit destroys what they use, which
    # with the stand-in loaded at times ends in "terminate called without an active exception".
    sys.stdout.flush()
    os._exit(0)
