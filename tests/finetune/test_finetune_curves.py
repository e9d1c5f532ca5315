"""Training curves: what a tracker of accelerate is told, and that it changes nothing."""

import struct
from pathlib import Path
from typing import Any

import pytest

import repro
from repro.cli.main import cli
from repro.errors import ReproError
from repro.finetune import curves

WORDS = ["run", "--cells", "amazon-ft-2000.amazon.p1.0", "--rows", "2"]


class Recorder:
    """A tracker that keeps what it is told."""

    requires_logging_directory = True
    told: list[tuple[str, Any]]

    def __init__(self, run: str, logging_dir: Path) -> None:
        self.told = Recorder.told = [("made", (run, logging_dir))]

    def start(self) -> None:
        self.told.append(("start", None))

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.told.append(("settings", values))

    def log(self, values: dict[str, float], step: int) -> None:
        self.told.append(("log", (step, values)))

    def finish(self) -> None:
        self.told.append(("finish", None))


def test_every_step_is_told_and_no_bit_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", {"tensorboard": Recorder})
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["tensorboard"])
    for name, more in (("with", ["--track", "tensorboard"]), ("without", [])):
        where = ["--store", str(tmp_path / f"store-{name}"), "--out", str(tmp_path / name)]
        cli.main([*WORDS, *where, *more], standalone_mode=False)
    for name in ("results.jsonl", "finetunes.jsonl"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    (tuned,) = repro.load(tmp_path / "with").finetunes
    made, *told = Recorder.told
    assert made == ("made", ("amazon-ft-2000 seed 42", tmp_path / "with" / "curves"))
    assert [kind for kind, _ in told] == ["start", "settings", *["log"] * 20, "finish"]
    assert dict(told)["settings"] == tuned.facts["recipe"]
    steps = [value for kind, value in told if kind == "log"]
    assert [step for step, _ in steps] == list(range(1, 21))
    assert tuple(values["loss"] for _, values in steps) == tuned.losses
    assert [v["gradient_norm"] for _, v in steps] == tuned.facts["gradient_norms"]
    rate = tuned.facts["recipe"]["learning_rate"]
    assert next(values["learning_rate"] for _, values in steps) == pytest.approx(rate)


def test_a_tracker_that_fails_on_the_way_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", {"tensorboard": Recorder})
    with pytest.raises(KeyboardInterrupt), curves.curves("tensorboard", tmp_path, "run", {}):
        raise KeyboardInterrupt
    assert Recorder.told[-1] == ("finish", None)


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(ReproError, match="--track trackio: the package is not installed") as caught:
        cli.main([*WORDS, "--track", "trackio"], standalone_mode=False)
    assert (caught.value.exit_code, caught.value.hint) == (3, "pip install trackio")


@pytest.mark.interop
def test_tensorboard_reads_them(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs '.[interop]'")
    with curves.curves("tensorboard", tmp_path, "run", {"epochs": 2}) as track:
        assert track is not None
        track({"loss": 1.5}, 1)
        track({"loss": 0.5}, 2)
    (file,) = (tmp_path / "run").glob("events.*")
    content, found = file.read_bytes(), []
    while content:  # records: length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        event = events.Event.FromString(content[12 : 12 + length])
        found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
        content = content[16 + length :]
    assert found == [(1, "loss", 1.5), (2, "loss", 0.5)]
