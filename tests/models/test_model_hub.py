"""Downloads, against a stand-in hub on this machine."""

import hashlib
import json
import logging
import os

import pytest

from repro.errors import EXIT_MISSING, ReproError
from repro.models.load import load
from repro.models.sources import materialise, require
from repro.models.spec import ModelSpec

REPO = "somebody/tiny-llama"
REVISION = "0123456789abcdef0123456789abcdef01234567"  # the stand-in's


@pytest.fixture
def published(hub, tmp_path, write_model):
    """A repository with a model in several shards, pickles and code beside it."""
    folder = tmp_path / "published"
    write_model(folder, shards=True)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {
        "pytorch_model.bin": b"\x80\x04pickle",
        "modeling_tiny.py": b"raise SystemExit",
        "original/model.safetensors": b"something else",
    }
    hub.files[REPO] = files
    return hub


def spec_of(repo=REPO, revision=REVISION, **fields):
    table = {"kind": "hub", "repo": repo, "revision": revision, **fields}
    return ModelSpec.from_table(table, "mine.toml")


def fails(spec, folder):
    with pytest.raises(ReproError) as caught:
        materialise(spec, folder)
    assert caught.value.exit_code == EXIT_MISSING
    assert not list(folder.iterdir()), "something was left that nobody checked"
    return f"{caught.value} | {caught.value.hint}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def shard_names(hub):
    return sorted(n for n in hub.files[REPO] if n.startswith("model-0"))


def test_download_takes_weights_config_tokenizer_and_nothing_else(published, folder):
    facts = materialise(spec_of(), folder)
    got = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused = {"pytorch_model.bin", "modeling_tiny.py", "original/model.safetensors"}
    wanted = {n: c for n, c in published.files[REPO].items() if n not in refused}
    assert got == wanted
    assert len(shard_names(published)) > 1
    assert facts["sha256"] == {n: hashlib.sha256(c).hexdigest() for n, c in wanted.items()}
    assert facts["origin"]["revision"] == REVISION
    asked = {path.rpartition("/")[2] for _, path, _ in published.asked}
    assert not asked & {"pytorch_model.bin", "modeling_tiny.py"}
    model, tokenizer = load(folder)
    assert tokenizer("the cat")["input_ids"][0] == 1
    assert model.num_parameters() > 0


def test_pinned_files_are_recorded_as_pinned(published, folder):
    name = shard_names(published)[0]
    digest = hashlib.sha256(published.files[REPO][name]).hexdigest()
    checked = materialise(spec_of(sha256={name: digest}), folder)["origin"]["checked"]
    assert checked[name] == "pinned"
    assert checked["config.json"] == "listed"


@pytest.mark.parametrize("which", ["shard", "config.json"])
def test_wrong_bytes_are_named_and_never_used(published, folder, which):
    name = shard_names(published)[1] if which == "shard" else which
    published.corrupt.add(name)
    message = fails(spec_of(), folder)
    assert f"{name} does not match its hash: expected" in message
    assert f"hf download {REPO} {name} --revision {REVISION} --force-download" in message


def test_a_pin_that_differs_from_the_listing_stops_before_the_download(published, folder):
    name = shard_names(published)[0]
    message = fails(spec_of(sha256={name: "0" * 64}), folder)
    assert f"{name} does not match its hash: expected sha256 {'0' * 64}" in message
    assert [method for method, _, _ in published.asked if method != "HEAD"] == ["GET"]


def test_shard_missing_from_the_repository(published, folder):
    name = shard_names(published)[1]
    del published.files[REPO][name]
    assert f"{name} is missing, model.safetensors.index.json lists it" in fails(spec_of(), folder)


def test_pinned_shard_missing_from_the_repository(published, folder):
    message = fails(spec_of(sha256={"model-00009-of-00009.safetensors": "0" * 64}), folder)
    assert "model-00009-of-00009.safetensors is missing from the repository" in message


def test_file_that_is_listed_but_gone(published, folder):
    published.gone.add("config.json")
    message = fails(spec_of(), folder)
    assert REPO in message
    assert "HTTP 404" in message


def test_only_pickles(published, folder):
    published.files[REPO] = {
        n: c for n, c in published.files[REPO].items() if not n.endswith(".safetensors")
    }
    assert "only pickled weights" in fails(spec_of(), folder)


def test_unknown_repository_and_revision(published, folder):
    assert "somebody/nothing is not on the hub" in fails(spec_of("somebody/nothing"), folder)
    other = "f" * 40
    assert f"{REPO} has no revision {other}" in fails(spec_of(revision=other), folder)


def test_gated_repository_names_licence_page_and_ungated_copy(published, folder):
    table = {"kind": "hub", "repo": "meta-llama/Llama-2-7b-hf"}
    spec = ModelSpec.from_table(table, "llama2-7b.toml")
    published.files[spec.repo] = {}
    published.gated.add(spec.repo)
    message = fails(spec, folder)
    assert "https://huggingface.co/meta-llama/Llama-2-7b-hf" in message
    assert "--model repo=NousResearch/Llama-2-7b-hf" in message
    with pytest.raises(ReproError, match="gated"):
        require(spec)


def test_token_opens_a_gated_repository_and_is_never_shown(
    published, folder, monkeypatch, capfd, caplog
):
    caplog.set_level(logging.DEBUG)
    published.gated.add(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_notAccepted")
    assert "HTTP 403" in fails(spec_of(), folder)
    monkeypatch.setenv("HF_TOKEN", published.token)
    facts = materialise(spec_of(), folder)
    assert (
        "GET",
        f"/api/models/{REPO}/tree/{REVISION}",
        f"Bearer {published.token}",
    ) in published.asked
    shown = "".join(capfd.readouterr()) + caplog.text + json.dumps(facts)
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    for token in (published.token, "hf_notAccepted"):
        assert token not in shown
        assert token.encode() not in written


def test_server_error(published, folder):
    published.status = 400
    assert "the hub answered HTTP 400" in fails(spec_of(), folder)


def test_offline_without_a_copy(published, folder, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    message = fails(spec_of(), folder)
    assert "cannot be reached" in message
    assert 'kind = "folder"' in message


def test_pinned_weights_in_the_cache_serve_offline_and_unpinned_ones_do_not(
    published, folder, tmp_path, monkeypatch
):
    pins = {n: hashlib.sha256(published.files[REPO][n]).hexdigest() for n in shard_names(published)}
    materialise(spec_of(sha256=pins), folder)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "again").mkdir()
    (tmp_path / "third").mkdir()
    materialise(spec_of(sha256=pins), tmp_path / "again")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }
    assert "without a pinned hash" in fails(spec_of(), tmp_path / "third")


def test_reaching_asks_once_and_downloads_no_weights(published):
    assert REPO in require(spec_of())
    assert [method for method, _, _ in published.asked] == ["HEAD"]


def test_progress_shows_the_bytes(published, folder):
    from rich.progress import Progress

    with Progress(disable=True) as progress:
        materialise(spec_of(), folder, progress=progress)
    shown = max(task.completed for task in progress.tasks)
    assert shown == sum(path.stat().st_size for path in folder.iterdir())


@pytest.fixture
def fresh_client():
    """The hub's client reads its environment when it is made."""
    from huggingface_hub.utils import close_session

    close_session()
    yield
    close_session()


@pytest.mark.usefixtures("published", "fresh_client")
@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "socks4://secret@127.0.0.1:1"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_named(folder, monkeypatch, name, value):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(name, value)
    message = fails(spec_of(), folder)
    assert name in message
    assert "secret" not in message
    with pytest.raises(ReproError, match=name):
        require(spec_of())


@pytest.mark.usefixtures("published", "fresh_client")
def test_a_token_with_a_letter_that_no_token_has_is_named_and_not_shown(folder, monkeypatch):
    # As the system tells it in an ASCII locale: its two bytes.
    monkeypatch.setenv("HF_TOKEN", os.fsdecode("hf_sécret".encode()))
    message = fails(spec_of(), folder)
    assert "HF_TOKEN holds a character that no token has" in message
    assert "cret" not in message


@pytest.mark.parametrize("which", ["shard", "config.json"])
def test_a_download_that_ends_early_is_fetched_again(published, folder, which):
    name = shard_names(published)[0] if which == "shard" else which
    published.short.add(name)
    materialise(spec_of(), folder)
    assert not published.short
    assert (folder / name).read_bytes() == published.files[REPO][name]
