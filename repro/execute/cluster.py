"""The Ray cluster that a run is done on: reached, measured out for workers, its nodes looked at."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.execute.local import Place
from repro.execute.remote import kit
from repro.extras import install_command
from repro.plan.layout import AUTO, number_of
from repro.printable import counted

_LONGEST = 40
"""Characters of a temporary folder in which Ray's sockets can have names: paths of 107 at most."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """With a cluster: that of an address, or one on this machine alone.

    Raises:
        ReproError: Ray is not installed, or the address does not answer (3).
    """
    try:
        import ray
    except ImportError:
        raise ReproError(
            "--executor ray needs Ray, which is not installed",
            hint=install_command("ray"),
            exit_code=EXIT_MISSING,
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's workers would else yield to whatever runs beside them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        _require_answer(address)
        quiet["address"] = address
    else:
        quiet |= {"include_dashboard": False, "object_store_memory": 256 * 2**20}
        if len(tempfile.gettempdir()) > _LONGEST:
            os.environ.setdefault("RAY_TMPDIR", "/tmp")
    try:
        ray.init(**quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = address or "a cluster of this machine alone"
        raise ReproError(
            f"Ray does not start on {where}: {str(error).splitlines()[0]}",
            hint="ray status says what the cluster is; nodes need the same Ray and Python",
            exit_code=EXIT_MISSING,
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself waits for minutes where nothing answers."""
    if address == AUTO:
        return
    host, colon, port = address.rpartition(":")
    if "/" in address or not colon or not port.isdigit():
        raise ReproError(
            f"--address is HOST:PORT of the cluster's head, or {AUTO}; not '{address}'",
            hint="ray start --head --port 6379 prints it; run this command on one of the nodes",
        )
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            # The head speaks gRPC: the preface of HTTP/2 and empty settings, answered by settings.
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            if connection.recv(4)[3:] != b"\4":
                raise OSError("something else does")
    except (OSError, OverflowError) as error:
        raise ReproError(
            f"no Ray answers at {address}: {error}",
            hint="ray start --head --port 6379 starts one, and prints its address",
            exit_code=EXIT_MISSING,
        ) from None


def places(workers: str, like: Place) -> list[Place]:
    """A place like one for each actor that the cluster has room for, or as many as asked.

    Raises:
        ReproError: there is no room for so many (2), or for none (3).
    """
    room, gpus = room_for(like), like.gpus_on_ray
    each = counted(gpus, "GPU") if gpus else counted(like.cpus_on_ray, "CPU")
    if not room:
        raise ReproError(
            f"no node of the cluster has {each} for a worker",
            hint="ray status says what nodes have; ray start --num-cpus or --num-gpus sets it",
            exit_code=EXIT_MISSING,
        )
    told = f"{room} times {each}"
    return [like] * number_of(workers, room, room, told, "this cluster")


def room_for(like: Place) -> int:
    """Actors that the cluster has room for."""
    import ray

    found, gpus = 0, like.gpus_on_ray
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            own = int(has.get("CPU", 0) / like.cpus_on_ray)
            found += min(own, int(has.get("GPU", 0) / gpus)) if gpus else own
    return found


def require_same(node: Mapping[str, Any], numerics: Mapping[str, object]) -> None:
    """Refuse a node whose bytes would differ, with what it has and what this machine has."""
    ours, theirs = {"kit": kit(), **numerics}, {"kit": node["kit"], **node["numerics"]}
    other = [name for name in ours if ours[name] != theirs.get(name)]
    if other:
        told = "; ".join(f"{name} {theirs.get(name)}, here {ours[name]}" for name in other)
        raise ReproError(
            f"the node {node['host']} would give other bytes: {told}",
            hint="the same code and lock on all nodes; kinds of machines that differ run for "
            "themselves, and repro merge joins their results",
            exit_code=EXIT_MISSING,
        )
