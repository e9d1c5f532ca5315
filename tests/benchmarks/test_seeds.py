"""The registered spread over seeds is the one that the stored seeds of a real model have."""

import gzip
import json
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from repro.verify.margins import margins

STORED = Path(__file__).parents[2] / "benchmarks" / "real_seeds" / "results.jsonl.gz"


@pytest.mark.parametrize("metric", ["accuracy", "rougeL"])
def test_the_registered_spread_is_what_nine_in_ten_cells_stay_within(metric: str) -> None:
    values = defaultdict(list)
    for line in gzip.decompress(STORED.read_bytes()).decode().splitlines():
        result = json.loads(line)
        if result["metric"] == metric:
            values[result["cell"]].append((result["value"] * result["n"], result["n"]))
    relative = []
    for scores in values.values():
        assert len(scores) == 4
        rows = scores[0][1]
        shares = [score / rows for score, _ in scores]
        # One success and one failure added, as where the spread is used.
        share = (statistics.fmean(shares) * rows + 1) / (rows + 2)
        relative.append(statistics.stdev(shares) / (share * (1 - share)) ** 0.5)
    within = statistics.quantiles(relative, n=10, method="inclusive")[-1]
    assert within <= margins().seed_spread[metric] < within + 0.01
