"""The process that workers on the CPU are forked from, which loads once what all of them need."""

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

from repro.machine.numerics import settle


def context(device: str) -> BaseContext:
    """How worker processes start; the process that they are forked from is started too.

    A GPU's driver survives no fork, so that workers on GPUs start afresh and load all by
    themselves; so do those on a CPU where that process can have no socket.
    """
    if device == "cpu":
        forking = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload(["repro.execute.preload"])
        try:
            forkserver.ensure_running()
        except OSError:  # no folder for temporary files, or one with a name of 80 characters
            pass
        else:
            return forking
    return multiprocessing.get_context("spawn")


def room(threads: int) -> int:
    """How many workers of as many threads this machine's cores have room for; 0 takes them all."""
    return max(1, len(os.sched_getaffinity(0)) // threads) if threads else 1


def warm_up(threads: int) -> None:
    """Start loading what workers on the CPU need, beside whatever this process does next."""
    if room(threads) > 1:
        settle(threads, device="cpu")
        context("cpu")
