"""Counting the bytes that are held at once."""

import torch

from repro.machine.peak import peak_bytes

CPU = torch.device("cpu")


def test_what_is_made_and_freed_counts_once() -> None:
    held = torch.zeros(1000)

    def work() -> None:
        first = held + 1  # 8,000 bytes
        view = first.view(10, 100)
        view.mul_(2)
        second = torch.cat([first, first])  # 16,000
        del first, view
        third = second + 1  # 20,000
        third.add_(second)

    assert peak_bytes(work, CPU, [held]) == 20_000
    assert peak_bytes(work, CPU) == 16_000


def test_what_lies_elsewhere_is_not_counted() -> None:
    elsewhere, slot = torch.zeros(5000), torch.zeros(10)

    def work() -> None:
        elsewhere[:10].copy_(slot)

    assert peak_bytes(work, CPU, [slot]) == 40
