"""What the README tells people to type exists, and what it shows is what they get."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest

from repro import __version__, profiles
from repro.cli.main import cli
from repro.evaluate import Job
from repro.execute import worker as running
from repro.finetune import FACTS
from repro.plan.steps import FineTune
from repro.spec.cells import Cell

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Commands stand in code blocks, a line each, or between single backquotes.
BLOCKS = re.findall(r"^```\n(.*?)^```", README, flags=re.M | re.S)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S))
TYPED = [line for block in BLOCKS for line in block.splitlines()] + INLINE
COMMANDS = [re.sub(r"\s+#.*", "", text) for text in TYPED if text.startswith("repro ")]


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_parse(text: str) -> None:
    command: click.Command = cli
    words = shlex.split(text)[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(text, words)


def test_options_of_the_main_job_exist() -> None:
    known = {name for parameter in cli.commands["run"].params for name in parameter.opts}
    # Whole commands are parsed by the test above.
    words = [word for text in INLINE if not text.startswith("repro ") for word in text.split()]
    named = {word.split("=")[0] for word in words if word[:2] == "--"}
    assert named <= known


def test_every_profile_is_in_the_table() -> None:
    for name in profiles.names():
        assert f"`{name}`" in README


def test_ten_lines_tell_what_exit_code_0_says_with_rates() -> None:
    section = README.split("## What exit code 0 says\n")[1].split("\n## ")[0].strip()
    assert len(section.splitlines()) <= 10
    assert max(map(len, section.splitlines())) <= 120
    points = re.split(r"^- ", section, flags=re.M)[1:]
    assert all(re.search(r"\d %", point) for point in points)


def test_who_cites_finds_the_kit_and_the_paper() -> None:
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    # What the format demands (citation-file-format.github.io), and this version.
    assert {"cff-version", "message", "title", "authors"} <= told.keys()
    assert told["version"] == __version__
    (paper,) = told["references"]
    assert paper["title"] in README
    assert paper["identifiers"][0]["value"] == "arXiv:2403.09162"
    assert [author["family-names"] for author in paper["authors"]][::5] == ["Yang", "Lam"]


def test_files_that_it_names_exist() -> None:
    for name in re.findall(r"`((?:repro|expected_results|docker|tests|tools)/[\w./-]*)`", README):
        assert (ROOT / name).exists(), name


def tune(step: FineTune, base: Path, folders: Mapping[str, Path], *_: Any, **__: Any) -> None:
    facts = {"dead_micro_batches": [0], "input_tokens": 1, "label_tokens": 1, "samples": 1}
    facts |= {"steps": 1, "losses": [1.5], "recipe": {"micro_batch": 1, "accumulation": 1}}
    (folders[step.key] / FACTS).write_text(json.dumps(facts))


class Engine(nullcontext[None]):
    """Nothing is computed, hence nothing runs out of memory."""

    reduced_budget = None


def evaluate(
    engine: object, jobs: Sequence[Job], *args: object, **options: object
) -> Iterator[tuple[Cell, list[dict[str, Any]]]]:
    """One row a cell, without a model."""
    for job in jobs:
        row: dict[str, Any] = {"row": 0, "prompt_sha256": "0" * 64, "prompt_tokens": 1}
        labels = job.asked.task.labels
        answer = (
            {"gold": labels[0], "prediction": labels[0], "logits": dict.fromkeys(labels, 0.0)}
            if labels
            else {"gold": "x", "text": "x", "new_tokens": 1, "stopped": "eos"}
        )
        yield job.cell, [row | answer | {"score": 1}]


def test_a_run_of_the_whole_grid_prints_the_lines_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default run, planned and stored as ever; only the models are left out."""
    monkeypatch.setattr(running, "materialise", lambda spec, folder, progress: {})
    monkeypatch.setattr(running, "load", lambda *args, **options: (None, None))
    monkeypatch.setattr("repro.evaluate.TorchEngine", lambda *args, **more: Engine())
    monkeypatch.setattr(running, "train", tune)
    monkeypatch.setattr("repro.evaluate.evaluate", evaluate)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # of hundreds of artefacts
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(["run", "--store", "store"], standalone_mode=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    printed = [line for line in lines if not re.match(r"\d+ of \d+ models done", line)]
    section = README.split("## What a run prints")[1]
    block = re.search(r"^```\n(.*?)^```", section, re.M | re.S)
    assert block
    first, last = (part.split("\n") for part in block[1].strip().split("\n...\n"))
    measured = re.compile(r"last loss [\d.]+, [\d,]+ tokens/s")
    assert [measured.sub("", line) for line in printed[: len(first)]] == [
        measured.sub("", line) for line in first
    ]
    assert printed[-len(last) - 1 :] == [
        *last,
        "next: repro verify results/embedded-published-code",
    ]
