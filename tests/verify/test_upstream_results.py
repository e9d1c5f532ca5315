"""Results of the authors' scripts, written here as their evaluation writes them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from repro.cli.main import cli
from repro.errors import ReproError
from repro.metrics.rouge import scorer
from repro.results.runs import Run
from repro.spec.cells import BASE, Cell
from repro.studies.paper.cells import all_cells
from repro.studies.paper.figures import cells
from repro.verify.levels import compare_runs
from repro.verify.reading import read_results
from repro.verify.reference import record
from repro.verify.upstream_results import import_results, parse_name
from repro.verify.verdicts import Level, Verdict
from repro.verify.verification import build

ROWS = 250
# Names of the authors' files and the label ids' order in their script, written out by hand.
LABELS = {
    "amazon": ["positive", "negative"],
    "paws": ["yes", "no"],
    "rte": ["entailment", "neutral", "contradiction"],
    "multinli": ["entailment", "neutral", "contradiction"],
}
GOLDS = {
    "amazon": ["positive", "negative"],
    "paws": ["yes", "no"],
    "rte": ["entailment", "neutral"],
    "multinli": ["entailment", "neutral", "contradiction", "-"],
}
# Their names of the sets that the kit calls otherwise.
STEMS = {
    "peerread": "pdfs",
    "cnndm": "cnn",
    "mnli": "multinli",
    "mnli1": "multinli",
    "mnli2": "multinli2",
}
Row = dict[str, Any]


def file_name(cell: Cell, base: str = "llama-2-7b") -> str:
    """The file in which the authors' evaluation puts a cell."""
    variant, model = cell.variant, base
    if variant != BASE:
        train = STEMS.get(variant.train, variant.train)
        model = f"{train}_{variant.size}{variant.train_shots or ''}"
    stem = STEMS.get(cell.dataset, cell.dataset)
    return f"{stem}_{model}_{cell.shots}_shot_map_{('p1', 'p2').index(cell.prompt)}.json"


def labelled(stem: str, shift: int = 0) -> list[Row]:
    golds, count = GOLDS[stem], len(LABELS[stem])
    return [
        {
            "idx": i,
            "instruction": f"row {i}",
            "generation": "whatever",
            "output": golds[i % len(golds)],
            "max_idx": (i // 3 + shift) % count,
        }
        for i in range(ROWS)
    ]


def written(text: str = "what will Kim want") -> list[Row]:
    return [
        {
            "idx": i,
            "instruction": f"row {i}",
            "generation": f"{text} {i % 7}\n\n### Input: more",
            "output": f"what does Kim want {i % 5}",
        }
        for i in range(ROWS)
    ]


def put(folder: Path, name: str, rows: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(rows, indent=4), encoding="utf-8")
    return path


def imported(folder: Path, out: Path) -> Run:
    import_results(folder, out)
    (run,) = read_results(out).runs
    return run


def counted(stem: str, rows: list[Row]) -> float:
    """Accuracy as their metric script counts it: the label at `max_idx` equals the gold."""
    return sum(LABELS[stem][row["max_idx"]] == row["output"] for row in rows) / len(rows)


def rouge(rows: list[Row]) -> float:
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    texts = [row["generation"].split("\n\n")[0] for row in rows]
    pairs = zip(rows, texts, strict=True)
    return sum(scorer.score(r["output"], t)["rougeL"].fmeasure for r, t in pairs) / len(rows)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("xsum_llama-2-7b_0_shot_map_0.json", "base.xsum.p1.0"),
        ("pdfs_xsum_2000_4_shot_map_1.json", "xsum-ft-2000.peerread.p2.4"),
        ("cnn_xsum_6000_1_shot_map_0.json", "xsum-ft-6000.cnndm.p1.1"),
        ("multinli2_multinli_4000_7_shot_map_0.json", "mnli-ft-4000.mnli2.p1.7"),
        ("rte_multinli_20005_3_shot_map_0.json", "mnli-fticl5-2000.rte.p1.3"),
        ("amazonfood_amazon_20004_6_shot_map_0.json", "amazon-fticl4-2000.amazonfood.p1.6"),
        ("xlsum_xsum_20002_2_shot_map_1.json", "xsum-fticl2-2000.xlsum.p2.2"),
    ],
)
def test_known_file_names(name: str, cell: str) -> None:
    assert parse_name(name).name == cell
    assert file_name(Cell.parse(cell)) == name


def test_every_cell_has_a_name_of_its_own_and_back() -> None:
    """All that the paper plots (574 cells) and the whole cross product."""
    assert len(cells()) == 574
    assert set(cells()) <= set(all_cells())
    for base in ("llama-2-7b", "my_model_1_shot"):
        names = [file_name(cell, base) for cell in all_cells()]
        assert len(set(names)) == len(all_cells())
        assert [parse_name(name, base) for name in names] == list(all_cells())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("xsum.json", "its name is not"),
        ("xsum_llama-2-7b_0_shot_map_2.json", "its name is not"),
        ("xsum_llama-2-7b_00_shot_map_0.json", "its name is not"),
        ("snli_llama-2-7b_0_shot_map_0.json", "'snli' is not one of the test sets"),
        ("xsum_llama-2-13b_0_shot_map_0.json", "neither the base 'llama-2-7b'"),
        ("xsum_xsum_2500_0_shot_map_0.json", "the model 'xsum_2500'"),
        ("xsum_xsum_20003_0_shot_map_0.json", "the model 'xsum_20003'"),
        ("xsum_xsum_20000_0_shot_map_0.json", "the model 'xsum_20000'"),
        ("xsum_xsum_2000_3_shot_map_0.json", "tested with"),
    ],
)
def test_names_of_no_cell_are_refused(tmp_path: Path, name: str, told: str) -> None:
    path = put(tmp_path / "in", name, written())
    with pytest.raises(ReproError, match=told) as caught:
        import_results(tmp_path / "in", tmp_path / "out")
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_values_are_those_of_their_metric(tmp_path: Path) -> None:
    source = tmp_path / "in"
    by_name = {
        "amazon_llama-2-7b_2_shot_map_0.json": labelled("amazon"),
        "paws_paws_2000_0_shot_map_0.json": labelled("paws", 1),
        "rte_multinli_6000_3_shot_map_0.json": labelled("rte"),
        "multinli_multinli_2000_3_shot_map_1.json": labelled("multinli"),
        "socialqa_socialqa_20001_1_shot_map_0.json": written(),
    }
    for name, rows in by_name.items():
        put(source, name, rows)
    (source / "res.txt").write_text("0.5")
    run = imported(source, tmp_path / "out")
    found = {result.cell.name: result for result in run.cells.values()}
    assert set(found) == {
        "base.amazon.p1.2",
        "paws-ft-2000.paws.p1.0",
        "mnli-ft-6000.rte.p1.3",
        "mnli-ft-2000.mnli1.p2.3",
        "socialqa-fticl1-2000.socialqa.p1.1",
    }
    for name, rows in by_name.items():
        stem = name.split("_")[0]
        wanted = rouge(rows) if stem == "socialqa" else counted(stem, rows)
        result = found[parse_name(name).name]
        assert result.value == pytest.approx(wanted, abs=1e-12)
        assert (result.n, result.seed) == (ROWS, None)
    # "contradiction" counts among RTE's predictions although no gold has it, and "-" is wrong.
    rte = found["mnli-ft-6000.rte.p1.3"].outcomes
    assert rte is not None
    assert "contradiction" in rte.outputs
    dash = found["mnli-ft-2000.mnli1.p2.3"].outcomes
    assert dash is not None
    assert dash.scores[3::4].tolist() == [0.0] * len(dash.scores[3::4])


_CHOICES = st.lists(st.integers(0, 2), min_size=ROWS, max_size=ROWS)
_TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=_CHOICES, golds=_CHOICES, texts=_TEXTS)
def test_any_answers_come_to_a_plain_recomputation(
    choices: list[int],
    golds: list[int],
    texts: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("any")
    labels = [*LABELS["multinli"], "-"]
    answers = [
        {"output": labels[(gold + i) % 4], "max_idx": choice, "generation": texts[i % len(texts)]}
        for i, (choice, gold) in enumerate(zip(choices, golds, strict=True))
    ]
    prose = [{"output": "a b c", "generation": texts[i % len(texts)]} for i in range(ROWS)]
    put(home / "in", "multinli_llama-2-7b_3_shot_map_0.json", answers)
    put(home / "in", "tweetqa_llama-2-7b_4_shot_map_1.json", prose)
    run = imported(home / "in", home / "out")
    values = {result.cell.name: result.value for result in run.cells.values()}
    assert values["base.mnli1.p1.3"] == pytest.approx(counted("multinli", answers), abs=1e-12)
    assert values["base.tweetqa.p2.4"] == pytest.approx(rouge(prose), abs=1e-9)
    for result in run.cells.values():
        assert result.outcomes is not None
        assert result.outcomes.rows.tolist() == list(range(ROWS))


GOOD = "multinli_llama-2-7b_3_shot_map_0.json"
PROSE = "socialqa_llama-2-7b_1_shot_map_0.json"


def without(rows: list[Row], field: str) -> list[Row]:
    rows[7].pop(field)
    return rows


def changed(rows: list[Row], field: str, value: object) -> list[Row]:
    rows[7][field] = value
    return rows


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        (GOOD, labelled("multinli")[:249], "249 rows"),
        (GOOD, [*labelled("multinli"), *labelled("multinli")], "500 rows"),
        (GOOD, {"rows": []}, "not a list of rows but dict"),
        (GOOD, [*labelled("multinli")[:249], "x"], "row 249 is not an object"),
        (GOOD, without(labelled("multinli"), "max_idx"), "row 7, field 'max_idx' is missing"),
        (GOOD, changed(labelled("multinli"), "max_idx", 3), "'max_idx' is 3, not 0 to 2"),
        (GOOD, changed(labelled("multinli"), "max_idx", -1), "'max_idx' is -1"),
        (GOOD, changed(labelled("multinli"), "max_idx", True), "'max_idx' is True"),
        (GOOD, changed(labelled("multinli"), "max_idx", 1.0), "'max_idx' is 1.0"),
        (GOOD, changed(labelled("multinli"), "max_idx", [1]), r"'max_idx' is \[1\]"),
        (GOOD, without(labelled("multinli"), "output"), "row 7, field 'output' is missing"),
        (GOOD, changed(labelled("multinli"), "output", "yes"), "'output' is 'yes', not one of"),
        (GOOD, changed(labelled("multinli"), "output", None), "'output' is None, not a string"),
        (PROSE, without(written(), "generation"), "row 7, field 'generation' is missing"),
        (PROSE, changed(written(), "generation", 5), "'generation' is 5, not a string"),
        (PROSE, changed(written(), "generation", "\ud83d"), "half of a surrogate pair"),
        (
            "amazon_llama-2-7b_2_shot_map_0.json",
            changed(labelled("amazon"), "output", "-"),
            "'output' is '-'",
        ),
    ],
)
def test_malformed_files_are_named_with_row_and_field(
    tmp_path: Path, name: str, rows: object, told: str
) -> None:
    # A sound file that sorts before it, so that something was already written.
    put(tmp_path / "in", "amazon_amazon_2000_2_shot_map_0.json", labelled("amazon"))
    path = put(tmp_path / "in", name, rows)
    with pytest.raises(ReproError, match=told) as caught:
        import_results(tmp_path / "in", tmp_path / "out")
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 1
    assert [item.name for item in tmp_path.iterdir()] == ["in"], "nothing half-written"


@pytest.mark.parametrize(
    "cut", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: t[:-1], lambda t: "[" * 99_999]
)
def test_a_truncated_file_is_named(tmp_path: Path, cut: Callable[[str], str]) -> None:
    path = put(tmp_path / "in", GOOD, labelled("multinli"))
    path.write_text(cut(path.read_text()))
    with pytest.raises(ReproError, match="not JSON, or cut") as caught:
        import_results(tmp_path / "in", tmp_path / "out")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_rows_of_the_same_test_set_are_not_pooled(tmp_path: Path) -> None:
    put(tmp_path / "in", GOOD, labelled("multinli"))
    other = changed(labelled("multinli"), "instruction", "another data version")
    put(tmp_path / "in", "multinli_multinli_2000_3_shot_map_0.json", other)
    with pytest.raises(ReproError, match="are not those of multinli_llama-2-7b_3") as caught:
        import_results(tmp_path / "in", tmp_path / "out")
    assert "multinli_multinli_2000_3_shot_map_0.json" in str(caught.value)


def test_nothing_to_import_and_a_folder_that_exists(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(ReproError, match="holds no JSON files") as caught:
            import_results(folder, tmp_path / "out")
        assert caught.value.exit_code == 3
    put(tmp_path / "in", GOOD, labelled("multinli"))
    import_results(tmp_path / "in", tmp_path / "out")
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    with pytest.raises(ReproError, match="exists"):
        import_results(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_without_rouge_score_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    put(tmp_path / "labels", GOOD, labelled("multinli"))
    assert import_results(tmp_path / "labels", tmp_path / "out").cells, "labels need no ROUGE"
    put(tmp_path / "in", PROSE, written())
    with pytest.raises(ReproError) as caught:
        import_results(tmp_path / "in", tmp_path / "prose")
    assert caught.value.exit_code == 3
    assert "pip install rouge-score" in caught.value.hint
    assert not (tmp_path / "prose").exists()


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """The cells of Figure 1(d), Paws: base and three fine-tunes."""
    for model in ("llama-2-7b", "paws_2000", "paws_4000", "paws_6000"):
        for shots in (0, 2, 4, 6):
            name = f"paws_{model}_{shots}_shot_map_0.json"
            put(tmp_path / "in", name, labelled("paws", shots // 2))
    return tmp_path / "in"


def test_imported_results_are_held_against_the_paper(grid: Path, tmp_path: Path) -> None:
    imported(grid, tmp_path / "out")
    (verified,) = build(tmp_path / "out", expected=tmp_path).runs
    ran = [number for number in verified.points if number.verdict is not Verdict.NOT_RUN]
    own = [n for n in ran if n.point and (n.point.figure, n.point.panel) == ("1", "d")]
    assert len(own) == 16
    assert {number.level for number in ran} == {Level.L3}
    paper = {(n.point.series, n.point.shots): n.theirs for n in own if n.point}
    assert sorted(v for (_, shots), v in paper.items() if shots == 0 and v)[-1] == 0.932
    tuned = [n for n in ran if n.cell.variant.name != "base"]
    assert all("spread over seeds from the registered prior" in n.reason for n in tuned)
    assert verified.run.name == "llama2-7b / published-code, by the authors' scripts"
    assert verified.exit_code in (1, 3)


def test_the_command_imports_and_verify_reads_it(grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["import-upstream", str(grid), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "16 cells of 4 models" in done.output
    shown = CliRunner().invoke(cli, ["verify", str(out), "--expected", str(tmp_path), "--full"])
    assert shown.exit_code in (1, 3), shown.output
    told = " ".join(shown.output.split())
    for words in ("(L3)", "by the authors' scripts"):
        assert words in told


def test_what_is_unknown_never_counts_as_equal_bits_or_as_a_reference(
    grid: Path, tmp_path: Path
) -> None:
    run, copy = (imported(grid, tmp_path / name) for name in ("a", "b"))
    found = compare_runs(copy, run).numbers
    assert Level.L0 not in {number.level for number in found}
    assert not [n.reason for n in found if n.verdict is Verdict.NOT_REPRODUCED]
    with pytest.raises(ReproError, match="are unknown"):
        record([tmp_path / "a"], tmp_path / "reference")


def test_only_imported_results_may_lack_seeds(grid: Path, tmp_path: Path) -> None:
    imported(grid, tmp_path / "out")
    path = tmp_path / "out" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"origin": None}))
    with pytest.raises(ReproError, match=r"field 'seed' is None|lacks the prediction"):
        read_results(tmp_path / "out")
