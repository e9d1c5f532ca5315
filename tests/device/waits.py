"""Training and evaluation on tensors that say "cuda", hold numbers on the CPU, and count.

Counted are operations that mix devices, and those that wait for the device: reading a value,
copying to the CPU, indexing by truth values. Arguments: the library made of `stand_in.cpp`, and
"train" or "evaluate". Prints JSON: what was computed there and on the CPU, and the counts.
"""

import ctypes
import json
import sys
import traceback
import warnings
from collections import Counter
from contextlib import closing, nullcontext
from typing import Any

LIBRARY = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
"""Loaded before torch, which asks once whether there is a device."""

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map_only  # noqa: E402

torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]  # hides operations' parts

from repro.evaluate.batches import Budget  # noqa: E402
from repro.evaluate.generate import generate  # noqa: E402
from repro.evaluate.prefix import sharing  # noqa: E402
from repro.evaluate.score import label_logits  # noqa: E402
from repro.finetune.batches import weigh  # noqa: E402
from repro.finetune.loop import Trainer  # noqa: E402
from repro.finetune.recipe import Recipe  # noqa: E402
from repro.machine.selftest import checks, steps  # noqa: E402
from repro.models.spec import Architecture  # noqa: E402

aten = torch.ops.aten
WAITS: Counter[str] = Counter()
MIXED: Counter[str] = Counter()
COPIES = (aten.copy_.default, aten._to_copy.default)
READS = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.is_nonzero.default,
    aten.equal.default,
)
SIZES = Architecture(
    layers=2, hidden=64, intermediate=96, heads=4, kv_heads=2, vocabulary=500, context=2048
)


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
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    device, made = kwargs.get("device"), bool(there)
    if device is not None:
        made = torch.device(device).type == "cuda"
        kwargs = kwargs | {"device": torch.device("cpu")}
    to_host = made < bool(there) or (
        func is aten.copy_.default and bool(there) and not isinstance(args[0], There)
    )
    by_truth = func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and any(
        tensor is not None and tensor.dtype in (torch.bool, torch.uint8) for tensor in args[1]
    )
    if there and (func in READS or to_host or by_truth):
        note(WAITS, str(func))
    mixed = there and len(there) < len(tensors) and func not in COPIES
    if mixed and any(tensor.dim() for tensor in tensors if not isinstance(tensor, There)):
        note(MIXED, str(func))
    kwargs.pop("pin_memory", None)
    plain_args, plain = tree_map_only(There, lambda tensor: tensor.here, (args, kwargs))
    result = func(*plain_args, **plain)
    if not made:
        return result
    result = tree_map_only(torch.Tensor, There, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if there else result


def moved(model: Any) -> Any:
    """A model on the device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(There(parameter.data))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = There(buffer)
    return model


def train() -> dict[str, Any]:
    """Losses of three steps there and here, and waits of the last two steps."""
    outcome: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        for kind, shared in steps.KINDS.items():
            samples = steps.made_up(SIZES.vocabulary, shared, 60)
            recipe = Recipe(
                learning_rate=1e-3,
                max_length=0,
                truncation_side="right",
                loss_weighting="micro-batch",
                clip_norm=0.0,
                label_boundary="joint",
                seed=0,
                dtype=precision,
            )
            pairs = [[i, i + 1] for i in range(0, 16, 2)]
            groups = weigh(pairs, samples, "micro-batch", recipe.accumulation)
            losses, waits = [], 0
            for there in (False, True):
                model = steps.untrained(SIZES, torch.device("cpu")).train()
                model = moved(model) if there else model
                with (
                    Device() if there else nullcontext(),
                    closing(Trainer(model, 0, recipe, 3, shared + 200, way="grouped")) as trainer,
                ):
                    for number in range(3):
                        WAITS.clear()
                        trainer.step(number, groups)
                    waits = sum(WAITS.values())
                losses.append(trainer.losses)
            outcome[f"{kind} {precision}"] = {
                "here": losses[0],
                "there": losses[1],
                "waits": waits,
                "where": dict(WAITS),
            }
    return outcome


def evaluate() -> dict[str, Any]:
    """Generations and label logits there and here; waits of a generation by its new tokens."""
    outcome: dict[str, Any] = {}
    prompts = checks._prompts()
    for shared in (False, True):
        found: list[Any] = []
        waits = {}
        for there in (False, True):
            model = checks._model(torch.float32, torch.device("cpu"))
            model = moved(model) if there else model
            with (
                Device() if there else nullcontext(),
                sharing(model) if shared else nullcontext() as prefix,
            ):
                if prefix is not None:
                    prefix.move_to((tuple(prompts[0][:300]),))
                labels = {"a": 7, "b": 11}
                scores = label_logits(model, prompts, labels, Budget(9000), pad=0, prefix=prefix)
                for new in (2, 12):
                    WAITS.clear()
                    texts = generate(
                        model,
                        checks._Words(),
                        prompts,
                        Budget(9000),
                        max_new_tokens=new,
                        cut_at_blank_line=False,
                        prefix=prefix,
                    )
                    waits[new] = sum(WAITS.values())
            found.append([scores, [text.tokens for text in texts]])
        name = "shared" if shared else "plain"
        outcome[name] = {
            "here": found[0],
            "there": found[1],
            "waits": waits,
            "where": dict(WAITS),
        }
    return outcome


def main(what: str) -> None:
    LIBRARY.stand_in()
    warnings.simplefilter("ignore")
    torch._C._set_only_lift_cpu_tensors(True)
    torch.cuda.synchronize = lambda *_: note(WAITS, "synchronize")  # type: ignore[assignment]
    torch.cuda.empty_cache = lambda: None  # type: ignore[assignment]
    torch.cuda._lazy_init = lambda: None  # type: ignore[assignment]
    outcome = train() if what == "train" else evaluate()
    print(json.dumps({"outcome": outcome, "mixed": dict(MIXED)}))


if __name__ == "__main__":
    main(sys.argv[2])
