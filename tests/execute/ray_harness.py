"""Runs a plan on a Ray of two nodes, and kills nodes, workers and drivers at random moments.

Usage: python ray_harness.py FOLDER PYTHON   (FOLDER/plan.pickle is the plan; PYTHON runs drivers)

First a plain run, FOLDER/apart, on nodes with stores of their own. Then one, FOLDER/joined, on the
first node alone, which another joins meanwhile that has another kit, FOLDER/other. Then runs in
which somebody is killed each time that work was seen going on, on one node with a store of its own,
which is lost with it, and one that sees the driver's store. When a run has finished in spite of its
kills, the next begins afresh; the last one is left to finish. Prints as JSON, for each of these
runs, FOLDER/0 and so on, who was killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_TMPDIR": "/tmp"}

from ray.cluster_utils import Cluster

FOLDER = Path(sys.argv[1])
STRIKES = ["node", "driver", "worker", "node"]
# A node that is killed tells nobody; looked at this often, it is missed after about a second.
WATCH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}
WATCH |= {"health_check_failure_threshold": 3}

DRIVER = """
import pickle, sys
from pathlib import Path
import ray
from repro.execute import cluster, on_ray, schedule
from repro.execute.local import Place
from repro.execute.run import run
from repro.plan.store import Store

folder, address, *pauses = Path(sys.argv[1]), *sys.argv[2:]
schedule.DEATHS = 99

def say(text):
    # At the first work that is seen, a driver that is to pause waits for a line.
    print(text, flush=True)
    if pauses and "evaluating" in text:
        pauses.clear()
        sys.stdin.readline()

def grow_at_once(actors):
    grow(actors)
    if actors._starting:
        ray.wait([*actors._starting], num_returns=len(actors._starting))

if pauses:  # whoever joins is looked at before the run is over
    grow, on_ray.Actors._grow = on_ray.Actors._grow, grow_at_once

plan = pickle.loads((folder.parent / "plan.pickle").read_bytes())
with cluster.connected(address):
    places = [Place(device="cpu", threads=1)] * 2
    run(plan, Store(folder / "store"), folder / "out", keep_models="last",
        say=say, workers=places, on_ray=True)
"""


class Nodes:
    """The cluster: a head without CPUs, for drivers, and two nodes of one CPU."""

    def __init__(self, stores: list[Path | None]) -> None:
        self.cluster = Cluster()
        self._own = 0
        self.cluster.add_node(num_cpus=0, include_dashboard=False, _system_config=WATCH,
                              object_store_memory=100 * 2**20)  # fmt: skip
        self.stores = stores
        self.nodes = [self._add(store) for store in stores]

    def _add(self, store: Path | None, **environment: str) -> Any:
        own = environment | ({"REPRO_STORE": str(store)} if store else {})
        return self.cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, env_vars=own)

    def replace(self, number: int, store: Path | None, *, kill: bool) -> None:
        """Another node in the place of one, which is killed or leaves."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=not kill)
        self.nodes[number] = self._add(store)
        self.stores[number] = store

    def join(self, number: int, kit: Path) -> None:
        """Another node in the place of one that has left, with a kit of its own."""
        self.nodes[number] = self._add(None, PYTHONPATH=f"{kit}:{os.environ['PYTHONPATH']}")

    def workers(self) -> list[int]:
        """Processes of workers that do steps."""
        found = []
        for node in self.nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            with suppress(OSError):
                told = Path(f"/proc/{raylet}/task/{raylet}/children").read_text(encoding="ascii")
                found += [int(word) for word in told.split() if _does_steps(int(word))]
        return found


def _does_steps(pid: int) -> bool:
    with suppress(OSError):
        return b"RemoteWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def start(folder: Path, address: str, *pauses: str) -> "subprocess.Popen[str]":
    """A driver."""
    folder.mkdir(exist_ok=True)
    command = [sys.argv[2], "-c", DRIVER, str(folder), address, *pauses]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(driver: "subprocess.Popen[str]") -> None:
    """A driver that came to the end of what it says may not have failed."""
    if driver.wait():
        sys.exit(f"a run failed by itself: {driver.returncode}")


def joined_meanwhile(nodes: Nodes, address: str) -> None:
    """A run on the first node, which another joins."""
    nodes.cluster.remove_node(nodes.nodes[1])
    driver = start(FOLDER / "joined", address, "pauses")
    assert driver.stdin is not None
    assert driver.stdout is not None
    for line in driver.stdout:
        print("joined", line, end="", flush=True)
        if "evaluating" in line and not driver.stdin.closed:
            nodes.join(1, FOLDER / "other")
            driver.stdin.close()
    ended(driver)


def strike(whom: str, nodes: Nodes, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
    """Kill somebody."""
    if whom == "driver":
        driver.kill()
        driver.wait()
    elif whom == "node":
        number = rng.randrange(2)
        was = nodes.stores[number]
        nodes.replace(number, was and was.with_name(f"{was.name}x"), kill=True)
    elif workers := nodes.workers():
        with suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)


def main() -> None:
    nodes = Nodes([FOLDER / "one", FOLDER / "two"])
    address = nodes.cluster.address
    plain = start(FOLDER / "apart", address)
    assert plain.stdout is not None
    print(plain.stdout.read(), flush=True)
    ended(plain)
    print("nobody was killed", flush=True)
    joined_meanwhile(nodes, address)
    nodes.replace(1, None, kill=False)
    rng = random.Random(5)
    left, runs = list(STRIKES), [[]]  # type: ignore[var-annotated]
    while True:
        folder = FOLDER / str(len(runs) - 1)
        driver = start(folder, address)
        assert driver.stdout is not None
        for line in driver.stdout:
            if "amazon" in line or "weights" in line:  # and nothing of Ray's own
                print(folder.name, line, end="", flush=True)
            if left and ("fine-tuning" in line or "evaluating" in line):
                time.sleep(rng.uniform(0, 0.5))
                whom = left.pop(0)
                runs[-1].append(whom)
                strike(whom, nodes, driver, rng)
                print(folder.name, whom, "killed", flush=True)
                if whom == "driver":
                    break
        if driver.poll() == -signal.SIGKILL:
            continue
        ended(driver)
        if not left:
            break
        runs.append([])
    nodes.cluster.shutdown()
    print(json.dumps(runs))


main()
