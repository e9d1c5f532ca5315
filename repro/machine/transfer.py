"""Tensors from main memory to a device, without waiting for it."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device; a GPU gets it behind what it is computing.

    A copy from ordinary memory waits until the GPU has computed all that it was given. Page-locked
    memory comes from torch's own cache, which keeps it until the copy is done.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
