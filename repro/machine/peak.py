"""The most bytes that a piece of work holds at once, on a GPU or on the CPU."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held(TorchDispatchMode):
    """Counts the bytes of all storages that live, now and at most: those given, and those made."""

    def __init__(self, tensors: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0
        for tensor in tensors:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {name for name, _ in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for name, tensor in _storages(result):
            if name not in given:  # a view, or written in place
                self._add(tensor)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        name = storage._cdata
        if name in self._sizes:
            return
        self._sizes[name] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, name)

    def _drop(self, name: int) -> None:
        self.now -= self._sizes.pop(name, 0)


def _storages(tree: Any) -> list[tuple[int, torch.Tensor]]:
    """Tensors, by the addresses of torch's own storages, since Python's handles come and go."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return [(tensor.untyped_storage()._cdata, tensor) for tensor in tensors]


def peak_bytes(
    work: Callable[[], object], device: torch.device, held: Iterable[torch.Tensor] = ()
) -> int:
    """Most bytes held at once while `work` runs.

    Args:
        held: what lies on the device before; counted on a CPU only, a GPU's allocator knows it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)
    with Held(held) as counted:
        work()
    return counted.peak
