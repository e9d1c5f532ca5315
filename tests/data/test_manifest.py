import json
import os
from dataclasses import asdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.data.manifest import Entry, authors_manifest, parse_manifest, parse_part
from repro.data.source import features
from repro.errors import ReproError
from repro.files import git_blob_id
from repro.spec.tasks import Part, Task
from repro.studies.paper.tasks import DATASETS, SIZES, TASKS, TRAIN_SETS

BLOB = "0" * 40


@pytest.mark.parametrize(
    ("content", "printed_by_git"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),
        (b"hello world\n", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"),
    ],
)
def test_blob_id_is_git_s(content: bytes, printed_by_git: str) -> None:
    assert git_blob_id(content) == printed_by_git


def test_authors_manifest_has_exactly_the_parts_of_the_paper() -> None:
    wanted = {f"{split}/{name}" for split, name in product(("test", "demonstrations"), DATASETS)}
    wanted |= {f"train/{name}/{size}" for name, size in product(TRAIN_SETS, SIZES)}
    entries = authors_manifest().files
    assert {str(entry.part) for entry in entries} == wanted
    assert len(entries) == len(wanted)


def test_only_two_files_are_known_by_blob_id_alone() -> None:
    bare = {str(e.part) for e in authors_manifest().files if e.sha256 is None or e.size is None}
    assert bare == {"train/xsum/4000", "train/xsum/6000"}


def test_files_lie_where_the_authors_put_them() -> None:
    paths = {str(entry.part): entry.path for entry in authors_manifest().files}
    assert paths["train/mnli/6000"] == "inference/multinli_train_6000.json"
    assert paths["test/mnli1"] == "inference/multinli_test_500.json"
    assert paths["test/mnli2"] == "inference/multinli2_test_500.json"
    assert paths["demonstrations/peerread"] == "summary/few_shot/pdfs_few_shot.json"
    assert paths["test/cnndm"] == "summary/cnn_test_500.json"
    assert paths["test/stsb"] == "detection/stsb_test_500.json"


def text_of(**changes: object) -> str:
    file = {"part": "test/xsum", "path": "a/b.json", "blob": BLOB} | changes
    return json.dumps({"repository": "a/b", "commit": "c", "folder": "d", "files": [file]})


@pytest.mark.parametrize(
    "path",
    ["../x.json", "/etc/passwd", "a/../../x", "a\\..\\x", "C:/x", "", "a//b", "./a", "~/x", "a/",
     "a/%2e%2e/x", "x.json\n", "a/..", "a\0b", ".ssh/x", "http://host/x"],
)  # fmt: skip
def test_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leave the data folder"):
        parse_manifest(text_of(path=path))


@given(st.text(alphabet="ab./\\~:%\n ", max_size=12))
def test_accepted_paths_stay_inside(path: str) -> None:
    try:
        Entry(Part("test", "xsum"), path, BLOB)
    except ValueError:
        return
    inside = os.path.normpath(os.path.join("/data/folder", path))
    assert inside.startswith("/data/folder/")
    assert inside.endswith(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blob": "xyz"}, r"files.0.blob\s.*not 40 hex digits"),
        ({"sha256": BLOB}, r"files.0.sha256\s.*not 64 hex digits"),
        ({"size": -1}, r"files.0.size\s.*greater than or equal to 0"),
        ({"part": "train/xsum/many"}, r"files.0.part\s.*'many'"),
        ({"part": "spare/xsum"}, "no such split"),
        ({"part": "train/xsum"}, "cannot have size 0"),
        ({"part": "test/xsum/2000"}, "cannot have size 2000"),
        ({"colour": "red"}, "colour"),
        ({"part": 7}, r"files.0.part\s.*an object"),
    ],
)
def test_malformed_manifest_names_what_is_wrong(changes: dict[str, object], message: str) -> None:
    assert parse_manifest(text_of()).files
    with pytest.raises(ValueError, match=message):
        parse_manifest(text_of(**changes))


def test_path_or_part_given_twice_is_refused() -> None:
    tables = json.loads(text_of())
    tables["files"] *= 2
    with pytest.raises(ValueError, match="twice"):
        parse_manifest(json.dumps(tables))


def test_part_that_was_never_published_gets_the_published_ones() -> None:
    with pytest.raises(ReproError) as caught:
        authors_manifest().entry(Part("train", "xsum", 3000))
    assert caught.value.exit_code == 3
    assert "train/xsum/2000" in caught.value.hint


@given(st.sampled_from(authors_manifest().files))
def test_parts_are_read_back_from_their_names(entry: Entry) -> None:
    assert parse_part(str(entry.part)) == entry.part


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_schema_has_row_number_inputs_and_output(task: Task) -> None:
    schema = {name: value.dtype for name, value in features(task).items()}
    texts = dict.fromkeys((*task.fields, "output"), "string")
    assert schema == {"row": "int64"} | texts


def test_mismatch_names_both_hashes_and_sizes() -> None:
    good = next(e for e in authors_manifest().files if str(e.part) == "test/xsum")
    wrong = good.mismatch(b"test content\n")
    assert good.sha256 in wrong
    # printf 'test content\n' | sha256sum
    assert "a1fff0ffefb9eace7230c24e50731f0a91c62f9cefdfe77121c2f607125dffae" in wrong
    assert "13 bytes, not 886,223" in wrong
    bare = Entry(**{**asdict(good), "part": good.part, "sha256": None, "size": None})
    assert "d670460b4b4aece5915caf5c68d12f560a9fe3e4" in bare.mismatch(b"test content\n")
