"""Plans of machines that are not here: workers, rates and cost, against arithmetic by hand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from repro import profiles
from repro.cli.main import cli
from repro.errors import ReproError
from repro.machine.kinds import kinds, named, of
from repro.machine.selftest.record import Record, place
from repro.models.spec import ModelSpec
from repro.plan.layout import Layout, at, elsewhere, layout

OWN = """
[mine]
name = "a card of mine"
told = "Mine"
gb = 150
tflops = 395
memory = 2400
link = 20
"""


def laid(gpus: str, profile: str = "llama2-7b", *, tuned: bool = True) -> Layout:
    loaded = profiles.load(profile)
    spec = ModelSpec.from_table(loaded.model, loaded.origin)
    return elsewhere(loaded, spec, *of(gpus), tuned=tuned)


def planned(*words: str) -> str:
    result = CliRunner().invoke(cli, ["plan", *words], catch_exceptions=False)
    return " ".join(result.output.split())


def minutes(told: str) -> float:
    """Of the longest model's line."""
    found = re.search(r"xsum-fticl2-2000 seed 42 [0-9 .M]*k [0-9]+k ([0-9]+) min", told)
    assert found, told
    return float(found[1])


@pytest.mark.parametrize(
    ("gpus", "workers", "of_each", "way"),
    [
        # docs/memory.md: 131 GB whole; 64, 38.1, 25.1 GB on each of 2, 4, 8.
        ("h200:1", 1, 1, "whole on 1 GPU"),
        ("h200:8", 8, 1, "whole on 1 GPU"),
        ("h100:8", 4, 2, "sharded over 2 GPUs"),
        ("H100:3", 1, 2, "sharded over 2 GPUs"),
        ("h100:64", 32, 2, "sharded over 2 GPUs"),
        ("h100:1", 1, 1, "AdamW's moments in main memory"),
        ("a100-40:8", 2, 4, "sharded over 4 GPUs"),
    ],
)
def test_a_worker_has_the_fewest_gpus_that_a_fast_fine_tune_fits_on(
    gpus: str, workers: int, of_each: int, way: str
) -> None:
    found = laid(gpus)
    assert (found.groups, found.size, str(found.choice)) == (workers, of_each, way)


def test_main_memory_bounds_the_workers_that_keep_moments_there() -> None:
    """102 GB each (docs/memory.md): with 512 GB three cards work for themselves, with 256 two."""
    profile = profiles.load("llama2-7b")
    spec = ModelSpec.from_table(profile.model, profile.origin)
    for main, workers in ((512, 3), (256, 2)):
        found = layout(profile, spec, [85 * 10**9] * 3, main * 10**9)
        assert str(found.choice) == "AdamW's moments in main memory"
        assert (found.groups, found.size) == (workers, 1)


def test_cards_too_small_to_fine_tune_on_evaluate_one_by_one() -> None:
    assert laid("rtx4090:3", tuned=False) == Layout(None, 3)


def test_small_models_leave_room_for_several_workers_on_a_gpu() -> None:
    assert laid("h100:2", "small").together > 4
    assert laid("h200:2", "llama2-7b").together == 1


def test_rates_go_by_products_and_by_memory() -> None:
    compute = profiles.load("llama2-7b").compute
    own = at(compute, kinds()["h200"], kinds()["l40s"], None)
    assert own.train_rate == pytest.approx(compute.train_rate * 362 / 790)
    assert own.evaluate_rate == pytest.approx(compute.evaluate_rate * 362 / 790)
    assert own.generate_rate == pytest.approx(compute.generate_rate * 864 / 4800)
    assert at(compute, kinds()["h200"], kinds()["h200"], None) == compute


def test_profiles_say_what_gpu_their_rates_are_of() -> None:
    for name in profiles.names():
        compute = profiles.load(name).compute
        assert (compute.rated in kinds()) == (compute.device == "cuda")


def test_a_plan_has_wall_time_gpu_hours_and_cost() -> None:
    told = planned("--profile", "llama2-7b", "--gpus", "h100:8", "--price", "2.5")
    assert "fine-tuning on 8 x H100 80 GB (1,024 GB of main memory): sharded over 2 GPUs" in told
    assert "derived from its rated 790 TFLOP/s" in told
    assert "not looked up" in told
    found = re.search(
        r"with 4 workers of 2 GPUs: ([0-9.]+) min .*, ([0-9.]+) GPU hours;.*; ([0-9.]+) at 2.5",
        told,
    )
    assert found
    wall, hours, cost = map(float, found.groups())
    assert hours == pytest.approx(8 * wall / 60, rel=0.02)
    assert cost == pytest.approx(2.5 * hours, rel=0.01)


def test_offloaded_and_sharded_fine_tunes_are_slower() -> None:
    """In GPU minutes: the same arithmetic, and what is sent and computed twice."""
    whole, sharded, moved = (
        minutes(planned("--profile", "llama2-7b", "--gpus", gpus))
        for gpus in ("h200:1", "h100:2", "h100:1")
    )
    assert 2 * sharded > 1.3 * whole
    assert moved > whole


def test_a_record_of_the_self_test_replaces_what_is_rated(tmp_path: Path) -> None:
    words = ["--profile", "llama2-7b", "--store", str(tmp_path), "--gpus"]
    before = minutes(planned(*words, "h200:1"))
    key = {"gpu": "NVIDIA H200"}
    record = Record(
        key=key,
        checks=[],
        attention={},
        share_prefix=True,
        memory_factor=1,
        rates={"matmul_flops": 395e12},
    )
    path = place(tmp_path, key)
    path.parent.mkdir()
    record.write(path)
    path.with_name("x.unfinished.json").write_text("{}")
    path.with_name("y.json").write_text("no record")
    told = planned(*words, "h200:1")
    assert "as the self-test measured 395 TFLOP/s on it" in told
    assert minutes(told) == pytest.approx(2 * before, rel=0.1)
    assert "measured 395" not in planned(*words, "h100:2")


def test_a_kind_of_the_users_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    told = planned("--profile", "llama2-7b", "--gpus", f"{path}:2")
    assert "on 2 x a card of mine (256 GB of main memory): whole on 1 GPU" in told
    assert "with 2 workers:" in told


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ("--profile llama2-7b --gpus h100", "--gpus is KIND:COUNT, not 'h100'", 2),
        ("--profile llama2-7b --gpus h100:0", "--gpus is KIND:COUNT", 2),
        ("--profile llama2-7b --gpus h100:4,a100-80:4", "--gpus is KIND:COUNT", 2),
        ("--profile llama2-7b --gpus h10:8", "unknown kind of GPU 'h10'", 2),
        ("--profile llama2-7b --gpus rtx4090:1", "1 x RTX 4090 24 GB cannot fine-tune", 2),
        ("--profile embedded --gpus h100:8", "--gpus is for profiles that compute on a GPU", 2),
        ("--profile llama2-7b --gpus h100:8 --workers 5", "5 workers are more than 8 x H100", 2),
        ("--profile llama2-7b --gpus h100:8 --workers many", "--workers is a number", 2),
        ("--profile embedded --workers 0", "--workers is a number", 2),
        ("--profile llama2-7b --gpus none.toml:8", "GPU kind file none.toml cannot be read", 3),
    ],
)
def test_what_cannot_be_planned_is_told_in_one_message(words: str, said: str, code: int) -> None:
    result = CliRunner().invoke(cli, ["plan", *words.split()])
    assert isinstance(result.exception, ReproError)
    assert str(result.exception).startswith(said)
    assert result.exception.exit_code == code
    assert result.exception.hint or "number" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "is one table"),
        (OWN.replace("gb = 150", ""), "field 'gb' is missing"),
        (OWN.replace("150", "0"), "field 'gb' is 0"),
        (OWN.replace("150", '"much"'), "field 'gb' is 'much'"),
        (OWN.replace('"Mine"', "7"), "field 'told' is 7"),
        (OWN + OWN.replace("mine", "other"), "is one table"),
        ("no = [", "not TOML"),
    ],
)
def test_a_wrong_file_is_told_by_its_field(wrong: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(wrong)
    with pytest.raises(ReproError, match=re.escape(said)) as caught:
        of(f"{path}:1")
    assert str(path) in str(caught.value)


def test_a_plan_of_another_machine_needs_no_packages_no_data_and_no_network(
    tmp_path: Path,
) -> None:
    code = (
        "import socket, sys\n"
        "for name in ('torch', 'transformers', 'datasets', 'ray', 'accelerate'):\n"
        "    sys.modules[name] = None\n"
        "def refuse(*_, **__): raise OSError('no network')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from repro.cli.main import cli\n"
        "cli.main(['plan', '--profile', 'llama2-7b', '--gpus', 'h100:8', '--price', '2'])\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "with 4 workers of 2 GPUs" in " ".join(done.stdout.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA H200", "h200"),
    ],
)
def test_a_kind_is_known_by_whole_words_of_a_whole_gpu(told: str, kind: str | None) -> None:
    assert named(told) == (kinds()[kind] if kind else None)
