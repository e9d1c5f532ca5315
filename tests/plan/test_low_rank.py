"""A profile that trains low-rank changes: another key, named in results and in what verify says."""

import json
from importlib.resources import files
from pathlib import Path

from click.testing import CliRunner

from repro.cli.main import cli

CELL = "amazon-ft-2000.amazon.p1.0"


def test_low_rank_changes_are_named_and_have_a_key_of_their_own(tmp_path: Path) -> None:
    text = files("repro.profiles").joinpath("embedded.toml").read_text(encoding="utf-8")
    low = tmp_path / "low.toml"
    low.write_text(text.replace("threads = 1", "threads = 1\nlora_rank = 4"), encoding="utf-8")
    few = ["--rows", "4", "--store", str(tmp_path / "store")]
    keys, trained = [], []
    for name, profile in (("whole", "embedded"), ("low", str(low))):
        out = tmp_path / name
        cli.main(
            ["run", "--profile", profile, "--cells", CELL, *few, "--out", str(out)],
            standalone_mode=False,
        )
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        trained.append(run["identity"].get("trained"))
        (line,) = (out / "finetunes.jsonl").read_text(encoding="utf-8").splitlines()
        keys.append(json.loads(line)["recipe"].get("lora_rank"))
    assert trained == [None, "LoRA of rank 4, not all weights as in the paper"]
    assert keys == [None, 4]
    assert len(list((tmp_path / "store" / "facts").iterdir())) == 2
    told = CliRunner().invoke(cli, ["verify", str(tmp_path / "low")]).output
    assert "LoRA of rank 4, not all weights as in the paper" in " ".join(told.split())
