"""The whole pipeline on the authors' data with the Llama-2 vocabulary, on a tiny untrained Llama.

Same shape as Llama-2, scaled down; every protocol; no weights needed.
"""

import json
import os
from pathlib import Path

import pytest

from repro.cli.main import cli
from repro.data.upstream import VARIABLE

TOKENIZER = os.environ.get("REPRO_LLAMA2_TOKENIZER")
pytestmark = [
    pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} is not set"),
    pytest.mark.skipif(not TOKENIZER, reason="REPRO_LLAMA2_TOKENIZER is not set"),
]

PROFILE = f"""
summary = "a tiny untrained Llama-2"
protocol = "published-code"
data = "upstream"

[model]
kind = "random"
tokenizer = "{TOKENIZER}"

[model.architecture]
layers = 2
hidden = 32
intermediate = 86
heads = 4
kv_heads = 4
vocabulary = 32000
context = 4096

[sizes]
train = {{ 2000 = 16, 4000 = 16, 6000 = 16 }}
test = 3

[compute]
device = "cpu"
dtype = "float32"
threads = 1
train_rate = 1
evaluate_rate = 1
generate_rate = 1
measured = "nothing"
memory_gb = 1
disk_gb = 0.5
"""

CELLS = [
    "base.xsum.p1.2",
    "base.mnli1.p2.3",
    "base.rte.p1.0",
    "base.paws.p1.4",
    "xsum-fticl2-2000.xsum.p1.2",
    "mnli-fticl3-2000.mnli1.p1.3",
]


@pytest.mark.parametrize("protocol", ["published-code", "paper-text", "corrected"])
def test_every_protocol_runs_on_real_rows_with_the_real_vocabulary(
    tmp_path: Path, protocol: str
) -> None:
    profile = tmp_path / "tiny.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    out = tmp_path / "out"
    words = ["run", "--profile", str(profile), "--protocol", protocol, "--cells", ",".join(CELLS)]
    # Untrained weights would diverge at the paper's own rate.
    words += ["--set", "learning_rate=1e-5", "--set", "max_new_tokens=4"]
    words += ["--out", str(out), "--store", str(tmp_path / "store")]
    cli.main(words, standalone_mode=False)
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(line["cell"] for line in lines) == sorted(CELLS)
    tuned = [json.loads(line) for line in (out / "finetunes.jsonl").read_text().splitlines()]
    dead = {line["variant"]: line["dead_samples"] for line in tuned}
    # Cut from the right, some of the 16 two-example XSum samples keep no target (audit A2).
    assert dead["mnli-fticl3-2000"] == 0
    assert (dead["xsum-fticl2-2000"] > 0) == (protocol != "corrected")


def test_the_plan_of_the_real_model_needs_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["plan", "--profile", "llama2-7b", "--skip-missing"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "meta-llama/Llama-2-7b-hf at 01c7f73d771d" in told
    assert "xsum-fticl2-2000" in told
    assert "fine-tuning at least: 131 GB on one GPU" in " ".join(told.split())
