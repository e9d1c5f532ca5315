"""The texts behind samples: found by cell and row, or refused."""

import hashlib
import json
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.results.texts import prompts
from repro.spec.cells import Cell

CELL = Cell.parse("base.xsum.p1.2")
PLACE = {"dataset": "xsum", "prompt": "p1"}
NASTY = "</script>\x00\x1b[31m\u2028\u202e\r\n[bold]\U0001f600"


def _write(folder: Path, *lines: dict[str, object]) -> Path:
    # Line separators of Unicode stand unescaped in the file, and must not end a line.
    text = "".join(json.dumps(PLACE | line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "prompts.jsonl").write_text(text, encoding="utf-8", newline="\n")
    return folder


def test_context_and_row_join_to_the_hashed_text(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"shots": 2, "text": NASTY}, {"row": 7, "text": "own"})
    digest = hashlib.sha256((NASTY + "own").encode()).hexdigest()
    lookup = prompts(folder)
    assert lookup(CELL, 7, digest) == NASTY + "own"
    assert lookup(CELL, 8, digest) is None
    with pytest.raises(ReproError, match=r"base\.xsum\.p1\.2, row 7") as caught:
        lookup(CELL, 7, "0" * 64)
    assert caught.value.exit_code == 1


def test_a_model_that_writes_before_the_label_is_asked_behind_that(tmp_path: Path) -> None:
    plain, behind = {"row": 7, "text": "own"}, {"target": "sentence", "row": 7, "text": "own It is"}
    lookup = prompts(_write(tmp_path, {"shots": 0, "text": " "}, plain, behind))
    for name, text in (
        ("base", " own"),
        ("amazon-ft-2000-target=sentence", " own It is"),
        ("amazon-ft-2000-target=words", " own"),
    ):
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert lookup(Cell.parse(f"{name}.xsum.p1.0"), 7, digest) == text


def test_without_the_file_no_text_is_known(tmp_path: Path) -> None:
    assert prompts(tmp_path)(CELL, 0, "0" * 64) is None


@pytest.mark.parametrize("line", [{"row": "7", "text": "a"}, {"row": 7}, {"shots": 2, "text": 1}])
def test_a_malformed_line_is_named(tmp_path: Path, line: dict[str, object]) -> None:
    with pytest.raises(ReproError, match=r"prompts\.jsonl, line 1: field"):
        prompts(_write(tmp_path, line))
