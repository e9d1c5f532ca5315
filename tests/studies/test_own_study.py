"""Studies of a user's own: the documented example runs, and mistakes are named."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from repro import studies
from repro.cli.main import cli
from repro.errors import ReproError
from repro.report.model import report
from repro.spec.cells import Cell
from repro.verify.claimverdicts import Answer
from repro.verify.verification import build

DOC = Path(__file__).parents[2] / "docs" / "add-a-study.md"
BLOCKS = dict(re.findall(r"```\w+ (\S+)\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL))
STUDY = "reviews.toml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documented example's files."""
    made = tmp_path_factory.mktemp("study")
    for name, text in BLOCKS.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


def run(folder: Path, *words: str, study: str = STUDY) -> Path:
    out = folder / "out"
    where = ["--out", str(out), "--store", str(folder / "store")]
    cli.main(["run", "--study", str(folder / study), *where, *words], standalone_mode=False)
    return out


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    return run(folder)


def test_the_documented_example_is_short() -> None:
    assert set(BLOCKS) == {STUDY, "short.jsonl", "long.jsonl", "shown.jsonl"}
    assert sum(len(text.splitlines()) for text in BLOCKS.values()) <= 60


def test_the_documented_example_runs_to_its_end(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "results.jsonl").read_text().splitlines()]
    table = tomllib.loads(BLOCKS[STUDY])["cells"][0]
    wanted = {
        f"{variant}.{dataset}.plain.{shots}"
        for variant in table["variants"]
        for dataset in table["datasets"]
        for shots in table["shots"]
    }
    assert {line["cell"] for line in lines} == wanted
    for line in lines:
        rows = BLOCKS[f"{line['dataset']}.jsonl"].splitlines()
        samples = (finished / line["samples"]).read_text().splitlines()
        assert [json.loads(s)["gold"] for s in samples] == [json.loads(r)["output"] for r in rows]
        assert line["metric"] == "accuracy"
        assert set(line["histogram"]) == {"positive", "negative"}
    texts = [json.loads(line) for line in (finished / "prompts.jsonl").read_text().splitlines()]
    shown = "text : a nice book .\nverdict :positive\n\ntext : an ugly box .\nverdict :negative\n\n"
    assert {line["text"] for line in texts if line.get("shots") == 2} == {shown}
    tuned = [json.loads(line) for line in (finished / "finetunes.jsonl").read_text().splitlines()]
    assert {(t["variant"], t["samples"], t["recipe"]["epochs"]) for t in tuned} == {
        ("short-ft-8", 8, 2),
        ("short-fticl2-8-epochs=4", 8, 4),
    }


def test_its_contrasts_are_judged_with_intervals(finished: Path) -> None:
    (verified,) = build(finished).runs
    (claim,) = verified.claims
    assert claim.claim.finding == tomllib.loads(BLOCKS[STUDY])["claims"]["R1"]["finding"]
    assert claim.verdict is not Answer.NOT_RUN
    (contrast,) = claim.contrasts
    assert len(contrast.pairs) == contrast.expected == 2
    values = {
        (line["variant"], line["dataset"], line["shots"]): line["value"]
        for line in map(json.loads, (finished / "results.jsonl").read_text().splitlines())
    }
    base = values["base", "long", 0]
    for effect, variant in zip(
        contrast.pairs, ("short-ft-8", "short-fticl2-8-epochs=4"), strict=True
    ):
        assert effect.effect == pytest.approx(values[variant, "long", 0] - base)
        assert effect.interval is not None
        assert effect.interval.low <= effect.effect <= effect.interval.high
    assert not verified.points, "nothing is held against the paper"


def test_it_is_reported_in_every_form(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cli.main(["report", str(finished), "-o", str(tmp_path / "report")], standalone_mode=False)
    names = {path.name for path in (tmp_path / "report").rglob("*.*")}
    assert {"report.html", "report.md", "report.json", "figure1.svg"} <= names
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert tomllib.loads(BLOCKS[STUDY])["question"] in html
    assert "Llama-2-7b" not in html
    assert "of the study</caption>" in html
    assert "s effect</th>" not in html, "nothing of it was published"
    (one,) = report(finished).runs
    assert [panel.title for panel in one.panels] == ["(a) short", "(b) long"]


def test_claims_can_be_written_after_the_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BLOCKS[STUDY].replace('direction = "greater"', 'direction = "less"')
    text = text.replace("are above the base", "are below the base")
    path = tmp_path / "later.toml"
    path.write_text(text, encoding="utf-8")
    words = ["verify", str(finished), "--expected", str(tmp_path)]
    for more, said in ([], "above the base"), (["--study", str(path)], "below the base"):
        cli.main([*words, "--full", *more], standalone_mode=False)
        assert said in " ".join(capsys.readouterr().out.split())


def test_another_prompt_is_computed_again_and_the_rest_is_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text.replace("verdict :", "reply :"), encoding="utf-8")
    (tmp_path / "store").symlink_to(folder / "store")
    run(folder)
    before = len(list((folder / "store" / "cell").iterdir()))
    run(tmp_path, "--variants", "base")
    cells = len(list((folder / "store" / "cell").iterdir()))
    assert cells == before + 4, "all four cells of the base, none of which could be reused"


def test_settings_of_its_own_variants_are_its_own_models(folder: Path, tmp_path: Path) -> None:
    """A checkpoint, a row filter, a target format and another prompt for training."""
    names = [
        "short-ft-8-checkpoint=1",
        "short-ft-8-rows=good",
        "short-ft-8-target=dotted",
        "short-ft-8-prompt=asked",
    ]
    text = BLOCKS[STUDY].replace('"short-fticl2-8-epochs=4"', ", ".join(f'"{n}"' for n in names))
    text = text.replace('models = ["ft", "fticl"]', 'models = ["ft"]')
    text = text.replace("shots = [0, 2]", 'shots = [0, "1-random3", "2-of=long"]')
    text = text.replace('test = "long.jsonl"\ndemonstrations = "shown.jsonl"',
                        'test = "long.jsonl"\ndemonstrations = "short.jsonl"')  # fmt: skip
    text += '\n[filters.good]\nfield = "output"\nvalues = ["positive"]\n'
    text += '\n[targets]\ndotted = "{output} ."\n[prompts.asked]\ntone = "{text} good or bad ?"\n'
    for name, block in BLOCKS.items():
        (tmp_path / name).write_text(text if name == STUDY else block, encoding="utf-8")
    out = run(tmp_path, "--tests", "short")
    tuned = {
        line["variant"]: line
        for line in map(json.loads, (out / "finetunes.jsonl").read_text().splitlines())
    }
    plain = tuned["short-ft-8"]
    assert len({line["key"] for line in tuned.values()}) == 5
    assert (plain["steps"], plain["samples"]) == (2, 8)
    assert tuned[names[0]]["steps"] == 1
    assert tuned[names[0]]["losses"] == plain["losses"][:1]
    assert (tuned[names[1]]["samples"], tuned[names[1]]["dropped"]) == (4, {"rows": 4})
    assert tuned[names[2]]["label_tokens"] == plain["label_tokens"] + 8
    assert tuned[names[2]]["target_bits"] == 1, "four of each label"
    assert "target_bits" not in plain
    assert tuned[names[3]]["input_tokens"] != plain["input_tokens"]
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {line["cell"].rsplit(".", 1)[-1] for line in lines} == {"0", "1-random3", "2-of=long"}


def test_text_is_generated_where_a_task_has_no_labels(tmp_path: Path) -> None:
    text = BLOCKS[STUDY].replace('labels = ["positive", "negative"]', "")
    for name, block in BLOCKS.items():
        (tmp_path / name).write_text(text if name == STUDY else block, encoding="utf-8")
    out = run(tmp_path, "--variants", "base")
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {line["metric"] for line in lines} == {"rougeL"}


def test_the_papers_sets_and_a_third_prompt(tmp_path: Path) -> None:
    """A number of shots, a prompt and a size that the paper does not have, on its data."""
    (tmp_path / "more.toml").write_text(
        """
question = "Eight shots, a third prompt, and 64 rows?"
extends = "paper"
[prompts.p3]
sentiment = "{input}\\nSentiment:"
[[cells]]
variants = ["base", "amazon-ft-64"]
datasets = ["amazon"]
prompts = ["p1", "p3"]
shots = [2, 8]
""",
        encoding="utf-8",
    )
    out = run(tmp_path, "--rows", "4", study="more.toml")
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert {(line["prompt"], line["shots"], line["n"]) for line in lines} == {
        (prompt, shots, 4) for prompt in ("p1", "p3") for shots in (2, 8)
    }
    (verified,) = build(out).runs
    assert verified.run.study.name == "more"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("question =", "qestion =", r"unknown field 'qestion'"),
        ('fields = ["text"]', "fields = []",
         r"'tasks\.tone\.fields' is \[\]: List should have at least 1"),
        ("{text}", "{txt}", r"prompts\.plain\.tone: .* must have \{text\}"),
        ('task = "tone"\ntest = "short', 'task = "tune"\ntest = "short',
         r"datasets\.short: there is no task 'tune', only tone"),
        ('"short-ft-8"', '"short-ft"', r"cells\[0\]\.variants\[1\]: 'short-ft' is not a model"),
        ('"short-ft-8"', '"long-ft-8"', r"cells\[0\]: the study has no training set 'long'"),
        ('datasets = ["short", "long"]', 'datasets = ["shrt"]',
         r"cells\[0\]\.datasets: there is no dataset 'shrt'"),
        ('direction = "greater"', 'direction = "up"',
         r"'claims\.R1\.contrasts\[0\]\.direction' is 'up': Input should be 'greater'"),
        ('models = ["base"]', 'models = ["bse"]', r"contrasts\[0\]: no model 'bse'"),
        ('shots = "0" }', 'shots = "most" , datasets = ["short"] }',
         r"contrasts\[0\]: no two of the cells"),
        ('shots = "0" }', 'shots = "0", datasets = ["lng"] }', r"contrasts\[0\]: no dataset 'lng'"),
        ('shots = "0" }', 'shots = "0", prompts = ["p9"] }', r"contrasts\[0\]: no prompt 'p9'"),
        ('direction = "greater"', 'direction = "greater"\nkind = "change"',
         r"contrasts\[0\]: a change needs 'right', and cells in 'than'"),
        ('direction = "greater"', 'direction = "greater"\nkind = "gain"\nthan = [["9z"]]',
         r"contrasts\[0\]: a gain needs 'right', and cells in 'than'"),
        ('test = "short.jsonl"', 'test = ["short.jsonl", "long.jsonl"]',
         r"field 'datasets\.short\.test' is \['short"),
        ("{text}", "{text:d}", r"a field is its name alone"),
        ("shots = [0, 2]", "shots = [0, -2]", r"cells\[0\]\.shots: '-2' is not a number"),
        ("[datasets.long]", "[datasets.lo-ng]", r"datasets\.lo-ng: 'lo-ng' cannot name"),
        ('test = "long.jsonl"', 'test = { repo = "a/b", revision = "main", split = "test" }',
         r"'datasets\.long\.test\.revision' is 'main': String should match"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_and_field(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in BLOCKS[STUDY]
    path = tmp_path / "wrong.toml"
    path.write_text(BLOCKS[STUDY].replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ReproError, match=said) as caught:
        studies.load(str(path))
    assert str(caught.value).startswith(str(path))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "text", "code", "said"),
    [
        ("long.jsonl", None, 3, r"test/long: .*long\.jsonl is not there"),
        ("long.jsonl", "{", 2, r"long\.jsonl, line 1: not JSON"),
        ("long.jsonl", '{"text": "a", "output": "maybe"}', 3, r"row 0, field 'output': 'maybe'"),
        ("long.jsonl", '{"output": "positive"}', 3, r"row 0, field 'text': missing"),
        ("short.jsonl", '{"text": "a lamp .", "output": "positive"}', 2, "1 row, fewer than 8"),
    ],
)
def test_wrong_rows_are_named_with_file_and_line(
    tmp_path: Path, name: str, text: str | None, code: int, said: str
) -> None:
    for own, block in BLOCKS.items():
        if own != name or text is not None:
            content = text if own == name and text is not None else block
            (tmp_path / own).write_text(content, encoding="utf-8")
    with pytest.raises(ReproError, match=said) as caught:
        run(tmp_path)
    assert caught.value.exit_code == code


def test_braces_and_tasks_stand_for_names_written_out(tmp_path: Path) -> None:
    long = (
        BLOCKS[STUDY]
        .replace(
            '"short-fticl2-8-epochs=4"', '"short-fticl1-8", "short-fticl2-4", "short-fticl2-8"'
        )
        .replace('"short-ft-8"', '"short-fticl1-4"')
    )
    short = (
        BLOCKS[STUDY]
        .replace('"short-ft-8", "short-fticl2-8-epochs=4"', '"short-fticl{1,2}-{4, 8}"')
        .replace('datasets = ["short", "long"]', 'datasets = ["tone"]')
    )
    cells = []
    for name, text in (("long.toml", long), ("short.toml", short)):
        text = text.replace('models = ["ft", "fticl"]', 'models = ["short-fticl{1,2}-8"]')
        (tmp_path / name).write_text(text, encoding="utf-8")
        study = studies.load(str(tmp_path / name))
        cells.append((study.cells(), study.pairs(study.claims["R1"].contrasts[0])))
        assert study.tasks["tone"].shots == (0, 2)
    assert set(cells[0][0]) == set(cells[1][0])
    assert len(cells[0][0]) == 20
    assert {p.name for p in cells[0][1]} == {p.name for p in cells[1][1]}
    assert len(cells[0][1]) == 2


def test_a_missing_or_broken_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="cannot be read") as caught:
        studies.load(str(tmp_path / "none.toml"))
    assert caught.value.exit_code == 3
    (tmp_path / "bad.toml").write_text("[tasks", encoding="utf-8")
    with pytest.raises(ReproError, match="not TOML"):
        studies.load(str(tmp_path / "bad.toml"))
    with pytest.raises(ReproError, match="unknown study 'papr'"):
        studies.load("papr")


def test_rows_of_the_hub_come_at_their_revision_under_the_tasks_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: list[object] = []

    def load(repo: str, config: str | None, *, revision: str, split: str) -> object:
        asked.append((repo, config, revision, split))
        return datasets.Dataset.from_list([{"sentence": "fine", "label": 1, "idx": 7}])

    monkeypatch.setattr("repro.data.own.datasets.load_dataset", load)
    from repro.data.embedded import EmbeddedData
    from repro.data.own import OwnData
    from repro.spec.tasks import Part

    place = (
        f'{{ repo = "a/b", revision = "{"0" * 40}", split = "validation", '
        'columns = { text = "sentence", output = "label" }, '
        'labels = { 1 = "positive", 0 = "negative" } }'
    )
    path = tmp_path / "hub.toml"
    path.write_text(BLOCKS[STUDY].replace('"long.jsonl"', place), encoding="utf-8")
    study = studies.load(str(path))
    source = OwnData(study, EmbeddedData())
    rows = source.rows(Part("test", "long"), study.tasks["tone"]).to_list()
    assert rows == [{"row": 0, "text": "fine", "output": "positive"}]
    assert asked == [("a/b", None, "0" * 40, "validation")]


def test_cells_beyond_the_study_can_be_asked_for(select: Callable[..., list[str]]) -> None:
    assert select("xsum-ft-10000.xlsum.p1.2") == ["xsum-ft-10000.xlsum.p1.2"]
    assert select("base.amazon.p1.*") == [f"base.amazon.p1.{shots}" for shots in (0, 2, 4, 6)]
    with pytest.raises(ReproError, match="no prompt format 'p3'"):
        select("base.amazon.p3.0")


@pytest.fixture
def select() -> Callable[..., list[str]]:
    from repro.plan.select import select

    def names(*cells: str) -> list[str]:
        found: tuple[Cell, ...] = select(studies.load("paper"), cells=cells)
        return [cell.name for cell in found]

    return names
