import hashlib
import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.data.manifest import Entry, Manifest
from repro.data.upstream import VARIABLE, UpstreamData, check, locate, parse_rows
from repro.errors import ReproError
from repro.files import git_blob_id
from repro.spec.tasks import Part
from repro.studies.paper.tasks import TASKS, task_of

SUMMARY, QUESTION, NLI = TASKS["summary"], TASKS["question"], TASKS["nli"]
TEST, TRAIN = Part("test", "xsum"), Part("train", "xsum", 4000)
ROWS = [{"idx": 4, "input": "A long text.", "output": "Short."}, {"input": "", "output": "None."}]
CONTENT = json.dumps(ROWS).encode()

strings = st.text(st.characters(codec="utf-8"))


def manifest_of(content: bytes) -> Manifest:
    """One file known by size and sha256, and one by its blob id alone."""
    known = Entry(
        TEST,
        "summary/test.json",
        git_blob_id(content),
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    return Manifest(
        "a/b", "c", "data", (known, Entry(TRAIN, "summary/train.json", git_blob_id(content)))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "summary").mkdir()
    for name in ("test", "train"):
        (tmp_path / "summary" / f"{name}.json").write_bytes(CONTENT)
    return tmp_path


@given(st.lists(st.tuples(strings, strings, strings.filter(bool)), min_size=1, max_size=5))
def test_rows_come_back_as_they_were_written(values: list[tuple[str, str, str]]) -> None:
    keys = ("input", "answer", "output")
    tables = [dict(zip(keys, row, strict=True)) for row in values]
    written = [table | {"idx": 7, "other": None} for table in tables]
    for ascii_only in (True, False):
        content = json.dumps(written, ensure_ascii=ascii_only).encode()
        rows = parse_rows(content, QUESTION, "x.json").to_list()
        assert rows == [{"row": number, **table} for number, table in enumerate(tables)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe[]", "not UTF-8 JSON"),
        (b'[{"input": "cut', "not UTF-8 JSON"),
        (b"[" * 100_000, "not UTF-8 JSON"),
        (b"[1" + b"0" * 5000 + b"]", "not UTF-8 JSON"),
        (b"", "not UTF-8 JSON"),
        (b"{}", "not a list of rows"),
        (b"[]", "not a list of rows"),
        (b'[{"input_1": "a", "input_2": "b", "output": "neutral"}, 3]', "row 1 is not an object"),
        (b'[{"input_1": "a", "output": "neutral"}]', "row 0, field 'input_2': missing"),
        (b'[{"input_1": null, "input_2": "", "output": "-"}]', "row 0, field 'input_1': missing"),
        (b'[{"input_1": "a", "input_2": 5, "output": "-"}]', "field 'input_2': not a string but i"),
        (b'[{"input_1": "a", "input_2": "b", "output": ""}]', "row 0, field 'output': empty"),
        (b'[{"input_1": "a", "input_2": "b", "output": "yes"}]', "'yes' is not one of entailment"),
        (b'[{"input_1": "\\ud800", "input_2": "b", "output": "-"}]', "field 'input_1': half of a"),
    ],
)
def test_malformed_content_names_file_row_and_field(content: bytes, message: str) -> None:
    with pytest.raises(ReproError) as caught:
        parse_rows(content, NLI, "folder/file.json")
    assert str(caught.value).startswith("folder/file.json: ")
    assert message in str(caught.value)
    assert caught.value.exit_code == 3
    assert "repro data fetch" in caught.value.hint


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["yes", "no", "-"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["input_1", "input_2", "output", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=40) | json_values.map(json.dumps).map(str.encode))
def test_any_content_is_rows_or_a_message(content: bytes) -> None:
    try:
        rows = parse_rows(content, TASKS["paraphrase"], "x.json")
    except ReproError:
        return
    assert all(row["output"] in ("yes", "no", "-") for row in rows.to_list())


def test_verified_files_are_read(folder: Path) -> None:
    source = UpstreamData(folder, manifest=manifest_of(CONTENT))
    for part in (TEST, TRAIN):
        assert source.rows(part, task_of(part)).to_list() == [
            {"row": 0, "input": "A long text.", "output": "Short."},
            {"row": 1, "input": "", "output": "None."},
        ]
    assert source.missing([TEST, TRAIN]) == []


@pytest.mark.parametrize(("part", "name"), [(TEST, "test"), (TRAIN, "train")])
def test_changed_file_is_never_used(folder: Path, part: Part, name: str) -> None:
    path = folder / "summary" / f"{name}.json"
    path.write_bytes(CONTENT.replace(b"Short", b"Shout"))  # valid rows of the same size
    source = UpstreamData(folder, manifest=manifest_of(CONTENT))
    with pytest.raises(ReproError) as caught:
        source.rows(part, task_of(part))
    (problem,) = source.missing([TEST, TRAIN])
    for error in (caught.value, problem):
        assert error.exit_code == 3
        assert str(path) in str(error)
        assert "expected" in str(error)
        assert "found" in str(error)
        assert f"repro data fetch --data-dir {shlex.quote(str(folder))}" in error.hint


def test_absent_files_are_named_with_the_command_that_gets_them(tmp_path: Path) -> None:
    folder = tmp_path / "with blank"
    problems = check(folder, manifest=manifest_of(CONTENT))
    assert [str(problem).split(":")[0] for problem in problems] == [str(TEST), str(TRAIN)]
    assert all(f"--data-dir '{folder}'" in problem.hint for problem in problems)
    assert len(check(folder, [TEST, TEST], manifest=manifest_of(CONTENT))) == 1


def test_unreadable_file_is_a_message(folder: Path) -> None:
    (folder / "summary" / "test.json").unlink()
    (folder / "summary" / "test.json").mkdir()
    (problem,) = check(folder, manifest=manifest_of(CONTENT))
    assert "cannot be read" in str(problem)


def test_location_is_option_then_variable_then_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert locate(tmp_path / "option") == tmp_path / "option"
    assert locate() == tmp_path / "variable"
    monkeypatch.setenv(VARIABLE, "")
    commit = "f3718fc8ebbef352441ace9c0b74fe316e9cd349"
    assert locate() == tmp_path / "cache" / "repro" / "upstream" / commit
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert locate() == tmp_path / "home" / ".cache" / "repro" / "upstream" / commit


def test_authors_files_are_those_of_the_manifest(upstream: UpstreamData) -> None:
    unknown = {Part("train", "xsum", 4000), Part("train", "xsum", 6000)}
    known = [entry for entry in upstream.manifest.files if entry.part not in unknown]
    assert upstream.missing(entry.part for entry in known) == []
    for entry in known:
        content = (upstream.folder / entry.path).read_bytes()
        assert git_blob_id(content) == entry.blob  # the sha256 is what `missing` looked at
        assert len(upstream.rows(entry.part, task_of(entry.part))) == entry.rows


@pytest.mark.parametrize(
    ("part", "counts"),
    [  # AUDIT D2
        (Part("train", "paws", 6000), {"no": 3369, "yes": 2617}),
        (Part("train", "amazon", 6000), {"negative": 3010, "positive": 2989}),
        (
            Part("train", "mnli", 2000),
            {"contradiction": 659, "entailment": 678, "neutral": 663},
        ),
        (
            Part("test", "mnli2"),
            {"-": 16, "contradiction": 167, "entailment": 170, "neutral": 147},
        ),
        (Part("test", "stsb"), {"no": 313, "yes": 187}),
        (Part("demonstrations", "rte"), {"entailment": 4, "neutral": 4}),
    ],
    ids=str,
)
def test_authors_labels_are_counted_as_audited(
    upstream: UpstreamData, part: Part, counts: dict[str, int]
) -> None:
    outputs = list(upstream.rows(part, task_of(part))["output"])
    assert {label: outputs.count(label) for label in sorted(set(outputs))} == counts


@pytest.mark.parametrize("name", ["socialqa", "amazon", "mnli"])
def test_authors_smaller_sets_begin_the_larger(upstream: UpstreamData, name: str) -> None:
    sizes = [
        upstream.rows(Part("train", name, size), task_of(Part("train", name, size))).to_list()
        for size in (2000, 4000, 6000)
    ]
    assert sizes[0] == sizes[1][:2000]
    assert sizes[1] == sizes[2][:4000]
