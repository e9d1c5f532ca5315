"""What cutting does, by hand; Llama-2's tokens, against the tokenizer as a whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from repro.audit import prompting, training
from repro.audit.material import Length, Material
from repro.audit.tokenizer import LineTokenizer, load
from repro.data.upstream import UpstreamData
from repro.errors import ReproError
from repro.evaluate.encode import Job, encode
from repro.spec.cells import Cell
from repro.spec.tasks import Part
from repro.studies.paper.protocols import protocol
from repro.studies.paper.study import study
from repro.studies.paper.tasks import task_of


def test_cut_targets_are_counted() -> None:
    # A maximum of 10: one sample fits, one loses 2 of 4 target tokens, two lose all of them.
    lengths = [
        Length(source=5, total=9, kept=4, after=9, fused=False),
        Length(source=8, total=12, kept=2, after=10, fused=False),
        Length(source=10, total=14, kept=0, after=10, fused=False),
        Length(source=30, total=38, kept=0, after=10, fused=False),
    ]
    assert training.truncation(lengths) == {
        "longer than the maximum": 3,
        "target cut partly": 1,
        "no target token left": 2,
        "target complete": 1,
    }
    assert training.lost(lengths) == pytest.approx(100 * 14 / 20)


def test_openings_show_every_difference() -> None:
    assert prompting.opening([[1, 5, 9], [1, 5, 7]], 2) == "1, 5"
    assert prompting.opening([[1, 5, 9], [1, 6, 7], [1, 5]], 2) == "1, 5 or 1, 6"


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    Tokenizer(models.BPE(vocab={"<s>": 1, "a": 0}, merges=[])).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(ReproError, match="not the tokenizer of Llama-2") as error:
        load(tmp_path)
    assert "8efe6c9b93655b934e27bd9981e3ec13e55aee9d" in error.value.hint


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ReproError, match=r"tokenizer\.json") as error:
        load(tmp_path)
    assert error.value.exit_code == 3


def test_no_tokenizer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRO_LLAMA2_TOKENIZER", raising=False)
    with pytest.raises(ReproError, match="no tokenizer") as error:
        load()
    assert error.value.exit_code == 3
    assert "tokenizer.json" in error.value.hint


@pytest.fixture(scope="module")
def whole(tokenizer_dir: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))


@pytest.fixture(scope="module")
def by_lines(tokenizer_dir: Path) -> LineTokenizer:
    return load(tokenizer_dir)


_PIECES = ("a", "#", "### Input", "\n", "\n\n", "\r", " ", ":", "é", "雪", "<s>", "</s>")


@given(text=st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))
def test_tokens_by_line_are_those_of_the_whole_text(
    whole: Tokenizer, by_lines: LineTokenizer, text: str
) -> None:
    assert by_lines.ids(text) == whole.encode(text, add_special_tokens=False).ids
    assert by_lines(text)["input_ids"] == whole.encode(text).ids


@pytest.mark.parametrize("name", ["base.xsum.p1.4", "base.yelp.p2.0", "base.rte.p2.7"])
def test_prompts_are_those_of_the_kit(
    upstream: UpstreamData, tokenizer_dir: Path, by_lines: LineTokenizer, name: str
) -> None:
    cell = Cell.parse(name)
    kit = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_dir / "tokenizer.json"), bos_token="<s>", eos_token="</s>"
    )
    rows = upstream.rows(Part("test", cell.dataset), task_of(Part("test", cell.dataset))).select(
        range(20)
    )
    job = Job(
        study().evaluation(cell),
        rows,
        upstream.rows(
            Part("demonstrations", cell.dataset), task_of(Part("demonstrations", cell.dataset))
        ),
    )
    prompts = encode(job, kit, protocol("published-code")).prompts
    assert encode(job, by_lines, protocol("published-code")).prompts == prompts
    made = Material(upstream, by_lines).prompts(cell.dataset, cell.prompt, cell.shots)
    assert made.lengths[:20] == [len(ids) for ids in prompts]
