"""The settings that a run gives torch, by device."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, sys
from repro.machine.numerics import prepare
prepare(1, device=sys.argv[1])
import torch
matmul = torch.backends.cuda.matmul
print(json.dumps([
    os.environ.get("PYTORCH_ALLOC_CONF"),
    matmul.allow_bf16_reduced_precision_reduction,
    matmul.allow_fp16_reduced_precision_reduction,
    matmul.allow_tf32,
    torch.are_deterministic_algorithms_enabled(),
]))
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("device", "own", "expected"),
    [
        ("cuda", {}, ["expandable_segments:True", False, False, False, True]),
        (
            "cuda",
            {"PYTORCH_ALLOC_CONF": "max_split_size_mb:128"},
            ["max_split_size_mb:128", False, False, False, True],
        ),
        # Untouched: nothing about GPUs changes what CPUs compute.
        ("cpu", {}, [None, True, True, False, True]),
    ],
)
def test_settings(device: str, own: dict[str, str], expected: list[object]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTORCH_ALLOC_CONF"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, device],
        env=environment | own | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected
