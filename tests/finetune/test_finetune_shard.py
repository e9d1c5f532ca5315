"""A model sharded among two processes takes the steps of one that is whole."""

import copy
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from repro.finetune import finetune, save
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

QUESTION = training_template(TASKS["question"])

# Runs in both processes: a case for every line, which names the folder with what is to be done.
SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from accelerate import PartialState
from transformers import AutoTokenizer
from repro.errors import ReproError
from repro.finetune import Recipe, finetune, save
from repro.finetune.objective import Packed
from repro.finetune.shard import mesh, shard
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS

torch.set_num_threads(1)
state = PartialState(cpu=True)
among = mesh("cpu")
counts = {}
def counted(name):
    method = getattr(Packed, "_" + name)
    def wrapped(*words):
        counts[name] += 1
        return method(*words)
    setattr(Packed, "_" + name, wrapped)
counted("idle")
counted("shared")
def scarce(*words):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

for line in sys.stdin if len(sys.argv) < 2 else sys.argv[1:]:
    base = Path(line.strip())
    case = json.loads((base / "case.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(base)
    for process in range(2):  # one after the other: sharding needs no other process
        if process == state.process_index:
            model = torch.load(base / "model.pt", weights_only=False)
            shard(model, among, torch.device("cpu"), bfloat16=case["recipe"]["dtype"] == "bfloat16")
        state.wait_for_everyone()
    layer = model.model.layers[0].mlp.up_proj.weight.to_local()
    assert layer.numel() < 16 * 25, layer.shape
    counts |= {"idle": 0, "shared": 0}
    if case["scarce"] == state.process_index:
        model.model.layers[1].mlp.forward = scarce
    try:
        facts = finetune(
            model, tokenizer, case["rows"], case["demonstrations"],
            training_template(TASKS["question"]), Recipe(**case["recipe"]), order=case["order"],
            token_budget=case["budget"], offloaded=case["offloaded"],
        )
    except ReproError as error:
        (base / "error.txt").write_text(str(error))
        sys.exit(error.exit_code)
    save(model, tokenizer, facts, base / "sharded")
    (base / f"counts{state.process_index}.json").write_text(json.dumps(counts))
    state.wait_for_everyone()
    print("done", flush=True)
os._exit(0)  # as `repro.execute.training` ends
"""
MORE = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, warm_python: str
) -> Iterator[Callable[[Path], None]]:
    """Does a case in two processes that serve all tests, for starting them takes the longest."""
    place = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both, errors = [], []
    for rank in range(2):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
        errors.append((place / f"stderr{rank}").open("w"))
        both.append(
            subprocess.Popen(
                [warm_python, "-c", SCRIPT],
                env=os.environ | MORE | own,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors[-1],
                text=True,
            )
        )

    def do(folder: Path) -> None:
        for process in both:
            print(folder, file=process.stdin, flush=True)
        for rank, process in enumerate(both):
            assert process.stdout.readline() == "done\n", (place / f"stderr{rank}").read_text()

    yield do
    for process, error in zip(both, errors, strict=True):
        process.stdin.close()
        process.wait()
        process.stdout.close()
        error.close()


@pytest.fixture
def prepared(tokenizer, tmp_path):
    """Writes down a case, in `tmp_path`."""
    for name in ("whole", "sharded"):
        (tmp_path / name).mkdir()
    tokenizer.save_pretrained(tmp_path)

    def write(model, rows, demonstrations, recipe, **case):
        torch.save(model, tmp_path / "model.pt")
        case = {
            "order": None,
            "budget": 8192,
            "offloaded": False,
            "scarce": None,
            "rows": rows,
            "demonstrations": demonstrations,
            "recipe": asdict(recipe),
        } | case
        (tmp_path / "case.json").write_text(json.dumps(case))
        return tmp_path

    return write


@pytest.fixture
def sharded(prepared, pair):
    """Runs a fine-tune sharded among two processes, in `tmp_path`."""
    return lambda *words, **case: pair(prepared(*words, **case))


def model_of(make_model, dtype=torch.float32):
    """Three layers whose parameters do not all divide evenly among two."""
    return make_model(100, dtype=dtype, num_hidden_layers=3, intermediate_size=25)


def dead(rows):
    return [row | {"input": "long " * 30} for row in rows]


@pytest.mark.parametrize(
    ("shots", "budget", "changes", "idles"),
    [
        (0, 8192, {"offloaded": True}, False),
        (0, 150, {"clip_norm": 0.05}, True),
        (1, 150, {"max_length": 115, "dtype": "float64", "learning_rate": 1e-2}, True),
        (1, 200, {"max_length": 1024, "dtype": "float64", "learning_rate": 1e-2}, True),
    ],
    ids=["FT, moments in main memory", "FT, many passes", "FTICL, dead", "FTICL, shared"],
)
def test_losses_and_weights_of_one_process(
    sharded,
    tokenizer,
    make_model,
    rows,
    recipe,
    same_losses,
    same_weights,
    tmp_path,
    shots,
    budget,
    changes,
    idles,
):
    offloaded = changes.pop("offloaded", False)
    settings = recipe(**changes)
    model = model_of(make_model, getattr(torch, settings.dtype))
    whole = copy.deepcopy(model)
    sharded(model, rows, rows[:shots], settings, budget=budget, offloaded=offloaded)
    expected = finetune(whole, tokenizer, rows, rows[:shots], QUESTION, settings)
    counts = [json.loads((tmp_path / f"counts{i}.json").read_text()) for i in range(2)]
    assert (sum(count["idle"] for count in counts) > 0) == idles
    assert counts[0]["shared"] == counts[1]["shared"]
    assert (counts[0]["shared"] > 0) == bool(shots)

    facts = json.loads((tmp_path / "sharded/facts.json").read_text())
    assert facts["machine"]["processes"] == 2
    same_losses(facts["losses"], expected.losses, settings.dtype)
    assert facts["gradient_norms"] == pytest.approx(expected.gradient_norms, rel=1e-5)
    change = facts["weight_change"]
    assert change["all"] == pytest.approx(expected.weight_change["all"], rel=1e-4)
    assert change["by_weight"] == pytest.approx(expected.weight_change["by_weight"], rel=1e-4)
    found = load_file(tmp_path / "sharded/model.safetensors")
    same_weights(found, whole.named_parameters(), settings.learning_rate, settings.dtype)


def test_a_process_without_any_living_sample(
    sharded, tokenizer, make_model, rows, recipe, same_losses, same_weights, tmp_path
):
    """Of the first step's micro-batches, every second is dead; of the second step's, all are."""
    settings = recipe(max_length=120, dtype="float64", learning_rate=1e-2, epochs=1)
    living, dying = rows[:8], dead(rows[:24])
    order = [[n for i in range(4) for n in (2 * i, 2 * i + 1, 8 + 2 * i, 9 + 2 * i)]]
    order[0] += range(16, 32)
    model = model_of(make_model, torch.float64)
    whole = copy.deepcopy(model)
    sharded(model, living + dying, [], settings, order=order, budget=100)
    expected = finetune(whole, tokenizer, living + dying, [], QUESTION, settings, order=order)
    facts = json.loads((tmp_path / "sharded/facts.json").read_text())
    assert facts["dead_micro_batches"] == [12]
    same_losses(facts["losses"], expected.losses, "float64")
    assert facts["losses"][1] is None
    counts = [json.loads((tmp_path / f"counts{i}.json").read_text()) for i in range(2)]
    assert counts[0]["idle"] == 0 < counts[1]["idle"]
    found = load_file(tmp_path / "sharded/model.safetensors")
    same_weights(found, whole.named_parameters(), settings.learning_rate, "float64")


def test_what_is_saved_looks_the_same(sharded, tokenizer, make_model, rows, recipe, tmp_path):
    settings = recipe(dtype="bfloat16", learning_rate=1e-4)
    model = model_of(make_model)
    whole = copy.deepcopy(model)
    sharded(model, rows[:16], [], settings)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    facts = finetune(whole, tokenizer, rows[:16], [], QUESTION, settings)
    save(whole, tokenizer, facts, tmp_path / "whole")
    files = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("whole", "sharded")]
    assert files[0] == files[1]
    for name in set(files[0]) - {"facts.json", "model.safetensors"}:
        both = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "sharded")]
        assert both[0] == both[1], name
    headers = []
    for folder in ("whole", "sharded"):
        with (tmp_path / folder / "model.safetensors").open("rb") as file:
            headers.append(file.read(int.from_bytes(file.read(8), "little")))
    assert headers[0] == headers[1]
    found = json.loads((tmp_path / "sharded/facts.json").read_text())
    assert found["losses"] == pytest.approx(facts.losses, rel=1e-2)
    assert found["weight_change"]["all"] == pytest.approx(facts.weight_change["all"], rel=0.05)


@pytest.mark.usefixtures("warm")
def test_no_memory_in_one_process_ends_all(prepared, make_model, rows, recipe, tmp_path):
    prepared(model_of(make_model), rows[:16], [], recipe(), scarce=1)
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(tmp_path / "train.py"), str(tmp_path)]
    done = subprocess.run(command, env=os.environ | MORE, capture_output=True, check=False)
    assert done.returncode != 0
    assert "not enough memory on GPU 1 for a pass" in (tmp_path / "error.txt").read_text()
