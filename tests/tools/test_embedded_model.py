"""The embedded model: what is shipped is what was recorded, learns in context, and can be built."""

import hashlib
import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

import repro.models
from repro.errors import ReproError
from repro.studies.paper.tasks import DATASETS
from tools.embedded_model.__main__ import main
from tools.embedded_model.incontext import scores
from tools.embedded_model.pretrain import build, orthogonal, train
from tools.embedded_model.recipe import RECIPE, SMOKE
from tools.embedded_model.tokenizer import build_tokenizer

SHIPPED = Path(repro.models.__file__).parent / "embedded"
RECORD = json.loads((SHIPPED / "recipe.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """Pre-training sets torch's threads and determinism; other tests get theirs back."""
    threads, fill = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32).eval()


def test_shipped_files_are_the_recorded_ones() -> None:
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    for name, digest in manifest.items():
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == digest, name
    assert manifest["model.safetensors"] == RECORD["files"]["model.safetensors"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest)


def test_it_is_small() -> None:
    path = SHIPPED / "model.safetensors"
    assert path.stat().st_size < 10e6
    weights = load_file(path)
    assert sum(weight.numel() for weight in weights.values()) == RECORD["parameters"] < 3e6
    assert all(weight.dtype == torch.float32 for weight in weights.values())


def test_the_shipped_tokenizer_is_the_built_one() -> None:
    shipped, built = AutoTokenizer.from_pretrained(SHIPPED), build_tokenizer()
    assert shipped.get_vocab() == built.get_vocab()
    text = "### Input:\nanna sold the lamp in rome.\n### Summary:it's gone\n\n"
    assert shipped(text).input_ids == built(text).input_ids


def improvement(
    model: LlamaForCausalLM, dataset: str, shots: int, rows: int
) -> tuple[float, float]:
    """Mean gain of `shots` examples over none, row by row, and its standard error."""
    tokenizer = build_tokenizer()
    without = scores(model, tokenizer, dataset, 0, rows=rows)
    with_shots = scores(model, tokenizer, dataset, shots, rows=rows)
    gains = [more - less for more, less in zip(with_shots, without, strict=True)]
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
    return mean, math.sqrt(variance / len(gains))


@pytest.mark.parametrize(("dataset", "rows"), [("xsum", 100), ("socialqa", 250), ("cnndm", 100)])
def test_examples_help_generation(model: LlamaForCausalLM, dataset: str, rows: int) -> None:
    gain, error = improvement(model, dataset, 4, rows)
    assert gain > 3 * error


@pytest.mark.parametrize(
    ("dataset", "shots"),
    [("amazon", 2), ("paws", 2), ("qqp", 2), ("mnli1", 3), ("rte", 3), ("gptnli", 3)],
)
def test_classification_behind_examples_is_above_chance(
    model: LlamaForCausalLM, dataset: str, shots: int
) -> None:
    accuracy = sum(scores(model, build_tokenizer(), dataset, shots, rows=100)) / 100
    chance = 1 / len(DATASETS[dataset].task.labels)
    assert accuracy > chance + 3 * math.sqrt(chance * (1 - chance) / 100)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What the command makes in a few steps: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("built")
    done = CliRunner().invoke(main, ["--out", str(folder), "--smoke"], catch_exceptions=False)
    assert done.exit_code == 0
    return folder, done.output


def test_a_few_steps_of_the_same_code_learn(built: tuple[Path, str]) -> None:
    folder, printed = built
    facts = json.loads((folder / "recipe.json").read_text())
    log = facts["log"]
    assert log[-1]["output_loss"] < log[0]["output_loss"] - 0.5
    steps = re.findall(r" step (\d+),", printed)
    assert [int(step) for step in steps] == [line["step"] for line in log]
    again = LlamaForCausalLM.from_pretrained(folder)
    assert again.num_parameters() == facts["parameters"]
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_building_twice_gives_the_same_bytes(built: tuple[Path, str], tmp_path: Path) -> None:
    """Also where the second time begins at the end of a phase in the middle."""
    one = (built[0] / "model.safetensors").read_bytes()
    build(tmp_path / "again", smoke=True)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == one
    kept = [phase.name for phase in SMOKE.phases][:2]
    shutil.copytree(
        built[0] / "checkpoints",
        tmp_path / "on" / "checkpoints",
        ignore=lambda _, names: [name for name in names if Path(name).stem not in kept],
    )
    steps: list[object] = []
    build(tmp_path / "on", smoke=True, progress=lambda line, model: steps.append(line["phase"]))
    assert not set(steps) & set(kept)
    assert (tmp_path / "on" / "model.safetensors").read_bytes() == one


def test_a_phase_ends_when_its_criterion_is_met_twice_in_succession() -> None:
    """A loss that any model has ends it at the second look; one that none has is an error."""
    phase = replace(SMOKE.phases[0], most=12)
    _, log = train(replace(SMOKE, phases=(replace(phase, until=100.0),)), every=5)
    assert [line["step"] for line in log] == [5, 10]
    kinds = [kind for documents in phase.documents for kind in documents.watched]
    assert log[-1]["held_out"] == pytest.approx(
        sum(float(log[-1][kind]) for kind in kinds) / len(kinds), abs=1e-4
    )
    with pytest.raises(ReproError, match=r"phase lists: held-out loss .* after 12 steps"):
        train(replace(SMOKE, phases=(replace(phase, until=0.001),)), every=5)


def test_every_phase_of_the_recipe_ends_by_its_criterion_but_the_last() -> None:
    """Of the shipped model, whose log is stored, and the last one has falling rates instead."""
    *phases, last = RECIPE.phases
    for phase in phases:
        assert phase.until is not None
        log = [line for line in RECORD["log"] if line["phase"] == phase.name]
        met = [line["held_out"] <= phase.until for line in log]
        assert met[-2:] == [True, True]
        assert not any(one and two for one, two in itertools.pairwise(met[:-1]))
    assert last.decay == last.most


def test_muon_updates_are_nearly_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((96, 32), (32, 96)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=generator)))
        assert singular.min() > 0.4
        assert singular.max() < 1.4
