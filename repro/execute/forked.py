"""The process that workers on the CPU are forked from, which loads once what all of them need."""

import multiprocessing
from multiprocessing import forkserver

from repro.machine.numerics import settle

CONTEXT = multiprocessing.get_context("forkserver")


def warm_up(threads: int) -> None:
    """Start loading what workers need; it goes on beside whatever this process does next.

    Workers on GPUs load it themselves, for a GPU's driver survives no fork.
    """
    settle(threads, device="cpu")
    CONTEXT.set_forkserver_preload(["repro.execute.preload"])
    forkserver.ensure_running()
