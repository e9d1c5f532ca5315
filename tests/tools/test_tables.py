"""The computed tables in the documentation are those that the code computes."""

from pathlib import Path

import pytest

from repro.audit.compare import load
from repro.spec.cells import BASE
from repro.studies.paper.figures import cells
from tools import tables

ROOT = Path(__file__).parents[2]


def test_the_readme_has_the_table_of_gpus() -> None:
    assert tables.gpu_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_documentation_has_the_table_of_memory() -> None:
    assert tables.memory_table() in (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")


def test_hours_follow_from_the_tokens_of_all_fine_tunes() -> None:
    """Where nothing is moved, from the audit's totals: six FLOPs a weight and token, at 40 %."""
    (row,) = [line for line in tables.gpu_table().splitlines() if "H200" in line]
    totals = {
        (one.what.split(":")[0]): float(one.value)
        for one in load(tables.AUDIT)
        if one.finding == "training-lengths" and one.what.endswith("an epoch after cutting")
    }
    shown = {
        (one.what.split(":")[0]): float(one.value)
        for one in load(tables.AUDIT)
        if one.finding == "training-lengths" and one.what.endswith(": context")
    }
    tokens = 0.0
    for variant in {cell.variant for cell in cells()} - {BASE}:
        name = f"{variant.train} 2000, {variant.train_shots} shots"
        # Of 16 samples of a step, demonstrations are computed once.
        of_2000 = totals[name] - 2000 * 15 / 16 * shown.get(name, 0.0)
        tokens += 2 * of_2000 * variant.size / 2000
    hours = 6 * 6.74e9 * tokens / (0.4 * 790e12) / 3600
    assert float(row.split("|")[-2]) == pytest.approx(hours, rel=0.1)
    assert "| takes 139 of 142 GB |" in row  # 95 % of 150 GB


def test_full_fine_tuning_takes_sixteen_bytes_a_weight_and_more() -> None:
    rows = [line.split(" | ") for line in tables.memory_table().splitlines()[2:]]
    whole = {
        row[0].strip("| "): float(row[3].replace(",", "")) for row in rows if row[1] == "whole"
    }
    for name, billions in {"llama2-7b": 6.74, "llama2-13b": 13.0, "llama2-70b": 69.0}.items():
        assert 18 * billions < whole[name] < 20.5 * billions  # with copies in bfloat16
    low = [row for row in rows if row[1].startswith("LoRA")]
    assert len(low) == 6
    assert all(float(row[3]) < float(row[4]) for row in low)
