"""AdamW whose moments lie in main memory.

A step goes through all weights in buckets. While one is updated, the moments of the next are on
their way to the GPU and those of the one before on their way back, on streams of their own.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from repro.errors import EXIT_MISSING, ReproError
from repro.models.memory import BUCKET, SLOTS

_ALIGNED = 64
"""Weights at whose multiples a parameter may be cut: no vector register holds more, so that every
weight goes through the same instructions as in the whole parameter."""


class _Piece(NamedTuple):
    parameter: int
    start: int  # in the flattened parameter
    stop: int


class OffloadedAdamW(torch.optim.Optimizer):
    """`torch.optim.AdamW(fused=True, weight_decay=0)`, bit for bit, with moments in main memory.

    They are page-locked where the weights are on a GPU, so that copies run beside computing.

    Args:
        parameters: of one dtype, contiguous, on one device.
        bucket: most weights that are updated at once; `SLOTS` buckets' moments are on the device.

    Raises:
        ReproError: main memory cannot be locked (3).
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], *, lr: float, bucket: int = BUCKET
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})
        self._parameters: list[torch.nn.Parameter] = self.param_groups[0]["params"]
        first = self._parameters[0]
        self._count = torch.zeros((), device=first.device)  # of steps, as the kernel takes it
        self._buckets = _buckets([p.numel() for p in self._parameters], bucket)
        sizes = [sum(piece.stop - piece.start for piece in pieces) for pieces in self._buckets]
        try:
            self._moments = [
                torch.zeros(2, size, dtype=first.dtype, pin_memory=first.device.type == "cuda")
                for size in sizes
            ]
        except RuntimeError as error:
            needed = 2 * sum(sizes) * first.element_size() / 1e9
            raise ReproError(
                f"main memory does not let {needed:.0f} GB be locked for the optimiser's moments",
                hint="use a machine or container with more memory, and check: ulimit -l",
                exit_code=EXIT_MISSING,
            ) from error
        self.slots = [first.new_empty(2 * max(sizes)) for _ in range(min(SLOTS, len(sizes)))]
        self._module = torch.get_device_module(first.device)
        self._fetching, self._storing = self._module.Stream(), self._module.Stream()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nobody has a closure
        """One step."""
        computing = self._module.current_stream()
        self._count += 1
        self._fetching.wait_stream(self._storing)  # the moments of the step before are back
        stored = [self._storing.record_event()] * len(self.slots)
        for number, (pieces, moments) in enumerate(zip(self._buckets, self._moments, strict=True)):
            place = number % len(self.slots)
            slot = self.slots[place][: moments.numel()].view_as(moments)
            with self._module.stream(self._fetching):
                self._fetching.wait_event(stored[place])
                slot.copy_(moments, non_blocking=True)
            computing.wait_event(self._fetching.record_event())
            self._update(pieces, slot)
            self._storing.wait_event(computing.record_event())
            with self._module.stream(self._storing):
                moments.copy_(slot, non_blocking=True)
            stored[place] = self._storing.record_event()

    def _update(self, pieces: Sequence[_Piece], moments: torch.Tensor) -> None:
        """The step of a bucket, whose moments (2, weights) are on the device."""
        group = self.param_groups[0]
        sizes = [piece.stop - piece.start for piece in pieces]
        weights, gradients = [], []
        for number, start, stop in pieces:
            parameter = self._parameters[number]
            assert parameter.grad is not None
            weights.append(parameter.view(-1)[start:stop])
            gradients.append(parameter.grad.reshape(-1)[start:stop])
        torch._fused_adamw_(
            weights,
            gradients,
            list(moments[0].split(sizes)),
            list(moments[1].split(sizes)),
            [],
            [self._count] * len(pieces),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


def _buckets(sizes: Sequence[int], limit: int) -> list[list[_Piece]]:
    """Parameters of these sizes, in order, cut into buckets of at most `limit` weights."""
    buckets: list[list[_Piece]] = [[]]
    room = limit
    for number, size in enumerate(sizes):
        start = 0
        while start < size:
            taken = min(size - start, room)
            if taken < size - start:
                taken -= taken % _ALIGNED
            if not taken:
                buckets.append([])
                room = limit
                continue
            buckets[-1].append(_Piece(number, start, start + taken))
            start += taken
            room -= taken
    return [pieces for pieces in buckets if pieces]
