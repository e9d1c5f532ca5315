"""The embedded grid by part, at a quarter, half and whole of its cells and of its rows.

Every run is a fresh `repro run` of two workers with a store of its own; its wall time is that from
start to end, that of parts is both workers'. The target is 60 s for all cells on 2 cores,
near-linear in cells and rows.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks._small import REPRO
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.figures import cells

Row = dict[str, object]


def _measure(what: str, words: list[str]) -> Row:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        where = ["--out", str(home / "out"), "--store", str(home / "store")]
        start = time.perf_counter()
        subprocess.run(
            [*REPRO, "run", "--workers", "2", *where, *words], check=True, capture_output=True
        )
        seconds = time.perf_counter() - start
        lines = (home / "out" / "timings.jsonl").read_text(encoding="utf-8").splitlines()
        count = len((home / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines())
    spent = json.loads(lines[-1])
    row: Row = {"what": what, "cells": count, "seconds": f"{seconds:.0f}"}
    row["start and plan"] = f"{seconds - spent['seconds']:.0f}"
    row |= {part: f"{value:.0f}" for part, value in spent["parts"].items()}
    return row | {"share of the matmul rate": f"{spent['mfu']['run']:.0%}"}


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table; each is run once, for it averages over hundreds of cells."""
    if small:
        return [_measure("a look", ["--variants", "base", "--tests", "sst2", "--rows", "5"])]
    grid = cells()
    variants = [name for name in VARIANTS if any(cell.variant.name == name for cell in grid)]

    def first(share: float) -> list[str]:
        """Models until they have that share of the cells; every model has its own fine-tune."""
        taken: list[str] = []
        for name in variants[::-1]:
            done = sum(cell.variant.name in taken for cell in grid)
            if done >= share * len(grid):
                break
            taken.append(name)
        return ["--variants", ",".join(taken)]

    whole = _measure("whole", [])
    return [
        whole,
        *(_measure(f"{share:.0%} of the cells", first(share)) for share in (0.5, 0.25)),
        *(_measure(f"{rows} of 50 rows", ["--rows", str(rows)]) for rows in (25, 12)),
    ]
