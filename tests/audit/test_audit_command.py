"""The command: exit codes, what is printed, and the real audit where its files are."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from repro.audit import command
from repro.audit.command import run
from repro.errors import ReproError


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, hand_made: Callable[..., Any]) -> None:
    """Rows of which two of MNLI-1 have no gold label; no tokenizer."""
    rows = [{"input_1": str(i), "input_2": "", "output": "-"} for i in range(2)]
    made = hand_made({"test/mnli1": rows})
    monkeypatch.setattr(command, "UpstreamData", lambda folder: made)
    monkeypatch.delenv("REPRO_LLAMA2_TOKENIZER", raising=False)


def _expected(folder: Path, value: int) -> Path:
    values = [
        {"finding": "no-majority", "what": "mnli1, all", "value": value},
        {"finding": "label-tokens", "what": "nli, neutral: scored", "value": "17821 neut"},
    ]
    content = {"format": 1, "section": "A5", "tolerances": {}, "values": values}
    (folder / "A5.json").write_text(json.dumps(content))
    return folder


def _console(width: int = 80) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width), out


@pytest.mark.usefixtures("source")
def test_equal_values_exit_0_and_others_1(tmp_path: Path) -> None:
    console, out = _console()
    only, folder = ["no-majority"], tmp_path / "out"
    assert run(None, None, only, folder, console, expected=_expected(tmp_path, 2)) == 0
    assert "EQUAL" in out.getvalue()
    written = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    (comparison,) = written["comparisons"]
    assert (comparison["stored"], comparison["recomputed"], comparison["verdict"]) == (
        2,
        2,
        "EQUAL",
    )
    console, out = _console()
    assert run(None, None, only, None, console, expected=_expected(tmp_path, 3)) == 1
    assert "no-majority: mnli1, all" in out.getvalue()
    assert "DIFFERS" in out.getvalue()


@pytest.mark.usefixtures("source")
def test_what_needs_a_tokenizer_is_shown_as_not_run(tmp_path: Path) -> None:
    console, out = _console()
    only = ["no-majority", "label-tokens"]
    assert run(None, None, only, None, console, expected=_expected(tmp_path, 2)) == 3
    lines = out.getvalue().splitlines()
    assert any("label-tokens" in line and "NOT RUN" in line for line in lines)
    assert any("no-majority" in line and "EQUAL" in line for line in lines)
    assert "tokenizer.json of the ungated NousResearch/Llama-2-7b-hf" in out.getvalue()
    assert all(len(line) <= 80 for line in lines if not line.startswith("NOT RUN:"))


def test_missing_data_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="is not there") as error:
        run(tmp_path, None, ["no-majority"], None, _console()[0])
    assert error.value.exit_code == 3
    assert "repro data fetch" in error.value.hint


def test_an_unknown_finding_is_an_error_with_the_nearest_names() -> None:
    with pytest.raises(ReproError, match="paws-leak'") as error:
        run(None, None, ["paws-leak"], None, _console()[0])
    assert error.value.exit_code == 2
    assert "paws-leakage" in error.value.hint


@pytest.mark.usefixtures("source")
def test_a_section_stands_for_its_findings(tmp_path: Path) -> None:
    console, out = _console()
    assert run(None, None, ["A5"], None, console, expected=_expected(tmp_path, 2)) == 3
    assert "no-majority" in out.getvalue()
    assert "constant-class" in out.getvalue()
    assert "paws-leakage" not in out.getvalue()


@pytest.mark.usefixtures("upstream")
def test_the_published_data_has_every_stored_value(tokenizer_dir: Path, tmp_path: Path) -> None:
    console, out = _console(100)
    assert run(None, tokenizer_dir, None, tmp_path / "out", console) == 0, out.getvalue()
    comparisons = json.loads((tmp_path / "out/audit.json").read_text(encoding="utf-8"))[
        "comparisons"
    ]
    assert {c["verdict"] for c in comparisons} == {"EQUAL"}
    # Where AUDIT.md is wrong, the table says so.
    assert "AUDIT says 339" in out.getvalue()
