"""A tiny tokenizer and model on disk, and a stand-in for the hub on this machine."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

WORDS = ["<unk>", "<s>", "</s>", "the", "cat", "dog", "sat", "ran", "on", "mat", "big", "small"]
SIZES = {
    "layers": 2,
    "hidden": 32,
    "intermediate": 48,
    "heads": 4,
    "kv_heads": 2,
    "vocabulary": 16,
    "context": 64,
}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A word-level tokenizer that puts <s> first."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    outer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    outer.save_pretrained(folder)
    return folder


def _write_model(folder: Path, tokenizer: Path, *, seed: int = 0, dtype="float32", shards=False):
    """A model folder made with transformers alone."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=SIZES["vocabulary"],
        hidden_size=SIZES["hidden"],
        intermediate_size=SIZES["intermediate"],
        num_hidden_layers=SIZES["layers"],
        num_attention_heads=SIZES["heads"],
        num_key_value_heads=SIZES["kv_heads"],
        max_position_embeddings=SIZES["context"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size="16KB" if shards else "1GB")
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return model


@pytest.fixture
def sizes():
    """The [model] architecture of the tiny model."""
    return dict(SIZES)


@pytest.fixture
def write_model(tokenizer_folder):
    """Writes a tiny model into a folder and returns it: write_model(folder, seed=, dtype=, ...)."""
    return lambda folder, **options: _write_model(folder, tokenizer_folder, **options)


@pytest.fixture
def model_folder(tmp_path, write_model):
    folder = tmp_path / "model"
    write_model(folder)
    return folder


REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secretOfThisTest"


@dataclass
class StandIn:
    """What the stand-in hub serves and how it misbehaves.

    Attributes:
        revision: the one commit of every repository.
        token: what opens gated repositories.
        files: by repository, then by name: contents.
        corrupt: names served with other bytes of the same length.
        short: names whose first download ends early, though the header says their whole length.
        gone: names that are listed, but answer 404.
        gated: repositories that want the token.
        status: answer everything with this instead.
        asked: (method, path, authorization) of every request.
    """

    url: str = ""
    revision: str = REVISION
    token: str = TOKEN
    files: dict = field(default_factory=dict)
    corrupt: set = field(default_factory=set)
    short: set = field(default_factory=set)
    gone: set = field(default_factory=set)
    gated: set = field(default_factory=set)
    status: int = 0
    asked: list = field(default_factory=list)


def _handler(hub: StandIn):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _answer(self, status, body=b"", **headers):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            token = self.headers.get("Authorization")
            hub.asked.append((self.command, path, token))
            if hub.status:
                return self._answer(hub.status)
            parts = path.removeprefix("/api/models").strip("/").split("/")
            repo, action, rest = "/".join(parts[:2]), parts[2], parts[3:]
            if repo not in hub.files:
                return self._answer(401, X_Error_Code="RepoNotFound")
            if repo in hub.gated and token != f"Bearer {TOKEN}":
                return self._answer(401 if token is None else 403, X_Error_Code="GatedRepo")
            if rest[0] != REVISION:
                return self._answer(404, X_Error_Code="RevisionNotFound")
            if action == "tree":
                body = json.dumps([_entry(*item) for item in hub.files[repo].items()]).encode()
                return self._answer(200, body, Content_Type="application/json")
            name = "/".join(rest[1:])
            if name not in hub.files[repo] or name in hub.gone:
                return self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=REVISION)
            content = hub.files[repo][name]
            entry = _entry(name, content)
            etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            if name in hub.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if name in hub.short and self.command == "GET":
                hub.short.discard(name)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return None
            return self._answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=REVISION)

    return Handler


def _entry(name, content):
    """A line of the hub's listing: large files by sha256, the others by git blob id."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith((".safetensors", ".bin", ".model")):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in hub, which huggingface_hub asks instead of the real one, with an empty cache."""
    import huggingface_hub.constants as constants

    state = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield state
    from huggingface_hub.utils import close_session

    close_session()
    server.shutdown()
    server.server_close()
    thread.join()
