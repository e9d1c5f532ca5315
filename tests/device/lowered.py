"""FlexAttention's kernels, made for a GPU that is not there: torch lowers, Triton compiles.

Arguments: the library made of `stand_in.cpp`, and the compute capability, such as 9.0. Prints a
line of JSON: of each kernel its shape, whether it is for gradients, bytes of shared memory,
registers and bytes of stack a thread, atomic operations, how many versions a GPU would choose from
by their times, and the GPU that it is for.
"""

import ctypes
import json
import re
import subprocess
import sys
import tempfile
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

LIBRARY = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
"""Loaded before torch, which asks once whether there is a device."""

import torch  # noqa: E402
import torch._inductor.config as inductor  # noqa: E402
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402
from functorch.compile import make_boxed_func  # noqa: E402
from torch._inductor.codecache import PyCodeCache  # noqa: E402
from torch._inductor.compile_fx import compile_fx, compile_fx_inner  # noqa: E402
from torch._inductor.exc import InductorError  # noqa: E402
from torch._inductor.graph import GraphLowering  # noqa: E402
from torch._inductor.runtime import triton_helpers  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: E402
from triton.backends.compiler import GPUTarget  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402
from triton.runtime.driver import driver  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402

from repro.finetune import flex  # noqa: E402
from repro.machine.numerics import prepare  # noqa: E402

SHAPES = {
    "bfloat16, heads of 128": (torch.bfloat16, 128, 32, 32),
    "bfloat16, heads of 128, shared keys": (torch.bfloat16, 128, 32, 8),
    "float32, heads of 64, shared keys": (torch.float32, 64, 9, 3),
}
"""Precision, head size, heads, and heads of keys: Llama-2-7b's, a larger Llama's, SmolLM2's."""

PASSES = (([300, 200], 0), ([300, 200, 77], 300))
"""Lengths of samples, and tokens that they share."""

SHARED = {"8.0": 163 * 1024, "8.9": 99 * 1024, "9.0": 227 * 1024}
"""Most bytes of shared memory that a block can ask for (CUDA C++ programming guide)."""

CODE: list[tuple[str, bool, str]] = []
"""Shape, whether for gradients, and code that torch made."""


class Made(Exception):  # noqa: N818
    """The code is there; loading it would need the GPU."""


def stand_in(capability: str) -> None:
    """Let torch and Triton take the device for a GPU of this kind."""
    LIBRARY.stand_in()
    major, minor = map(int, capability.split("."))
    properties = SimpleNamespace(
        name="stand-in",
        major=major,
        minor=minor,
        multi_processor_count=108,
        total_memory=40 * 10**9,
        shared_memory_per_block_optin=SHARED[capability],
        shared_memory_per_block=48 * 1024,
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        warp_size=32,
        gcnArchName="",
    )
    core: Any = torch._C
    core._cuda_getDevice = core._cuda_getCurrentRawStream = lambda *_: 0
    core._cuda_getDeviceCount = lambda: 1
    cuda: Any = torch.cuda
    cuda._get_device_properties = lambda *_: properties
    cuda.is_available = cuda._is_compiled = lambda: True
    cuda._lazy_init = cuda.set_rng_state = lambda *_: None
    cuda.get_rng_state = lambda *_: torch.zeros(8, dtype=torch.uint8)
    cuda._exchange_device = lambda _: 0
    cuda._maybe_exchange_device = lambda _: 0  # another function: torch tells them apart
    torch.version.cuda = "13.0"  # type: ignore[assignment,unused-ignore]
    torch.Tensor.pin_memory = lambda self, *_: self  # type: ignore[method-assign]
    target = GPUTarget("cuda", 10 * major + minor, 32)
    driver.set_active(SimpleNamespace(get_current_target=lambda: target))
    triton_helpers.set_driver_to_gpu = lambda: None  # type: ignore[assignment]


def lower(shape: str) -> None:
    """Have torch make the code of packed attention, forward and backward."""
    dtype, size, heads, groups = SHAPES[shape]

    def keep(graph: Any, inputs: Any, **more: Any) -> Any:
        """The graph as it is in place of kernels, whose code is kept."""
        plain = deepcopy(graph)

        def made(code: str) -> None:
            CODE.append((shape, bool(more.get("is_backward")), code))
            raise Made

        GraphLowering.save_output_code = made  # type: ignore[method-assign,assignment]
        try:
            compile_fx_inner(graph, inputs, **more)
        except InductorError as error:
            if not isinstance(error.inner_exception, Made):
                raise
        return make_boxed_func(plain.forward)

    def backend(graph: Any, inputs: Any) -> Any:
        return compile_fx(graph, inputs, inner_compile=keep)

    def states(count: int, tokens: int) -> torch.Tensor:
        return torch.zeros(1, count, tokens, size, device="cuda", dtype=dtype, requires_grad=True)

    compiled = flex._compiled(size**-0.5, heads != groups, backend)  # type: ignore[arg-type]
    for lengths, before in PASSES:
        mask = flex.block_mask(lengths, before, torch.device("cuda", 0))
        queries, keys = mask.seq_lengths
        made = compiled(states(heads, queries), states(groups, keys), states(groups, keys), mask)
        made.sum().backward()


def kernels() -> list[dict[str, Any]]:
    """All kernels of the code, compiled."""
    found = []
    start, end = r"async_compile\.triton\('(\w+)', r?'''", r"''', device_str"
    for shape, backward, code in CODE:
        for name, source in re.findall(f"{start}(.*?){end}", code, re.DOTALL):
            tuner = getattr(PyCodeCache.load(source), name)
            tuner._precompile_worker()  # compiles, and leaves out what opens the GPU
            for result in tuner.compile_results:
                ptx = result.kernel.asm["ptx"]
                found.append(
                    {
                        "shape": shape,
                        "name": name,
                        "backward": backward,
                        "shared": result.kernel.metadata.shared,
                        "atomics": re.findall(r"\b(?:atom|red)\.\w[\w.]*", ptx),
                        "choices": len(tuner.compile_results),
                        "target": re.findall(r"\.target (\w+)", ptx)[0],
                    }
                    | resources(result.kernel.asm["cubin"])
                )
    return found


def resources(cubin: bytes) -> dict[str, int]:
    """Registers and bytes of stack of a thread, as the GPU's own tools tell them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {
        "registers": max(map(int, re.findall(r"REG:(\d+)", told))),
        "stack": max(map(int, re.findall(r"STACK:(\d+)", told))),
    }


def main(capability: str) -> None:
    stand_in(capability)
    prepare(1, device="cuda")
    inductor.fx_graph_cache, inductor.compile_threads = False, 1
    inductor.use_static_triton_launcher = False
    FakeTensorMode.avoid_device_init = True
    for shape in SHAPES:
        torch._dynamo.reset()
        with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True):
            lower(shape)
    print(json.dumps(kernels()))


if __name__ == "__main__":
    main(sys.argv[2])
