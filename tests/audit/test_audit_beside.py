"""The audit beside that of the authors' data, on a made source whose answers are known by hand."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from repro import profiles
from repro.audit.beside import beside, number, report, write
from repro.audit.command import EXPECTED
from repro.audit.compare import load
from repro.audit.findings import chosen
from repro.audit.material import Material
from repro.audit.side import opening
from repro.cli.main import cli
from repro.console import new_console
from repro.errors import ReproError
from repro.profiles.profile import Scale, Sizes
from repro.studies.paper.tasks import DATASETS


class Words:
    """Every word, blank and line break is a token; a BOS opens a text."""

    bos_token_id, eos_token_id = 1, 2

    def __init__(self) -> None:
        self.known = {"<s>": 1, "</s>": 2, " ": 3}

    def get_vocab(self) -> dict[str, int]:
        return self.known

    def __call__(self, texts: Any, add_special_tokens: bool = True, verbose: bool = True) -> Any:
        if isinstance(texts, str):
            return {"input_ids": self([texts], add_special_tokens)["input_ids"][0]}
        head = [1] * add_special_tokens
        return {"input_ids": [head + self.ids(text) for text in texts]}

    def ids(self, text: str) -> list[int]:
        pieces = re.findall(r"\s|\w+|[^\s\w]", text)
        return [self.known.setdefault(piece, len(self.known) + 1) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        pieces = {number: piece for piece, number in self.known.items()}
        return "".join(pieces[i] for i in ids)

    def convert_ids_to_tokens(self, token: int) -> str:
        return next(piece for piece, number in self.known.items() if number == token)


def pair(one: str, two: str, label: str) -> dict[str, str]:
    return {"input_1": one, "input_2": two, "output": label}


def text(words: str, output: str) -> dict[str, str]:
    return {"input": words, "output": output}


LONG = " ".join(["word"] * 400)
ROWS = {
    # Cut at 256 tokens, the first loses nothing, the second its target, the third a part of it.
    "train/xsum/2000": [text("a short one", "it"), text(LONG, "it"), text("short", LONG)],
    "train/paws/2000": [pair("a b", "c d", "yes"), pair("c d", "e f", "yes"),
                        pair("e f", "g h", "no"), pair("x y", "z z", "yes")],
    # The third row, which would imply the first test row, is not among the two that are used.
    "train/paws/6000": [
        pair("a b", "c d", "yes"),
        pair("q q", "r r", "no"),
        pair("c d", "e f", "yes"),
    ],
    # Of the first two, one label follows from a-b, c-d, e-f; the third is not scored.
    "test/paws": [pair("a b", "e f", "yes"), pair("new", "newer", "no"),
                  pair("a b", "g h", "no")],
    "test/tweetqa": [{"input": w, "answer": "x", "output": "who is it?"} for w in ("", *"abc")],
    "test/mnli1": [pair("p", "q", "-"), pair("r", "s", "neutral"), pair("t", "u", "-")],
    "demonstrations/sst2": [text(f"shown {i}", "positive") for i in range(8)],
    "test/sst2": [text("Shown 1!", "positive"), text("other", "negative"),
                  text("shown 2", "positive")],
}  # fmt: skip

PROFILE = replace(
    profiles.load("embedded"),
    sizes=Sizes(train={"2000": 3, "4000": 3, "6000": 2}, test=2),
    scale=Scale(length=0.25, new_tokens=0.1),
)


@pytest.fixture
def shown(hand_made: Callable[..., Any]) -> Callable[..., dict[str, tuple[str, str]]]:
    """The lines of some findings, by what they say: of the authors' data and of the made one."""

    def lines(*only: str) -> dict[str, tuple[str, str]]:
        material = Material(hand_made(ROWS), Words(), PROFILE)
        pairs, _ = beside(material, load(EXPECTED), chosen(only))
        return {pair.real.what: (number(pair.real), number(pair.made)) for pair in pairs}

    return lines


def test_cut_samples_are_shares_of_the_rows_that_are_used(shown: Callable[..., Any]) -> None:
    found = shown("A2", "C")
    assert found["sequences are cut at"] == ("1,024", "256")
    assert found["xsum-ft-2000: no target token left"] == ("0.1", "33.3")
    assert found["xsum-ft-2000: target cut partly"] == ("0.1", "33.3")
    # AUDIT A2: 18 % and 43 % of the FTICL samples.
    assert found["xsum-fticl1-2000: no target token left"][0] == "17.9"
    assert found["xsum-fticl2-2000: no target token left"][0] == "43.3"
    assert found["amazon-ft-2000: target cut partly"] == ("0.0", "0.0")


def test_implied_labels_are_shares_of_the_rows_that_are_scored(shown: Callable[..., Any]) -> None:
    found = shown("A4")
    assert found["paws, 2000 training rows: label follows"] == ("6.0", "50.0")
    assert found["paws, 2000 training rows: a sentence in training"] == ("60.4", "50.0")
    # Of two rows, none says that a-b is e-f.
    assert found["paws, 6000 training rows: label follows"] == ("42.4", "0.0")


def test_rows_that_are_empty_shown_or_without_label(shown: Callable[..., Any]) -> None:
    empty = shown("empty-inputs")
    assert empty["test/tweetqa"] == ("4.0", "25.0")
    assert empty["test/xsum"] == ("-", "0.0")
    assert shown("no-majority")["mnli1"] == ("0.8", "50.0")
    tested = shown("demonstrations-in-test")
    assert tested["sst2"] == ("2, 1", "2, 1")
    assert tested["paws"] == ("2, 1", "0, 0")


def test_generations_are_as_long_as_the_profile_has_them(shown: Callable[..., Any]) -> None:
    found = shown("reference-lengths")
    assert found["generations end after"] == ("60", "6")
    assert found["cnndm"][0] == "58.0"
    # "who is it?" has three words, two blanks and a mark: as many as a generation.
    assert found["tweetqa"] == ("0.0", "0.0")


def test_openings_tell_bos_and_stray_blanks() -> None:
    assert opening("1, 1, 29871, 835", 1, frozenset({29871})) == "2 BOS, a blank"
    assert opening("835, 10567", 1, frozenset({29871})) == "0 BOS"
    assert opening("1, 835 or 1, 29871 or 1, 836", 1, frozenset({29871})) == (
        "1 BOS or 1 BOS, a blank"
    )


@pytest.fixture
def more_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many demonstrations of every set as the largest shot counts show."""
    for name, dataset in DATASETS.items():
        task = dataset.task
        row = dict.fromkeys(task.fields, "shown") | {"output": (task.labels or ("so",))[0]}
        monkeypatch.setitem(ROWS, f"demonstrations/{name}", [row] * 8)


@pytest.mark.usefixtures("more_shown")
def test_prompts_open_as_the_published_code_has_them(shown: Callable[..., Any]) -> None:
    found = shown("A3")
    for what, opened in {
        "training": "1 BOS",
        "generation, 0-shot": "2 BOS, a blank",
        "generation, few-shot": "1 BOS",
        "classification, 0-shot": "1 BOS, a blank",
        "classification, few-shot": "0 BOS",
    }.items():
        assert found[what] == (opened, opened)


@pytest.mark.usefixtures("more_shown")
def test_labels_of_another_token_show_although_none_matches(shown: Callable[..., Any]) -> None:
    found = shown("label-matches")
    # AUDIT A5: never the scored token behind prompt 2 of nli; here words have no blank in them.
    assert found["nli, p2, 0-shot: another token than is scored"] == ("100.0", "0.0")
    assert found["paraphrase, p2, few-shot: another token than is scored"] == ("0.0", "0.0")


def test_a_finding_that_has_no_line_is_named(shown: Callable[..., Any]) -> None:
    with pytest.raises(ReproError, match="none of these findings") as error:
        shown("nesting")
    assert "paws-leakage" in error.value.hint


def test_faces_show_what_either_side_has(
    hand_made: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    material = Material(hand_made(ROWS), Words(), PROFILE)
    pairs, measured = beside(material, load(EXPECTED), chosen(["no-majority"]))
    written = {path.name for path in write(pairs, measured, tmp_path / "out")}
    assert written == {"audit.html", "audit.md", "audit.json", "audit.csv"}
    text = (tmp_path / "out" / "audit.md").read_text(encoding="utf-8")
    assert "| mnli1 | % | 0.8 | 50.0 |" in text
    assert "| mnli2 | % | 2.4 | 0.0 |" in text
    assert "sst2" not in text
    assert '<td data-label="embedded data" class="num">50.0</td>' in (
        tmp_path / "out" / "audit.html"
    ).read_text(encoding="utf-8")
    lines = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))["lines"]
    (own,) = (line for line in lines if line["what"] == "mnli1")
    assert (own["authors"], own["embedded"]) == ([100 * 2 / 250], [50])
    with (tmp_path / "out" / "audit.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 11
    new_console().print(report(pairs))
    shown = capsys.readouterr().out
    assert "mnli2" in shown
    assert "sst2" not in shown
    new_console().print(report(pairs, every=True))
    assert "sst2" in capsys.readouterr().out


def test_the_embedded_data_is_audited_by_the_command() -> None:
    result = CliRunner().invoke(
        cli, ["audit", "--data", "embedded", "--only", "a4,xsum-truncation"]
    )
    assert result.exit_code == 0, result.output
    assert "label follows" in result.output
    assert "no target token left" in result.output
