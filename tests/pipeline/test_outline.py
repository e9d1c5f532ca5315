"""Plans without data: the shipped counts are the data's, and give the sums of a full plan."""

import json
import os
from pathlib import Path

import click
import pytest

from repro.cli.main import cli
from repro.cli.options import build_plan, parse
from repro.data.embedded import EmbeddedData
from repro.data.upstream import VARIABLE, UpstreamData
from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.paper.cells import Cell
from repro.paper.protocols import protocol
from repro.paper.tasks import DATASETS
from repro.pipeline.cost import total
from repro.pipeline.estimate import costs, count_with
from repro.pipeline.outline import EPOCHS, counts, measure, outline
from repro.pipeline.select import select
from repro.profiles import names


def request(*words: str) -> object:
    return parse(**cli.commands["plan"].make_context("plan", list(words)).params)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """The outline and the full plan of the whole embedded grid, with nothing done."""
    asked = request("--seeds", "42,43")
    plan = build_plan(asked, print)
    full = costs(plan, count_with(load_tokenizer(EMBEDDED)), lambda kind, key: False)
    found = outline(
        select(asked.selection),
        profile=asked.profile,
        protocol=protocol(asked.protocol_name),
        seeds=asked.seeds,
        test_limit=asked.test_limit,
        given=asked.given,
    )
    return found.rows, full, plan


def test_an_outline_has_the_models_and_cells_of_the_plan(both: tuple) -> None:
    rows, full, plan = both
    assert [(r.name, r.cells, r.pending) for r in rows] == [
        (r.name, r.cells, r.pending) for r in full
    ]
    assert {job.recipe.epochs for job in plan.jobs if job.recipe} == {EPOCHS}


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
    assert_stored(measure(EmbeddedData(), count, "", **SOME), "embedded")


def test_the_counts_are_those_of_the_authors_data(upstream: UpstreamData) -> None:
    folder = os.environ.get("REPRO_LLAMA2_TOKENIZER")
    if not folder:
        pytest.skip("REPRO_LLAMA2_TOKENIZER is not set")
    count = count_with(load_tokenizer(Path(folder)))
    assert_stored(measure(upstream, count, "", **SOME), "upstream")


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
    where = ["--data-dir", str(tmp_path / "none"), "--store", str(tmp_path / "store")]
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


def test_settings_change_an_outline_as_they_change_the_run() -> None:
    asked = request("--profile", "llama2-7b")

    def cost(cells: list[str], **settings: object) -> object:
        return outline(
            [Cell.parse(name) for name in cells],
            profile=asked.profile,
            protocol=protocol("published-code", settings),
            seeds=(42,),
            test_limit=None,
            given={},
        ).rows[-1].cost  # fmt: skip

    tuned = ["xsum-fticl2-2000.xsum.p1.0"]
    assert cost(tuned, max_length=0).train_tokens > cost(tuned).train_tokens
    assert cost(tuned, rows=50).prompt_tokens < cost(tuned).prompt_tokens
    assert cost(["base.sst2.p1.0"]).new_tokens == 0
    shown = [cost([f"base.xsum.p1.{n}"]).prompt_tokens for n in (0, 1, 2)]
    assert shown == sorted(set(shown))
