"""What a fine-tune returns, leaves on disk, and does when it goes wrong."""

import io
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from repro.errors import ReproError
from repro.finetune import finetune, recipe_from, save, schedule
from repro.finetune.outcome import require_saveable
from repro.studies.paper.prompts import training_template
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import TASKS

QUESTION = training_template(TASKS["question"])


def test_recipes_follow_the_protocol():
    recipe = recipe_from(
        protocol("published-code", {"replicas": 4}),
        seed=5,
        dtype="bfloat16",
        learning_rate_factor=25,
        length_factor=0.1,
    )
    assert recipe.learning_rate == pytest.approx(5e-4)
    assert (recipe.max_length, recipe.micro_batch, recipe.accumulation) == (102, 2, 32)
    assert (recipe.epochs, recipe.seed, recipe.dtype) == (2, 5, "bfloat16")
    uncut = recipe_from(protocol("corrected", {"max_length": 0}), seed=5, dtype="float32")
    assert uncut.max_length == 0
    assert uncut.truncation_side == "source"


def test_the_artefact_is_the_model(tokenizer, make_model, rows, recipe, tmp_path):
    base = make_model(len(tokenizer))
    model = make_model(len(tokenizer))
    facts = finetune(model, tokenizer, rows[:20], rows[:1], QUESTION, recipe(learning_rate=1e-3))
    save(model, tokenizer, facts, tmp_path)

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True)
    )
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token == "[PAD]"
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    written = json.loads((tmp_path / "facts.json").read_text())
    assert written == asdict(facts)

    # Section 5.3, written out: the row of the pad token is not the base's.
    tuned = {name: p.detach() for name, p in loaded.named_parameters()}
    moved = [
        (tuned[name][: len(p)] - p).abs().flatten() if p.dim() == 2 else (tuned[name] - p).abs()
        for name, p in base.named_parameters()
    ]
    assert facts.weight_change["all"] == pytest.approx(torch.cat(moved).mean().item(), rel=1e-5)
    assert facts.samples == 20
    assert facts.steps == len(facts.losses) == len(facts.gradient_norms) == 2
    assert facts.losses[-1] < facts.losses[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_checkpoint_on_the_way_is_the_model_of_a_training_that_ends_there(
    tokenizer, make_model, rows, recipe, tmp_path, dtype
):
    """File by file, but for times; and what comes after is not touched by it."""

    def trained(folder, checkpoint=0, passing=()):
        model = make_model(100)
        asked = recipe(learning_rate=1e-3, epochs=3, checkpoint=checkpoint, dtype=dtype)

        def keep(name):
            (tmp_path / name).mkdir()
            return lambda facts: save(model, tokenizer, facts, tmp_path / name)

        passing = {number: keep(f"{folder}-{number}") for number in passing}
        facts = finetune(model, tokenizer, rows[:32], rows[:1], QUESTION, asked, passing=passing)
        (tmp_path / folder).mkdir()
        save(model, tokenizer, facts, tmp_path / folder)

    def files(name):
        found = {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()}
        facts = json.loads(found["facts.json"])
        facts.pop("timing")
        return {**found, "facts.json": facts}

    trained("once", passing=(1, 4, 6))
    for number in (1, 4, 6):
        trained(f"until-{number}", checkpoint=number)
        assert files(f"once-{number}") == files(f"until-{number}")
    trained("plain")
    assert files("once") == files("plain")
    assert files("once-4")["model.safetensors"] != files("once")["model.safetensors"]
    weights = [files(name)["model.safetensors"] for name in ("once-6", "once")]
    assert weights[0] == weights[1], "six steps are all"


@pytest.mark.parametrize(("name", "steps"), [("8", 8), ("epoch1", 10), ("epoch2", 20), ("", 0)])
def test_checkpoints_are_named_by_steps_or_epochs(recipe, name, steps):
    asked = recipe()
    assert asked.until(name, 161, "x").checkpoint == steps
    # As the schedule has it, carry-over of a left micro-batch included.
    order = schedule.shuffled(161, 2, 1)
    assert len(schedule.steps(order, asked.micro_batch, asked.accumulation)) == asked.steps(161)


@pytest.mark.parametrize("name", ["21", "epoch3"])
def test_a_checkpoint_behind_the_end_is_an_error_that_says_what_can_be(recipe, name):
    with pytest.raises(ReproError, match="2 epochs of 161 rows are 20") as caught:
        recipe().until(name, 161, "x")
    assert caught.value.exit_code == 2
    assert "at most 20" in caught.value.hint


def test_repeating_it_gives_the_same_bits_and_facts(tokenizer, make_model, rows, recipe):
    results = []
    for _ in range(2):
        model = make_model(100)
        facts = asdict(finetune(model, tokenizer, rows, rows[:2], QUESTION, recipe()))
        del facts["timing"]
        results.append((json.dumps(facts), [p.detach().clone() for p in model.parameters()]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_another_seed_is_another_order(tokenizer, make_model, rows, recipe):
    facts = [
        finetune(make_model(100), tokenizer, rows[:16], [], QUESTION, recipe(seed=seed))
        for seed in (1, 2)
    ]
    assert facts[0].order_sha256 != facts[1].order_sha256
    assert facts[0].losses != facts[1].losses


def test_bfloat16_trains_float32_weights_and_saves_16_bits(
    tokenizer, make_model, rows, recipe, tmp_path
):
    exact, model = make_model(100), make_model(100)
    settings = {"learning_rate": 1e-4}
    reference = finetune(exact, tokenizer, rows[:32], [], QUESTION, recipe(**settings))
    facts = finetune(
        model, tokenizer, rows[:32], [], QUESTION, recipe(dtype="bfloat16", **settings)
    )
    assert facts.losses == pytest.approx(reference.losses, rel=2e-2)
    save(model, tokenizer, facts, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    assert loaded.model.rotary_emb.inv_freq.dtype == torch.float32
    # Masters in 32 bits: the rate is below half a unit in the last place of most bfloat16
    # weights, so that bfloat16 masters would stand still where these have moved.
    for name, parameter in exact.named_parameters():
        torch.testing.assert_close(
            model.get_parameter(name).float(), parameter, rtol=2**-7, atol=3e-4
        )


def test_what_could_not_be_saved_is_known_before_the_first_step(tokenizer, make_model, tmp_path):
    """Llama-2's own repository had such settings, which transformers refuses to save."""
    model = make_model(100)
    model.generation_config.update(temperature=0.9, top_p=0.6, bos_token_id=1)
    with pytest.raises(ValueError, match="temperature"):
        model.save_pretrained(tmp_path)
    require_saveable(model, tokenizer, tmp_path)
    model.save_pretrained(tmp_path)
    assert model.generation_config.bos_token_id == 1
    model.config.strange = {1, 2}
    with pytest.raises(ReproError, match="cannot be saved") as caught:
        require_saveable(model, tokenizer, tmp_path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("rate", [1e30, float("inf")])
def test_divergence_stops_with_an_error(tokenizer, make_model, rows, recipe, rate):
    with pytest.raises(ReproError, match=r"diverged at step \d of 4: loss .*, learning rate") as e:
        finetune(make_model(100), tokenizer, rows[:32], [], QUESTION, recipe(learning_rate=rate))
    assert "--set learning_rate" in e.value.hint
    assert e.value.exit_code == 1


def test_divergence_in_the_last_step_is_seen(tokenizer, make_model, rows, recipe):
    with pytest.raises(ReproError, match="diverged at step 1 of 1"):
        finetune(
            make_model(100),
            tokenizer,
            rows[:16],
            [],
            QUESTION,
            recipe(learning_rate=float("inf"), epochs=1),
        )


def test_nothing_to_train_on_is_an_error(tokenizer, make_model, rows, recipe):
    with pytest.raises(ReproError, match="no training rows"):
        finetune(make_model(100), tokenizer, [], [], QUESTION, recipe())
    with pytest.raises(ReproError, match="no training sample has a label left within 30 tokens"):
        finetune(make_model(100), tokenizer, rows, [], QUESTION, recipe(max_length=30))
    with pytest.raises(ReproError, match="float16"):
        recipe(dtype="float16")


class Scarce:
    """A decoder that runs out of memory above some number of tokens."""

    def __init__(self, model, tokens, tokens_recomputed=0):
        decoder = model.get_decoder()
        self.model, self.forward, self.sizes = model, decoder.forward, []
        self.limits = {False: tokens, True: tokens_recomputed}
        decoder.forward = self

    def __call__(self, *args, input_ids, **more):
        self.sizes.append(input_ids.numel())
        if input_ids.numel() > self.limits[self.model.is_gradient_checkpointing]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return self.forward(*args, input_ids=input_ids, **more)


def test_running_out_of_memory_halves_the_budget_and_goes_on(
    tokenizer, make_model, rows, recipe, same_losses
):
    plain = finetune(make_model(100), tokenizer, rows, [], QUESTION, recipe())
    model = make_model(100)
    scarce = Scarce(model, 400)
    facts = finetune(model, tokenizer, rows, [], QUESTION, recipe())
    same_losses(facts.losses, plain.losses, "float32")
    assert facts.gradient_norms == pytest.approx(plain.gradient_norms, rel=1e-5)
    assert sum(size > 400 for size in scarce.sizes) <= 3  # learnt once, not at every step
    assert plain.machine["token_budget"] > facts.machine["token_budget"] > 100
    assert facts.machine["planned_token_budget"] == plain.machine["token_budget"]
    assert "planned_token_budget" not in plain.machine


@pytest.mark.parametrize("shots", [0, 2])
def test_a_sample_too_long_for_memory_is_computed_twice(
    tokenizer, make_model, rows, recipe, same_losses, shots
):
    plain, model = make_model(100), make_model(100)
    expected = finetune(plain, tokenizer, rows[:16], rows[:shots], QUESTION, recipe())
    scarce = Scarce(model, 50, tokens_recomputed=500)
    facts = finetune(model, tokenizer, rows[:16], rows[:shots], QUESTION, recipe())
    assert any(50 < size <= 500 for size in scarce.sizes)
    same_losses(facts.losses, expected.losses, "float32")
    assert facts.gradient_norms == pytest.approx(expected.gradient_norms, rel=1e-5)
    assert not model.is_gradient_checkpointing
    assert facts.machine["recomputed"]


def test_no_memory_for_one_sample_is_an_error(tokenizer, make_model, rows, recipe):
    model = make_model(100)
    Scarce(model, 10)
    with pytest.raises(ReproError, match="not enough memory to train on one sample") as caught:
        finetune(model, tokenizer, rows, [], QUESTION, recipe())
    assert caught.value.exit_code == 3


def test_the_bar_shows_loss_speed_and_time_left(tokenizer, make_model, rows, recipe, monkeypatch):
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=False))
    shown = []
    update = progress.update

    def record(task, **values):
        shown.append(values["description"])
        update(task, **values)

    monkeypatch.setattr(progress, "update", record)
    facts = finetune(
        make_model(100), tokenizer, rows[:32], [], QUESTION, recipe(), progress=progress
    )
    assert len(shown) == facts.steps == 4
    assert shown[1].startswith(f"fine-tuning: loss {facts.losses[1]:.3f}, ")
    assert "tokens/s" in shown[1]
    assert shown[-1].endswith("0:00 left")
    assert not progress.tasks


def test_interrupting_passes_through(tokenizer, make_model, rows, recipe):
    model = make_model(100)

    def interrupted(**_):
        raise KeyboardInterrupt

    model.get_decoder().forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        finetune(model, tokenizer, rows, [], QUESTION, recipe())


SCRIPT = """
import json, os, sys
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from repro.errors import ReproError
from repro.finetune import Recipe, finetune, save
from repro.studies.paper.prompts import training_template
from repro.studies.paper.tasks import TASKS
from pathlib import Path

torch.set_num_threads(1)
state = PartialState(cpu=True)
base, out = Path(sys.argv[1]), Path(sys.argv[2])
rows = json.loads((base / "rows.json").read_text())
recipe = json.loads((base / "recipe.json").read_text())
model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
question = training_template(TASKS["question"])
facts = finetune(model, tokenizer, rows, rows[:1], question, Recipe(**recipe))
save(model, tokenizer, facts, out)
try:
    uneven = Recipe(**(recipe | {"accumulation": 7}))
    finetune(model, tokenizer, rows, [], training_template(TASKS["question"]), uneven)
except ReproError as error:
    assert "7 micro-batches a step cannot be divided among 2 processes" in str(error)
else:
    raise AssertionError
if state.is_main_process:
    (out / "done").touch()
state.wait_for_everyone()
os._exit(0)  # as `repro.execute.training` ends
"""


@pytest.mark.usefixtures("warm")
def test_two_processes_take_the_steps_of_one(
    tokenizer, make_model, rows, recipe, same_losses, same_weights, tmp_path
):
    base, out = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    out.mkdir()
    settings = recipe(max_length=115, dtype="float32")
    model = make_model(100)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    (base / "rows.json").write_text(json.dumps(rows))
    (base / "recipe.json").write_text(json.dumps(asdict(settings)))
    (base / "train.py").write_text(SCRIPT)
    alone = finetune(model, tokenizer, rows, rows[:1], QUESTION, settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    common = os.environ | address | {"WORLD_SIZE": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(base / "train.py"), str(base), str(out)],
            env=common | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    assert (out / "done").exists()
    facts = json.loads((out / "facts.json").read_text())
    assert facts["machine"]["processes"] == 2
    assert facts["dead_samples"] == alone.dead_samples > 0
    same_losses(facts["losses"], alone.losses, "float32")
    together = load_file(out / "model.safetensors")
    same_weights(together, model.named_parameters(), settings.learning_rate, "float32")
