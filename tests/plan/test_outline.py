"""Plans without data: the shipped counts are the data's, and give the sums of a full plan."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from repro.cli.main import cli
from repro.cli.options import build_plan, parse
from repro.data.embedded import EmbeddedData
from repro.data.upstream import VARIABLE, UpstreamData
from repro.errors import ReproError
from repro.models.load import load_tokenizer
from repro.models.memory import Placement
from repro.models.spec import EMBEDDED
from repro.plan.cost import total
from repro.plan.estimate import costs, count_in, count_with
from repro.plan.outline import EPOCHS, counts, outline
from repro.plan.placement import Choice
from repro.profiles import load, names
from repro.spec.cells import Cell
from repro.studies.paper.study import study
from repro.studies.paper.tasks import DATASETS
from tools.counts import measure

OF_PLANS = ("workers", "gpus", "price")


def request(*words: str) -> object:
    told = cli.commands["plan"].make_context("plan", list(words)).params
    return parse(**{name: value for name, value in told.items() if name not in OF_PLANS})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """The outline and the full plan of the whole embedded grid, with nothing done."""
    asked = request("--seeds", "42,43")
    plan = build_plan(asked, print)
    full = costs(plan, count_with(load_tokenizer(EMBEDDED)), lambda kind, key: False)
    found, _ = outline(asked)
    return found, full, plan


MOVED = Choice(placement=Placement(sharded=True, offloaded=True), gpus=2, tokens=2121)


def test_its_time_by_placement_is_that_of_the_plan(both: tuple) -> None:
    """With the sizes of another model, since the embedded one has none to move."""
    rows, full, plan = both
    asked = request("--seeds", "42,43")
    other = replace(asked, profile=replace(asked.profile, model=load("llama2-7b").model))
    some = replace(plan, request=other, models=plan.models[1:4])
    count = count_with(load_tokenizer(EMBEDDED))
    moved = costs(some, count, lambda kind, key: False, MOVED)
    found, _ = outline(other, MOVED)
    assert found[0] == rows[0]
    for own, exact, still in zip(found[1:4], moved, full[1:4], strict=True):
        assert exact.cost.train_tokens == still.cost.train_tokens
        assert exact.cost.seconds > 2 * still.cost.seconds
        assert own.cost.seconds == pytest.approx(exact.cost.seconds, rel=0.02)


def test_an_outline_has_the_models_and_cells_of_the_plan(both: tuple) -> None:
    rows, full, plan = both
    assert [(r.name, r.cells, r.pending) for r in rows] == [
        (r.name, r.cells, r.pending) for r in full
    ]
    assert {job.training.recipe.epochs for job in plan.models if job.training} == {EPOCHS}


def test_its_tokens_are_those_of_the_plan(both: tuple) -> None:
    rows, full, _ = both
    own, exact = total(rows).cost, total(full).cost
    assert own.new_tokens == exact.new_tokens
    assert own.prompt_tokens == pytest.approx(exact.prompt_tokens, rel=0.02)
    assert own.train_tokens == pytest.approx(exact.train_tokens, rel=0.02)
    assert own.seconds == pytest.approx(exact.seconds, rel=0.02)


SOME = {"tests": ["tweetqa", "rte"], "trains": ["mnli"]}


def assert_stored(found: dict, source: str) -> None:
    stored = counts()[source]
    for kind, own in (("test", "tests"), ("shown", "tests"), ("train", "trains")):
        assert found[kind] == {name: stored[kind][name] for name in SOME[own]}


def test_the_counts_are_those_of_the_embedded_world() -> None:
    count = count_with(load_tokenizer(EMBEDDED))
    assert_stored(measure(EmbeddedData(), count, "", study(), **SOME), "embedded")


def test_the_counts_are_those_of_the_authors_data(upstream: UpstreamData) -> None:
    folder = os.environ.get("REPRO_LLAMA2_TOKENIZER")
    if not folder:
        pytest.skip("REPRO_LLAMA2_TOKENIZER is not set")
    count = count_with(load_tokenizer(Path(folder)))
    assert_stored(measure(upstream, count, "", study(), **SOME), "upstream")


@pytest.mark.parametrize("folder", [str(EMBEDDED), os.environ.get("REPRO_LLAMA2_TOKENIZER")])
def test_a_tokenizer_counts_without_transformers_as_with_it(folder: str | None) -> None:
    if folder is None:
        pytest.skip("REPRO_LLAMA2_TOKENIZER is not set")
    texts = ["", "word", "Two lines\n\nand  blanks ", "\u00fcn\u00efcode \u6f22", "x" * 3000]
    assert count_in(Path(folder))(texts) == count_with(load_tokenizer(Path(folder)))(texts)


def test_the_counts_hold_numbers_only() -> None:
    text = json.dumps([{**source, "vocabulary": ""} for source in counts().values()])
    words = set("".join(c if c.isalnum() else " " for c in text).split())
    trains = {name.split("-")[0] for name in counts()["upstream"]["train"]}
    known = {*DATASETS, *trains, "vocabulary", "test", "shown", "train", "rows", "tokens"}
    assert {w for w in words if not w[0].isdigit()} <= known | {"lengths", "p1", "p2"}


@pytest.mark.parametrize("name", names())
def test_every_profile_can_be_planned_without_data(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("repro.cli.planning._lacking", lambda: "torch is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    where = ["--store", str(tmp_path / "store")]
    cli.main(["plan", "--profile", name, *where], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "26 models 574 574" in told
    assert "not looked up: what the store holds already (torch is not installed)" in told
    assert not (tmp_path / "store").exists()


def test_data_that_is_not_there_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.main(["plan", "--profile", "llama2-7b", "--figures", "1"], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "not looked up" in told
    assert "the Llama-2 vocabulary" in told
    with pytest.raises(click.UsageError):
        cli.main(["plan", "--figure", "1"], standalone_mode=False)


@pytest.mark.parametrize("variants", ["base", "base,xsum-ft-2000"])
def test_on_a_gpu_a_plan_says_where_a_fine_tune_will_lie(
    variants: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("repro.cli.planning._lacking", lambda: "datasets is not installed")
    monkeypatch.setattr("repro.plan.auto.has_gpu", lambda: True)
    monkeypatch.setattr("repro.plan.placement.here", lambda *_, **__: MOVED)
    words = ["--profile", "llama2-7b", "--store", str(tmp_path / "store"), "--variants", variants]
    cli.main(["plan", *words], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "evaluating: 14.1 GB at least (one prompt of 1,024 tokens)" in told
    tuned = variants != "base"
    assert (f"fine-tuning here: {MOVED}" in told) is tuned
    assert ("a step of 4,096 tokens, by the rates above" in told) is tuned


def test_an_outline_starts_no_torch() -> None:
    code = "import sys, repro.cli.planning; print({'torch', 'transformers'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_settings_change_an_outline_as_they_change_the_run() -> None:
    asked = request("--profile", "llama2-7b")

    def cost(cells: list[str], **settings: object) -> object:
        own = replace(asked, cells=[Cell.parse(name) for name in cells], seeds=(42,))
        rows, _ = outline(own.under("published-code", settings))
        return rows[-1].cost

    tuned = ["xsum-fticl2-2000.xsum.p1.0"]
    assert cost(tuned, max_length=0).train_tokens > cost(tuned).train_tokens
    assert cost(tuned, rows=50).prompt_tokens < cost(tuned).prompt_tokens
    assert cost(["base.sst2.p1.0"]).new_tokens == 0
    shown = [cost([f"base.xsum.p1.{n}"]).prompt_tokens for n in (0, 1, 2)]
    assert shown == sorted(set(shown))


def test_epochs_of_a_fine_tune_are_counted_and_what_is_not_is_told() -> None:
    asked = request("--profile", "llama2-7b")

    def rows(*names: str) -> object:
        own = replace(asked, cells=[Cell.parse(name) for name in names], seeds=(42,))
        return outline(own)[0][-1].cost

    twice, eight = (rows(f"xsum-ft-2000{more}.xsum.p1.0") for more in ("", "-epochs=8"))
    assert eight.train_tokens == 4 * twice.train_tokens
    for name in (
        "xsum-ft-1000.xsum.p1.0",
        "base.xsum.p1.5",
        "base.xsum.p1.2-of=cnndm",
        "xsum-ft-2000-checkpoint=8.xsum.p1.0",
    ):
        with pytest.raises(ReproError, match="nothing is counted for") as caught:
            rows(name)
        assert caught.value.exit_code == 3
