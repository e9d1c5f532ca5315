"""Whole runs on a part of the grid: same bytes, nothing lost, nothing done twice."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from datasets import Dataset

from repro import evaluate as evaluation
from repro import profiles
from repro.cli.main import cli, main
from repro.errors import ReproError
from repro.execute import run as whole_run
from repro.execute import worker as running
from repro.models.memory import Placement
from repro.plan import placement
from repro.plan.placement import Choice
from repro.plan.plan import Plan
from repro.plan.rows import rows_digest
from repro.plan.store import Store
from repro.report import html
from repro.report.model import report
from repro.spec.cells import Cell
from repro.verify.reading import read_results

# Fine-tunes of four steps.
AMAZON = [f"amazon-ft-32.amazon.p1.{shots}" for shots in (0, 2, 4)]
CELLS = [f"socialqa-fticl1-32.socialqa.p1.{shots}" for shots in (0, 1, 2)] + AMAZON
CELLS += [f"base.{test}.p1.{n}" for test in ("socialqa", "amazon") for n in (1, 2)]
PART = ["--cells", ",".join([*CELLS, "base.amazon.p1.0"]), "--rows", "6"]
PART_CELLS = len(CELLS) + 1


def _run(folder: Path, *words: str, store: str = "store") -> None:
    where = ["--out", str(folder / "out"), "--store", str(folder / store)]
    cli.main(["run", *where, *(words or PART)], standalone_mode=False)


def _lines(folder: Path, name: str = "results.jsonl") -> list[dict[str, Any]]:
    text = (folder / "out" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _bytes(folder: Path) -> dict[str, bytes]:
    names = ["results.jsonl", "finetunes.jsonl", "prompts.jsonl"]
    files = [folder / "out" / name for name in names] + sorted((folder / "out/samples").iterdir())
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests do not change it."""
    folder = tmp_path_factory.mktemp("finished")
    _run(folder)
    return folder


def test_a_second_fresh_run_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    _run(tmp_path)
    assert len(_bytes(finished)) == 3 + PART_CELLS
    assert _bytes(tmp_path) == _bytes(finished)


def test_a_run_that_finds_everything_says_so(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    _run(tmp_path)
    assert "all cells were there already" in capsys.readouterr().out
    assert _bytes(tmp_path) == _bytes(finished)


def test_each_line_says_what_a_reader_must_know(finished: Path) -> None:
    lines = _lines(finished)
    assert len(lines) == PART_CELLS
    for line in lines:
        samples = (finished / "out" / line["samples"]).read_text(encoding="utf-8").splitlines()
        scores = [json.loads(sample)["score"] for sample in samples]
        assert line["n"] == len(scores) == 6
        assert line["value"] == pytest.approx(sum(scores) / 6)
        assert line["interval"][0] <= line["value"] <= line["interval"][1]
        assert (line["seed"] is None) == (line["variant"] == "base")
        assert (line["profile"], line["protocol"]) == ("embedded", "published-code")
    tuned = _lines(finished, "finetunes.jsonl")
    assert {line["variant"] for line in tuned} == {"amazon-ft-32", "socialqa-fticl1-32"}
    assert all(line["weight_change"] for line in tuned)


def _asked(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))
    asked: dict[str, Any] = record["asked"]
    return asked


def test_a_run_tells_the_cells_and_seeds_that_it_was_asked_for(finished: Path) -> None:
    assert sorted(_asked(finished)["cells"]) == sorted(line["cell"] for line in _lines(finished))
    assert _asked(finished)["seeds"] == [42]
    (run,) = read_results(finished / "out").runs
    assert run.asked == set(run.by_cell)


def test_each_fine_tune_tells_the_digests_of_what_it_read(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the documented rule: sha256 of the rows as JSON with sorted names."""
    plans: list[Plan] = []
    real = whole_run.steps_of
    monkeypatch.setattr(
        whole_run,
        "steps_of",
        lambda plan, *args, **more: real(plans.append(plan) or plan, *args, **more),  # type: ignore[func-returns-value]
    )
    _run(finished)
    told = {line["variant"]: line for line in _lines(finished, "finetunes.jsonl")}
    models = {model.variant.name: model for model in plans[0].models if model.seed is not None}
    assert set(told) == set(models) == {"amazon-ft-32", "socialqa-fticl1-32"}
    for name, line in told.items():
        model = models[name]
        assert model.training is not None
        for fact, rows in (
            ("rows_sha256", model.training.rows),
            ("demonstrations_sha256", model.training.demonstrations),
        ):
            text = json.dumps(list(rows), ensure_ascii=False, sort_keys=True)
            assert line[fact] == hashlib.sha256(text.encode()).hexdigest()
        assert line["demonstrations"] == len(model.training.demonstrations)
    none = hashlib.sha256(b"[]").hexdigest()
    shown = {name: line["demonstrations_sha256"] for name, line in told.items()}
    assert shown["amazon-ft-32"] == none != shown["socialqa-fticl1-32"]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[:-1],
        lambda rows: [*rows, rows[0]],
        lambda rows: [{**rows[0], "text": rows[0]["text"] + " "}, *rows[1:]],
        lambda rows: [{**row, "label": 1 - row["label"]} for row in rows],
        lambda rows: [{**row, "more": ""} for row in rows],
    ],
)
def test_other_rows_or_another_order_have_another_digest(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    rows = [{"text": f"row {i} \u2028", "label": i % 2} for i in range(5)]
    own = rows_digest(Dataset.from_list(rows))
    turned = [dict(reversed(row.items())) for row in rows]
    assert own == rows_digest(Dataset.from_list(turned)), "the order of names does not count"
    assert own != rows_digest(Dataset.from_list(change(rows)))


def test_a_finished_run_does_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _bytes(finished)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a finished step ran again")

    monkeypatch.setattr(running, "load", refuse)
    monkeypatch.setattr(running, "train", refuse)
    _run(finished)
    assert _bytes(finished) == before


def _after(calls: int, error: BaseException) -> Callable[..., Any]:
    """`evaluate`, but the error strikes after so many cells."""

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        for found in real(*args, **kwargs):
            if calls == 0:
                raise error
            calls -= 1
            yield found

    real = evaluation.evaluate
    return evaluate


def test_an_interrupt_keeps_finished_cells_and_the_same_command_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", _after(6, KeyboardInterrupt()))
        with pytest.raises(click.Abort):
            _run(tmp_path)
    assert len(_lines(tmp_path)) == 6
    (cut,) = read_results(tmp_path / "out").runs
    assert cut.asked == {Cell.parse(name) for name in _asked(finished)["cells"]}
    assert len(cut.by_cell) == 6, "what is missing can be told"
    _run(tmp_path)
    assert _bytes(tmp_path) == _bytes(finished)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (RuntimeError("CUDA error: device lost\nmore"), "the GPU failed: CUDA error: device lost"),
    ],
)
def test_a_fault_of_the_machine_is_explained_and_loses_nothing(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Exception,
    said: str,
) -> None:
    where = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", _after(2, fault))
        patch.setattr(sys, "argv", ["repro", "run", *where, *PART])
        with pytest.raises(SystemExit) as caught:
            main()
    assert caught.value.code == 3
    assert said in capsys.readouterr().err
    assert len(_lines(tmp_path)) == 2
    _run(tmp_path)
    assert _bytes(tmp_path) == _bytes(finished)


def test_results_of_another_protocol_or_profile_do_not_mix(finished: Path) -> None:
    with pytest.raises(ReproError, match="protocol differ") as caught:
        _run(finished, *PART, "--protocol", "corrected")
    assert "--out" in caught.value.hint
    with pytest.raises(ReproError, match="overrides differ"):
        _run(finished, *PART, "--set", "zero_shot_blank=false")


def test_another_selection_adds_to_the_folder(tmp_path: Path) -> None:
    _run(tmp_path, "--cells", "base.rte.p1.0", "--rows", "6")
    _run(tmp_path, "--cells", "base.rte.p1.3", "--rows", "6")
    assert [line["cell"] for line in _lines(tmp_path)] == ["base.rte.p1.0", "base.rte.p1.3"]
    assert _asked(tmp_path) == {"cells": ["base.rte.p1.0", "base.rte.p1.3"], "seeds": []}
    _run(tmp_path, "--cells", "base.rte.p1.0", "--rows", "6")
    assert len(_asked(tmp_path)["cells"]) == 2
    _texts_are_those_of_the_samples(tmp_path)


def test_prompts_are_kept_once_and_have_the_hashes_of_the_samples(finished: Path) -> None:
    _texts_are_those_of_the_samples(finished)
    lines = _lines(finished, "prompts.jsonl")
    assert len({json.dumps(line) for line in lines}) == len(lines) < PART_CELLS * 6


def test_a_model_that_writes_before_its_label_has_prompts_of_its_own(tmp_path: Path) -> None:
    own = "amazon-ft-16-target=sentence"
    cells = f"base.amazon.p1.0,base.socialqa.p1.0,{own}.amazon.p1.0,{own}.socialqa.p1.0"
    _run(tmp_path, "--study", "output_space", "--cells", cells, "--rows", "4")
    _texts_are_those_of_the_samples(tmp_path)
    lines = _lines(tmp_path, "prompts.jsonl")
    assert [(x["dataset"], x["row"]) for x in lines if "target" in x] == [
        ("amazon", row) for row in range(4)
    ]
    assert "sentence" in html.page(report(tmp_path / "out"))  # it holds texts against hashes too


def test_demonstrations_in_the_format_of_a_fine_tune_have_a_context_of_their_own(
    tmp_path: Path,
) -> None:
    own = "amazon-ft-16-target=sentence"
    shown = ["amazon.p1.2", "socialqa.p1.2", "socialqa.p1.2-of=amazon", "amazon.p1.2-of=socialqa"]
    cells = ",".join(f"{model}.{cell}" for model in ("base", own) for cell in shown)
    _run(tmp_path, "--study", "output_space", "--cells", cells, "--rows", "2")
    _texts_are_those_of_the_samples(tmp_path)
    lines = _lines(tmp_path, "prompts.jsonl")
    assert [(x["dataset"], x["shots"]) for x in lines if "target" in x and "shots" in x] == [
        ("socialqa", "2-of=amazon"), ("amazon", 2),
    ]  # fmt: skip
    html.page(report(tmp_path / "out"))


def test_two_checkpoints_after_the_same_step_are_one_model(tmp_path: Path) -> None:
    own = [f"socialqa-ft-32-checkpoint={name}.socialqa.p1.0" for name in ("2", "epoch1", "3")]
    _run(tmp_path, "--cells", ",".join(own), "--rows", "2")
    lines = {line["variant"].partition("=")[2]: line for line in _lines(tmp_path)}
    second, first_epoch, third = (lines[name] for name in ("2", "epoch1", "3"))
    assert second["model_key"] == first_epoch["model_key"] != third["model_key"]
    assert second["value"] == first_epoch["value"]


def _texts_are_those_of_the_samples(folder: Path) -> None:
    """The documented rule, applied without the kit's reader."""
    texts = {
        (line["dataset"], line["prompt"], name, line[name], line.get("target", "")): line["text"]
        for line in _lines(folder, "prompts.jsonl")
        for name in ("shots", "row")
        if name in line
    }
    for line in _lines(folder):
        place, target = (line["dataset"], line["prompt"]), line["variant"].partition("target=")[2]
        shown = (*place, "shots", line["cell"].partition(f".{line['prompt']}.")[2])
        shown = (*shown[:3], int(shown[3]) if shown[3].isdigit() else shown[3])
        before = texts[*shown, target] if (*shown, target) in texts else texts[*shown, ""]
        for sample in _lines(folder, line["samples"]):
            row = (*place, "row", sample["row"])
            text = before + (texts[*row, target] if (*row, target) in texts else texts[*row, ""])
            assert hashlib.sha256(text.encode()).hexdigest() == sample["prompt_sha256"]


def test_a_training_switch_leaves_the_base_alone(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content keys: a clipped fine-tune is another one, the base's cells are the same."""
    evaluated = []
    real = evaluation.evaluate

    def counted(engine: Any, jobs: Any, *args: Any, **kwargs: Any) -> Any:
        evaluated.extend(job.cell.name for job in jobs)
        return real(engine, jobs, *args, **kwargs)

    monkeypatch.setattr(evaluation, "evaluate", counted)
    out = ["--out", str(tmp_path / "out"), "--store", str(finished / "store")]
    cli.main(["run", *out, *PART, "--set", "clip_norm=0.5"], standalone_mode=False)
    assert len(evaluated) == 6
    assert not [name for name in evaluated if name.startswith("base.")]


def test_diverging_training_stops_with_an_error_and_no_weights(tmp_path: Path) -> None:
    words = ["--variants", "amazon-ft-2000", "--figures", "6", "--rows", "6"]
    with pytest.raises(ReproError) as caught:
        _run(tmp_path, *words, "--set", "learning_rate=1e30")
    assert caught.value.exit_code == 1
    assert "step" in str(caught.value)
    assert not list((tmp_path / "store").glob("model/*"))
    assert not list((tmp_path / "store").glob("facts/*"))


def test_weights_can_be_dropped_and_facts_stay(tmp_path: Path) -> None:
    words = ["--cells", AMAZON[0], "--rows", "6"]
    _run(tmp_path, *words, "--keep-models", "none")
    assert not list((tmp_path / "store").glob("model/*"))
    assert not list((tmp_path / "store").glob("weights/*"))
    assert len(_lines(tmp_path, "finetunes.jsonl")) == 1
    _run(tmp_path, *words, "--keep-models", "none")
    assert len(_lines(tmp_path)) == 1
    # Another cell needs the weights again, of which the facts are there.
    _run(tmp_path, "--cells", "amazon-ft-32.sst2.p1.0", *words[2:], "--keep-models", "none")
    assert len(_lines(tmp_path)) == 2
    assert len(_lines(tmp_path, "finetunes.jsonl")) == 1


def test_moments_in_main_memory_change_no_bit(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokens = profiles.load("embedded").compute.train_tokens
    choice = Choice(placement=Placement(offloaded=True), gpus=1, tokens=tokens)
    monkeypatch.setattr(placement, "here", lambda *machine, **options: choice)
    _run(tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "fine-tuning on 32 rows, AdamW's moments in main memory" in told
    own, stored = _bytes(tmp_path), _bytes(finished)
    tuned, expected = own.pop("finetunes.jsonl"), stored.pop("finetunes.jsonl")
    assert b'"offloaded": true' in tuned
    assert tuned.replace(b'"offloaded": true', b'"offloaded": false') == expected
    assert own == stored


def test_given_checkpoints_are_evaluated_and_not_trained(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tuned,) = (t for t in _lines(finished, "finetunes.jsonl") if t["variant"] == "amazon-ft-32")
    given = tmp_path / "given"
    given.mkdir()
    (given / "amazon-ft-32").symlink_to(finished / "store" / "model" / tuned["key"])

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained, or took the base")

    monkeypatch.setattr(running, "train", refuse)
    monkeypatch.setattr(running, "materialise", refuse)
    words = ["--cells", ",".join(AMAZON), "--rows", "6", "--checkpoints", str(given)]
    _run(tmp_path, *words, "--keep-models", "none")
    assert (given / "amazon-ft-32" / "model.safetensors").is_file()
    lines = _lines(tmp_path)
    samples = [line["samples"] for line in lines]
    assert len(samples) == 3
    for name in samples:
        assert (tmp_path / "out" / name).read_bytes() == (finished / "out" / name).read_bytes()
    (known,) = _lines(tmp_path, "finetunes.jsonl")
    assert known["given"] is True
    assert known["losses"] == tuned["losses"]
    assert {line["model_key"] for line in lines} == {known["key"]} != {tuned["key"]}
    cli.main(["verify", str(tmp_path / "out")], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "1 fine-tune given as checkpoints, not trained by the run" in told


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("amazon-ft-32", "checkpoint .*amazon-ft-32", 3),
        ("amazon", "no folder in it is named like a selected model", 2),
        (None, "is no folder", 3),
    ],
)
def test_checkpoints_that_are_none(tmp_path: Path, name: str | None, said: str, code: int) -> None:
    if name:
        (tmp_path / "given" / name).mkdir(parents=True)
    with pytest.raises(ReproError, match=said) as caught:
        _run(tmp_path, *PART, "--checkpoints", str(tmp_path / "given"))
    assert caught.value.exit_code == code


@pytest.mark.usefixtures("warm")
def test_two_processes_on_one_store_end_in_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    processes = []
    for number in ("1", "2"):
        out = ["--out", str(tmp_path / number / "out"), "--store", str(tmp_path / "store")]
        code = "from repro.cli import main; main()"
        command = [sys.executable, "-c", code, "run", *out, *PART]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    assert [process.wait() for process in processes] == [0, 0]
    assert _bytes(tmp_path / "1") == _bytes(tmp_path / "2") == _bytes(finished)


def test_the_results_folder_is_held_by_one_run(finished: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ReproError, match="another run is writing"):
            _run(tmp_path)


def test_a_budget_that_memory_reduced_is_recorded_and_no_other(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads((finished / "out" / "run.json").read_text(encoding="utf-8"))["budgets"]
    planned = profiles.load("embedded").compute
    assert whole == {
        "train_tokens": planned.train_tokens,
        "evaluate_tokens": planned.evaluate_tokens,
        "reduced": {},
    }
    assert not list((finished / "store").rglob("budget.json"))

    def scarce(work: Callable[[list[int]], Any], rows: list[int]) -> Any:
        return None if len(rows) > 2 else work(rows)

    monkeypatch.setattr("repro.evaluate.batches._try", scarce)
    words = ["--cells", "base.amazon.p1.0", "--rows", "6"]
    _run(tmp_path, *words)
    reduced = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["budgets"]
    assert 0 < reduced["reduced"]["base.amazon.p1.0"]["evaluate_tokens"] < planned.evaluate_tokens
    (line,) = _lines(tmp_path)
    (like,) = (old for old in _lines(finished) if old["cell"] == "base.amazon.p1.0")
    assert line["key"] == like["key"]


def test_the_gpu_is_tested_before_the_first_fine_tune_and_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU that is taken for a GPU of a new kind."""
    from repro.machine.gpus import Cuda
    from repro.machine.selftest import run as tests
    from repro.machine.selftest.record import Record

    embedded = profiles.load("embedded")
    asked: list[list[str]] = []
    requests: list[Any] = []

    def ensure(store: Path, cuda: Cuda, precisions: list[str], **_: object) -> Record:
        asked.append(precisions)
        return Record(
            key={"gpu": "X"},
            checks=[],
            attention={"bfloat16": "grouped"},
            share_prefix=True,
            memory_factor=1.3,
            stop=stop,
        )

    class StoppedError(Exception):
        pass

    def record(step: Any, *_: object, **__: object) -> None:
        requests.append(step)
        raise StoppedError

    monkeypatch.setattr(tests, "ensure", ensure)
    monkeypatch.setattr(running, "train", record)
    monkeypatch.setattr(whole_run, "probe_cuda", lambda: Cuda("13.0", (13, 0), (10**11,), ("X",)))
    factors: list[float] = []

    def here(*_: object, record: Record) -> Choice:
        factors.append(record.memory_factor)
        return Choice(placement=Placement(), gpus=1, tokens=64)

    monkeypatch.setattr(placement, "here", here)
    plan, store = _plan(tmp_path, embedded)
    object.__setattr__(plan.request.profile.compute, "device", "cuda")
    for stop in ("", "attention grouped: wrong"):
        with pytest.raises(ReproError if stop else StoppedError):
            whole_run.run(plan, store, tmp_path / "out", keep_models="all", say=print)
    assert len(asked) == 2
    assert asked[0] == ["float32"]
    assert factors == [1.3]
    assert [step.setup.way for step in requests] == ["grouped"]
    assert json.loads((tmp_path / "out" / "selftest.json").read_text())["key"] == {"gpu": "X"}


def _plan(folder: Path, profile: Any, cells: str = AMAZON[0]) -> tuple[Plan, Store]:
    """A plan of one cell, and an empty store."""
    from repro.cli.options import build_plan, parse

    names = ["figures", "claims", "variants", "tests", "grid", "rows", "seeds", "data_dir"]
    options: dict[str, Any] = dict.fromkeys([*names, "protocol_name", "checkpoints"])
    request = parse(
        **options,
        study="paper",
        profile=profile.name,
        overrides=(),
        cells=cells,
        store=folder / "store",
        skip_missing=False,
        engine="torch",
        model=(),
    )
    return build_plan(request, print), Store(folder / "store")


@pytest.mark.parametrize("tested", [True, False])
def test_a_run_without_fine_tunes_evaluates_as_the_gpu_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tested: bool
) -> None:
    """As it did before it was interrupted; without a record, in the ordinary way."""
    from repro.machine.gpus import Cuda
    from repro.machine.selftest import run as tests
    from repro.machine.selftest.record import Record
    from repro.plan.steps import Evaluate

    kept = Record(
        key={"gpu": "X"},
        checks=[],
        attention={"bfloat16": "grouped"},
        share_prefix=True,
        replayed=True,
        memory_factor=1.0,
    )
    monkeypatch.setattr(tests, "known", lambda *_: kept if tested else None)
    monkeypatch.setattr(whole_run, "probe_cuda", lambda: Cuda("13.0", (13, 0), (10**11,), ("X",)))
    plan, store = _plan(tmp_path, profiles.load("embedded"), "base.socialqa.p1.0")
    object.__setattr__(plan.request.profile.compute, "device", "cuda")
    (tmp_path / "out").mkdir()
    steps = whole_run._steps(plan, store, tmp_path / "out", None, None, print)
    assert [step.setup.replayed for step in steps if isinstance(step, Evaluate)] == [tested]
    assert (tmp_path / "out" / "selftest.json").is_file() == tested


START = """
import sys
from repro.cli.main import cli
from repro.execute import schedule
slow = {"accelerate", "scipy.sparse", "torch._dynamo", "transformers.modeling_utils"}
schedule.Schedule.finish = lambda *_: print("imported:", *sorted(slow & set(sys.modules)))
cli.main(["run", *sys.argv[1:]], standalone_mode=False)
"""


def test_a_run_imports_what_computes_in_its_first_step_at_the_earliest(tmp_path: Path) -> None:
    """Drivers of workers, and runs that find all done, do without; it takes seconds."""
    where = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    done = subprocess.run(
        [sys.executable, "-c", START, *where, *PART],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "imported:" in done.stdout.split("\n")
