"""Fine-tunes and evaluations on tensors that say "cuda", hold numbers on the CPU, and count.

Counted are operations that mix devices, and those that wait for the device: reading a value,
copying from or to ordinary memory, indexing by truth values. Arguments: the library made of
`stand_in.cpp`, and one of MODES. Prints JSON: what was computed there and on
the CPU, and the counts.
"""

import ctypes
import json
import sys
import traceback
import warnings
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

LIBRARY = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
"""Loaded before torch, which asks once whether there is a device."""

import torch  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map_only  # noqa: E402

torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]  # hides operations' parts

import repro.models.embedded  # noqa: E402
from repro.data.embedded import EmbeddedData  # noqa: E402
from repro.evaluate import Job, Settings, TorchEngine, evaluate, generate  # noqa: E402
from repro.finetune import finetune, flex, recipe_from  # noqa: E402
from repro.finetune.loop import Trainer  # noqa: E402
from repro.models.load import load  # noqa: E402
from repro.spec.cells import Cell  # noqa: E402
from repro.spec.tasks import Part  # noqa: E402
from repro.studies.paper.prompts import training_template  # noqa: E402
from repro.studies.paper.protocols import protocol  # noqa: E402
from repro.studies.paper.study import study  # noqa: E402
from repro.studies.paper.tasks import DATASETS  # noqa: E402

aten = torch.ops.aten
MODEL = Path(repro.models.embedded.__file__).parent
WAITS: Counter[str] = Counter()
MIXED: Counter[str] = Counter()
LOCKED: dict[int, torch.Tensor] = {}
"""Page-locked memory, by its address."""

COPIES = (aten.copy_.default, aten._to_copy.default)
READS = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.is_nonzero.default,
    aten.equal.default,
)
FINE_TUNES: dict[str, dict[str, Any]] = {
    "FT float32": {"dtype": "float32", "way": "grouped"},
    "FT bfloat16": {"dtype": "bfloat16", "way": "flex"},
    "FTICL bfloat16": {"dtype": "bfloat16", "way": "flex", "shown": 2},
    "FTICL bfloat16 grouped": {"dtype": "bfloat16", "way": "grouped", "shown": 2},
    "FTICL moments in main memory": {
        "dtype": "float32",
        "way": "grouped",
        "shown": 2,
        "away": True,
    },
}
ROWS = 32
"""Four optimiser steps."""

CELLS = {"labels": "base.amazon.p1", "generation": "base.socialqa.p1"}


class There(torch.Tensor):
    """A tensor of the device."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "There":
        made: There = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device("cuda", 0),
        )
        made.here = here
        return made

    def tolist(self) -> Any:
        note(WAITS, "tolist")
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """Makes new tensors of the device where they are asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def note(counts: Counter[str], what: str) -> None:
    """Count an operation, with the line of the kit that asks for it."""
    frames = [f for f in traceback.extract_stack() if "/repro/" in f.filename]
    where = f"{frames[-1].filename.rpartition('/')[2]} {frames[-1].name}" if frames else "elsewhere"
    counts[f"{what} in {where}"] += 1


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on the numbers behind tensors; its result is of the device that it would be."""
    if func is aten._fused_sdp_choice.default:
        return 0
    if func is aten.is_pinned.default:
        return args[0].data_ptr() in LOCKED
    if func is aten._pin_memory.default:
        return locked(args[0].clone())
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    here = [tensor for tensor in tensors if not isinstance(tensor, There)]
    device, made = kwargs.get("device"), bool(there)
    if device is not None:
        made = torch.device(device).type == "cuda"
        kwargs = kwargs | {"device": torch.device("cpu")}
    by_truth = func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and any(
        tensor is not None and tensor.dtype in (torch.bool, torch.uint8) for tensor in args[1]
    )
    if func in COPIES and (made != bool(there) or (there and here)):
        asked = kwargs.get("non_blocking") or args[2:3] == (True,)
        # It waits all the same where the memory on the host is not page-locked.
        if not (asked and here and all(tensor.data_ptr() in LOCKED for tensor in here)):
            note(WAITS, str(func))
    elif there and (func in READS or by_truth):
        note(WAITS, str(func))
    elif there and any(tensor.dim() for tensor in here):
        note(MIXED, str(func))
    lock = kwargs.pop("pin_memory", False)
    plain_args, plain = tree_map_only(There, lambda tensor: tensor.here, (args, kwargs))
    if func is aten._softmax.default and plain_args[2]:  # from half precision, which CPUs lack
        plain_args = (plain_args[0].float(), plain_args[1], False)
    result = func(*plain_args, **plain)
    if not made:
        return locked(result) if lock else result
    result = tree_map_only(torch.Tensor, There, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if there else result


def locked(tensor: torch.Tensor) -> torch.Tensor:
    """Take a tensor's memory for page-locked from here on; kept, so that no other gets it."""
    LOCKED[tensor.data_ptr()] = tensor
    return tensor


class Stream:
    """Work there is done at once."""

    def wait_stream(self, _: object) -> None: ...

    def wait_event(self, _: object) -> None: ...

    def record_event(self) -> object:
        return self


class Event:
    """Every piece of work takes a millisecond."""

    def __init__(self, **_: object) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, _: object) -> float:
        return 1.0


def stand_in() -> None:
    """Let torch take the device for one that computes."""
    LIBRARY.stand_in()
    warnings.simplefilter("ignore")
    torch._C._set_only_lift_cpu_tensors(True)
    cuda: Any = torch.cuda
    cuda.is_available = cuda.is_bf16_supported = lambda *_, **__: True
    cuda.synchronize = lambda *_: note(WAITS, "synchronize")
    cuda.empty_cache = cuda._lazy_init = cuda.manual_seed_all = lambda *_: None
    cuda.get_device_name = lambda *_: "stand-in"
    cuda.current_stream = cuda.Stream = Stream
    cuda.stream = lambda _: nullcontext()
    cuda.Event = Event
    cuda.reset_peak_memory_stats = lambda *_: None
    cuda.max_memory_allocated = lambda *_: 10**9
    flex._compiled = dense  # type: ignore[assignment]
    generate.captured = lambda work, _: work  # the device has no graphs


def dense(scaling: float, grouped: bool) -> Any:
    """In place of FlexAttention's kernels: all scores, and the mask function on all pairs."""

    def attend(query: Any, key: Any, value: Any, mask: Any) -> torch.Tensor:
        queries, keys = (
            torch.arange(states.shape[2], device=states.device) for states in (query, key)
        )
        seen = mask.mask_mod(0, 0, queries[:, None], keys[None])
        repeats = query.shape[1] // key.shape[1]
        assert (repeats > 1) == grouped
        key, value = (states.repeat_interleave(repeats, 1) for states in (key, value))
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling)

    return attend


def moved(model: Any) -> Any:
    """A model on the device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(There(parameter.data))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = There(buffer)
    model.tie_weights()
    return model


def train() -> dict[str, Any]:
    """Whole fine-tunes there and here: losses, and what each step there waits for."""
    task = DATASETS["socialqa"].task
    made = EmbeddedData().rows(Part("train", "socialqa", ROWS), task)
    rows = [dict(row) for row in made]
    steps: list[Counter[str]] = []
    plain = Trainer.step

    def step(self: Trainer, *words: Any) -> None:
        WAITS.clear()
        plain(self, *words)
        steps.append(WAITS.copy())

    Trainer.step = step  # type: ignore[method-assign]
    outcome: dict[str, Any] = {}
    for name, how in FINE_TUNES.items():
        recipe = recipe_from(protocol("published-code"), seed=0, dtype=how["dtype"])
        recipe = replace(recipe, learning_rate=1e-3)
        found = []
        for there in (False, True):
            model, tokenizer = load(MODEL)
            steps.clear()
            with Device() if there else nullcontext():
                facts = finetune(
                    moved(model) if there else model,
                    tokenizer,
                    rows,
                    rows[: how.get("shown", 0)],
                    training_template(task),
                    recipe,
                    token_budget=400,
                    offloaded=how.get("away", False),
                    way=how["way"],
                )
            found.append([facts.losses, facts.gradient_norms, facts.weight_change["all"]])
        outcome[name] = {
            "here": found[0],
            "there": found[1],
            "device": facts.machine["device"],
            "waits": [step.total() for step in steps],
            "where": steps[-1],
        }
    return outcome


def evaluations() -> dict[str, Any]:
    """Whole evaluations there and here: records, and what each step of decoding waits for."""
    switches, source = protocol("published-code"), EmbeddedData()
    totals: list[list[int]] = []  # waits so far at the steps of each batch
    module: Any = generate
    begin, go_on = module.prefill, module.step

    def prefill(*words: Any, **more: Any) -> Any:
        totals.append([])
        return begin(*words, **more)

    def step(*words: Any) -> Any:
        totals[-1].append(WAITS.total())
        return go_on(*words)

    replayed = generate.Replayed.step

    def again(self: Any, *words: Any) -> Any:
        totals[-1].append(WAITS.total())
        return replayed(self, *words)

    module.prefill, module.step = prefill, step
    generate.Replayed.step = again  # type: ignore[method-assign]
    outcome: dict[str, Any] = {}
    for name, cell in CELLS.items():
        for way in ("plain", "shared", "replayed"):
            shared = way != "plain"
            settings = Settings(token_budget=4096, max_new_tokens=12, share_prefix=shared)
            found = []
            for there in (False, True):
                model, tokenizer = load(MODEL)
                WAITS.clear()
                totals.clear()
                jobs = [job(Cell.parse(f"{cell}.{shots}"), source) for shots in (0, 2)]
                with (
                    Device() if there else nullcontext(),
                    TorchEngine(
                        moved(model) if there else model,
                        tokenizer,
                        settings,
                        replayed=way == "replayed",
                    ) as engine,
                ):
                    records = [some for _, some in evaluate(engine, jobs, switches, settings)]
                found.append(records)
            outcome[f"{name}, {way}"] = {
                "here": found[0],
                "there": found[1],
                "waits": WAITS.total(),
                "a_token": [b - a for batch in totals for a, b in pairwise(batch)],
                "where": dict(WAITS),
            }
    return outcome


def job(cell: Cell, source: EmbeddedData) -> Job:
    """A cell with 12 rows."""
    task = DATASETS[cell.dataset].task
    shown = source.rows(Part("demonstrations", cell.dataset), task)
    rows = source.rows(Part("test", cell.dataset), task).select(range(12))
    return Job(study().evaluation(cell), rows, shown)


def benchmark() -> dict[str, Any]:
    """What the GPU benchmark of a tiny model says, by row."""
    from benchmarks import gpu

    gpu.matmul_rate = lambda _: 1e12  # a large product
    with Device():
        return {str(row["what"]): row["measured"] for row in gpu.run(small=True, repeats=1)}


def selftest() -> list[Any]:
    """The self-test's checks of what the kit computes on a GPU: each with its outcome."""
    from repro.machine.selftest import checks

    plain, asked = checks._model, torch.device("cuda", 0)

    def model(dtype: torch.dtype, _: torch.device, *sizes: Any) -> Any:
        return moved(plain(dtype, torch.device("cpu"), *sizes))

    checks._model = model  # a module cannot take tensors of the stand-in by itself
    ways = (("grouped", "float32"), ("grouped", "bfloat16"), ("flex", "bfloat16"))
    with Device():
        found = [
            checks.attention(way, precision, asked, queries=(1, 129), prefixes=(0, 20))
            for way, precision in ways
        ]
        found += checks.evaluations(asked)
    return [[check.what, check.right, check.found] for check in found]


MODES = {
    "train": train,
    "evaluate": evaluations,
    "benchmark": benchmark,
    "selftest": selftest,
}


def main(what: str) -> None:
    stand_in()
    outcome = MODES[what]()
    print(json.dumps({"outcome": outcome, "mixed": dict(MIXED)}))


if __name__ == "__main__":
    main(sys.argv[2])
