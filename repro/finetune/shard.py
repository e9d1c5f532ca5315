"""A model over several devices: FSDP2 for its decoder layers, everything else whole on each.

What lies outside the layers (embeddings, head, last norm) is used by name in `objective`, may be
tied or get a row for the pad token, and is small; its gradients are summed as without sharding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import reduce  # type: ignore[import-untyped]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor


def mesh(device: str) -> DeviceMesh:
    """All processes, a device each; every process must call it."""
    return init_device_mesh(device, (PartialState().num_processes,))


def shard(model: Any, among: DeviceMesh, device: torch.device, *, bfloat16: bool = False) -> None:
    """Leave this process its part of every decoder layer, on its device, and all other weights.

    Needs no other process, so that they can load their models one after the other.

    Args:
        model: in the dtype that it is to be trained in, in main memory.
        bfloat16: whether matrix products will be in bfloat16 (autocast): weights of matrices are
            then rounded before they are sent, in half the bytes, instead of after. Norms stay whole
            and in float32, and so do states between layers and sums of gradients, as without.
    """
    decoder = model.get_decoder()
    policy, whole = MixedPrecisionPolicy(), set()
    if bfloat16:
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for layer in decoder.layers:
        norms = {p for p in layer.parameters() if bfloat16 and p.dim() == 1}
        whole |= norms
        fully_shard(layer, mesh=among, mp_policy=policy, ignored_params=norms)
        # Summed as processes' gradients are everywhere here; gloo has no other way than force.
        layer.set_gradient_divide_factor(1.0)
        layer.set_force_sum_reduction_for_comms(True)
    whole |= {parameter for parameter in decoder.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(decoder, mesh=among, ignored_params=whole)
    model.to(device)


def is_sharded(model: Any) -> bool:
    """Whether parts of the model lie on other devices."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def own(parameter: torch.nn.Parameter | DTensor) -> torch.nn.Parameter:
    """This process's part of a parameter, sharing its memory; the parameter if it is whole."""
    if isinstance(parameter, DTensor):
        return torch.nn.Parameter(parameter.to_local().detach())
    return parameter


def total_norm(parameters: Sequence[torch.nn.Parameter]) -> torch.Tensor:
    """The norm of all gradients, each part of a sharded one counted where it lies."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    norm = torch.nn.utils.get_total_norm(whole)
    if not parts:
        return norm
    squared = torch.nn.utils.get_total_norm(parts).square()
    total: torch.Tensor = (reduce(squared, "sum") + norm.square()).sqrt()
    return total


def gather(model: Any, dtype: torch.dtype | None) -> None:
    """Put the model together in the main process's main memory, ready to be saved.

    It cannot compute any more; in the other processes it stays in parts. Weights that were in parts
    become of a `dtype`, if there is one.
    """
    main = PartialState().is_main_process
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                full = parameter.full_tensor().detach()
                if main:
                    setattr(module, name, torch.nn.Parameter(full.to("cpu", dtype)))
            elif main:
                parameter.data = parameter.data.to("cpu")
